"""Clips that the benchmarks run on: the shipped ones, one drawn at a generator's size, many small ones."""

from __future__ import annotations

import csv
import struct
import sys
from pathlib import Path

import av
import numpy as np
import soundfile

from avbench.clips import Clip, Prompt

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "examples" / "clips" / "manifest.csv"

TIMED_CLIP = ("tears_of_steel_hall", 4.0)
SHORT_CLIP = ("ovi_dressing_room", 1.0)

sys.path.insert(0, str(ROOT / "tests"))
from synthetic import SOUND_RATE, draw_frames, draw_sound, write_clip  # noqa: E402 - tests/ is not a package


def timing_clips(folder: Path) -> list[Path]:
    """The shipped clips, and a drawn one of 5 s, 768x512, 24 fps, H.264 + AAC."""
    drawn = folder / "drawn_768x512.mp4"
    if not drawn.exists():
        sound = draw_sound(7, seconds=5.0, rate=48_000)
        write_clip(drawn, draw_frames(7, seconds=5.0, size=(512, 768)), sound, rate=48_000)
    return [*sorted(MANIFEST.parent.glob("*.mp4")), drawn]


def cut_clip(folder: Path, name: str, seconds: float) -> Clip:
    """The start of a shipped clip as H.264, its sound in a WAV file at its own rate, and its prompts."""
    with MANIFEST.open(encoding="utf-8", newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["clip_id"] == name)
    with av.open(str(MANIFEST.parent / row["video"])) as container:
        fps = round(float(container.streams.video[0].average_rate))
        rate = container.streams.audio[0].sample_rate
        frames, chunks = [], []
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                frames.append(frame.to_ndarray(format="rgb24"))
            else:
                chunks.append(frame.to_ndarray())
    sound = np.concatenate(chunks, axis=1)[:, : round(seconds * rate)]  # (C, N)
    video, audio = folder / f"{name}_{seconds:g}s.mp4", folder / f"{name}_{seconds:g}s.wav"
    write_clip(video, np.stack(frames[: round(seconds * fps)]), None, fps=fps)
    soundfile.write(audio, sound.T, rate)
    return Clip(video.stem, video, audio, Prompt(text=row["text"], audio_text=row["audio_text"]))


def drawn_clip(folder: Path, seconds: float, size: tuple[int, int], seed: int = 0) -> Clip:
    """A drawn clip at 24 fps of `size` (height, width), with its sound in a WAV file of exactly its length."""
    name = f"drawn_{seed}_{size[1]}x{size[0]}_{seconds:g}s"
    video, audio = folder / f"{name}.mp4", folder / f"{name}.wav"
    write_clip(video, draw_frames(seed, seconds=seconds, size=size), None)
    soundfile.write(audio, draw_sound(seed, seconds=seconds)[0], SOUND_RATE)
    return Clip(name, video, audio, Prompt(text="a disc bounces around", audio_text="short clicks"))


def small_clips(folder: Path, count: int, contents: int = 10) -> Path:
    """A manifest of `count` clips of 1 s, 64x48: few contents, but every file has other bytes, so none is reused."""
    folder.mkdir(parents=True, exist_ok=True)
    originals = []
    for seed in range(contents):
        path = folder / f"content_{seed}.mp4"
        frames = draw_frames(seed, seconds=1.0, size=(48, 64))
        write_clip(path, frames, draw_sound(seed, seconds=1.0))
        originals.append(path.read_bytes())
        path.unlink()
    rows = ["clip_id,video,text,model"]
    for index in range(count):
        # A trailing "free" box is legal padding in MP4: another sha256, the same pictures and sound.
        padding = struct.pack(">I4sQ", 16, b"free", index)
        (folder / f"{index:05d}.mp4").write_bytes(originals[index % contents] + padding)
        rows.append(f"clip_{index:05d},{index:05d}.mp4,a disc bounces and clicks,drawn")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest
