"""From a clip to its faces and how far their lips are from the sound: S3FD, tracks, crops, SyncNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.face_tracks import FaceTrack, face_tracks
from avbench.encoders.networks.synchformer.frames import FpsFilter
from avbench.encoders.networks.syncnet.crops import crop, smoothed
from avbench.encoders.networks.syncnet.lip_tracks import SHIFTS, LipTrack, LipTracks
from avbench.encoders.networks.syncnet.mfcc import RATE, mfcc
from avbench.encoders.networks.syncnet.windows import (
    FPS,
    FRAMES,
    SAMPLES,
    audio_windows,
    cut_audio,
    distances,
    row_count,
    sixteen_bit,
)
from avbench.encoders.scene_cuts import scenes
from avbench.media import Frames, VideoInfo, Waveform
from avbench.media.spool import release_pages

if TYPE_CHECKING:
    from torch import Tensor

ROW = "syncnet_v2"
LEAST_DETECTIONS = 50
SMALLEST_FACE = 100
"""Pixels of the longer side, on average over a track; itself excluded."""
BATCH = 16
# No face is larger than twice its frame; cutting out what a wild detector claims would take any amount of memory.
_LARGEST = 2.0

_FILTER = FpsFilter(FPS)
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class LipReader:
    """The detector of faces and SyncNet."""

    detector: Any
    network: Any

    def faces(self, frames: Pixels) -> list[NDArray[np.float64]]:
        """Boxes and scores (n, 5) of the faces in each frame (T, H, W, 3)."""
        from avbench.encoders.networks.s3fd.faces import find_faces

        return find_faces(self.detector, frames)

    def lips(self, crops: Pixels, rows: int) -> NDArray[np.float32]:
        """Embeddings (rows, 1024) of windows of five crops, RGB (F, 224, 224, 3)."""
        import torch

        weight = next(self.network.parameters())

        def forward(windows: list[int]) -> Tensor:
            faces = np.stack([crops[window : window + FRAMES, ..., ::-1] for window in windows])
            pixels = torch.from_numpy(faces).to(weight.device).permute(0, 4, 1, 2, 3)
            embeddings: Tensor = self.network.lips(pixels.to(weight.dtype))
            return embeddings

        return batched(forward, [range(rows)], BATCH, "SyncNet")[0]

    def sounds(self, samples: NDArray[np.int16], rows: int) -> NDArray[np.float32]:
        """Embeddings (rows, 1024) of windows of mono sound (N,) at 16 kHz."""
        import torch

        weight = next(self.network.parameters())

        def forward(windows: list[NDArray[np.float32]]) -> Tensor:
            embeddings: Tensor = self.network.sound(torch.from_numpy(np.stack(windows)).to(weight))
            return embeddings

        return batched(forward, [list(audio_windows(mfcc(samples), rows))], BATCH, "SyncNet")[0]


def _load(context: LoadContext) -> LipReader:
    from avbench.encoders.networks.s3fd.network import load as load_detector
    from avbench.encoders.networks.syncnet.network import load as load_network

    return LipReader(load_detector(context), load_network(context))


def _run(reader: LipReader, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    return [_lip_tracks(reader, clip).as_array() for clip in clips]


def _lip_tracks(reader: LipReader, clip: ClipInput) -> LipTracks:
    frames, sound = clip.views
    assert clip.video is not None
    assert clip.audio is not None
    faces = reader.faces(frames)
    release_pages(frames)
    first_tick = _first_tick(clip.video)
    # Sample of the sound that goes with the first frame.
    origin = first_tick * SAMPLES - round(clip.audio.start * RATE)
    tracks = tuple(_compared(reader, frames, sound[0], track, origin) for track in _usable(faces, frames))
    release_pages(frames)
    return LipTracks(len(frames), sum(len(boxes) > 0 for boxes in faces), first_tick, tracks)


def _usable(faces: Sequence[NDArray[np.float64]], frames: Pixels) -> list[FaceTrack]:
    """Tracks within scenes that are long and large enough."""
    if not any(len(boxes) for boxes in faces):
        return []  # spares reading the frames again
    tracks = [track for start, end in scenes(frames) for track in face_tracks(faces, start=start, end=end)]
    largest = _LARGEST * max(frames.shape[1:3])
    return [
        track
        for track in tracks
        if track.detections >= LEAST_DETECTIONS and track.size > SMALLEST_FACE and np.abs(track.boxes).max() <= largest
    ]


def _first_tick(video: VideoInfo) -> int:
    return int(_FILTER.ticks(video.times, video.fps, video.end)[0]) if len(video.times) else 0


def _compared(reader: LipReader, frames: Pixels, sound: NDArray[np.float32], track: FaceTrack, origin: int) -> LipTrack:
    """A track with the distances of its lips from its part of the sound."""
    count = len(track.boxes)
    samples = sixteen_bit(cut_audio(sound, origin + track.first * SAMPLES, count * SAMPLES))
    rows = row_count(count, len(samples))
    table = np.zeros((0, SHIFTS), dtype=np.float32)
    if rows:
        crops = np.stack([crop(frames[track.first + i], centre) for i, centre in enumerate(smoothed(track.boxes))])
        table = distances(reader.lips(crops, rows), reader.sounds(samples, rows))
    return LipTrack(track.first, track.detections, track.boxes.astype(np.float32), table)


SYNCNET = Backbone(name=ROW, load=_load, row=ROW)

LIPS = Encoder("lip_tracks", 1, SYNCNET, _run, views=(Frames(_FILTER), Waveform(rate=RATE, mono=True)))
"""All frames at 25 per second and the sound -> `LipTracks` as an array."""
