"""Samples lie where their timestamps say: gaps, jitter, overlaps, damaged timestamps, changes inside a track."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import draw_frames, draw_sound, write_clip

from avbench import score_clips
from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore
from avbench.errors import MediaError
from avbench.media import Media, Waveform, decode_clip
from avbench.media.options import DecodeOptions
from avbench.media.timeline import align
from avbench.metrics import get_scorers
from avbench.metrics.optical_flow import FLOW

RATE = 16_000
FULL = Waveform(mono=False, limit=False)


def decode(path: Path, audio: Path | None = None, seconds: float | None = None) -> Media:
    views = [FULL, Waveform(rate=RATE), FLOW]
    return decode_clip(Clip("c", path, audio), "c", views, DecodeOptions(seconds=seconds))


def without(source: Path, target: Path, *missing: tuple[float, float], kinds: tuple[str, ...] = ("audio",)) -> Path:
    """Copy a file without the packets of these kinds of track that begin inside the spans, in seconds."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is None:
                continue
            time = float(packet.pts * packet.time_base)
            if packet.stream.type in kinds and any(start <= time < stop for start, stop in missing):
                continue
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return target


def write_pcm(path: Path, packets: list[tuple[float, np.ndarray]], rate: int = RATE) -> Path:
    """Matroska with one packet of int16 samples (N,) at each time in seconds."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=rate, layout="mono")
        for time, samples in packets:
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, round(time * rate), Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def packets_of(sound: np.ndarray, seconds: float) -> list[tuple[float, np.ndarray]]:
    size = round(seconds * RATE)
    return [(start / RATE, sound[start : start + size]) for start in range(0, len(sound), size)]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of clicks at the bounces of a disc, sound in step. MP4, whose packets can be copied elsewhere."""
    path = tmp_path_factory.mktemp("bounce") / "whole.mp4"
    return write_clip(path, draw_frames(3), draw_sound(3, rate=48_000), rate=48_000)


@pytest.fixture(scope="module")
def whole(original: Path) -> Media:
    return decode(without(original, original.with_suffix(".mkv")))


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(-8000, 8000, 3 * RATE, dtype=np.int16)


def value(metric: str, media: Media) -> float | None:
    return get_scorers([metric])[0](media, Prompt(), EncoderStore()).value


@pytest.mark.parametrize("missing", [[(0.2, 0.5)], [(0.03, 0.35)], [(1.0, 1.1)], [(0.5, 0.7), (0.9, 1.2)]], ids=str)
def test_missing_packets_are_silence_and_nothing_else_moves(
    original: Path, whole: Media, tmp_path: Path, missing: list
) -> None:
    media = decode(without(original, tmp_path / "gap.mkv", *missing))
    assert media.problems == {}
    assert media.audio.samples == pytest.approx(whole.audio.samples, abs=48)  # Matroska counts milliseconds
    assert value("duration_mismatch", media) == pytest.approx(value("duration_mismatch", whole), abs=0.002)
    assert value("av_offset", media) == pytest.approx(value("av_offset", whole), abs=0.02)
    assert [at for at, _ in media.audio.gaps] == pytest.approx([start for start, _ in missing], abs=0.05)
    assert [length for _, length in media.audio.gaps] == pytest.approx([b - a for a, b in missing], abs=0.03)
    assert value("silence_share", media) == pytest.approx(sum(b - a for a, b in missing) / 5, abs=0.03)
    # What networks get is the same timeline.
    assert media.view(Waveform(rate=RATE)).shape[1] == pytest.approx(whole.view(Waveform(rate=RATE)).shape[1], abs=20)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "aac"), ("a.ts", "aac"), ("o.webm", "libopus"), ("m.mkv", "libmp3lame"), ("c.ts", "ac3")],
)
def test_every_container_with_timestamps(tmp_path: Path, name: str, codec: str) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(4 * 48_000) / 48_000)[None]
    whole = write_clip(tmp_path / name, None, tone, rate=48_000, audio_codec=codec)
    entire = decode(whole)
    assert entire.audio.gaps == ()
    media = decode(without(whole, tmp_path / f"gap_{name}", (1.0, 1.5)))
    ((at, length),) = media.audio.gaps
    assert (at, length) == (pytest.approx(1.0, abs=0.05), pytest.approx(0.5, abs=0.05))
    assert media.audio.samples == pytest.approx(entire.audio.samples, abs=48)


def test_a_sound_file_beside_the_video(original: Path, tmp_path: Path) -> None:
    sidecar = write_clip(tmp_path / "whole.m4a", None, draw_sound(3, rate=48_000), rate=48_000)
    media = decode(original, audio=without(sidecar, tmp_path / "gap.mka", (0.2, 0.5)))
    assert (media.audio.source, len(media.audio.gaps)) == ("sidecar", 1)
    assert value("av_offset", media) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("step", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("jitter", [0.0005, 0.02, 0.045])
def test_jitter_moves_nothing(noise: np.ndarray, tmp_path: Path, step: float, jitter: float) -> None:
    rng = np.random.default_rng(1)
    packets = packets_of(noise, step)
    times = np.sort([max(time + rng.uniform(-jitter, jitter), 0.0) for time, _ in packets])
    path = write_pcm(tmp_path / "j.mkv", [(t, s) for t, (_, s) in zip(times, packets, strict=True)])
    media = decode(path)
    assert media.audio.gaps == ()
    np.testing.assert_array_equal(media.view(FULL)[0], noise / np.float32(32768))


def test_a_gap_among_jitter(noise: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    packets = [(t + rng.uniform(0, 0.03) + 0.4 * (t >= 1), s) for t, s in packets_of(noise, 0.1)]
    media = decode(write_pcm(tmp_path / "j.mkv", packets))
    ((at, length),) = media.audio.gaps
    assert (at, length) == (pytest.approx(1.0, abs=1e-6), pytest.approx(0.4, abs=0.02))


def test_many_small_losses_do_not_add_up() -> None:
    # Every tenth packet of 20 ms is lost: none is a gap by itself, together they are 0.5 s.
    times = [i * 0.02 for i in range(250) if i % 10]
    chunks = [np.full((1, 320), time, np.float32) for time in times]
    line = align(chunks, times, RATE)
    placed = [np.flatnonzero(line.samples[0] == np.float32(time))[0] / RATE for time in times[1:]]
    assert np.abs(np.array(placed) - times[1:]).max() < 0.1


def test_one_damaged_timestamp_is_no_gap(noise: np.ndarray) -> None:
    packets = packets_of(noise, 0.1)
    chunks = [samples[None].astype(np.float32) for _, samples in packets]
    for index, odd in ((7, 3600.0), (7, -5.0), (12, 0.2)):
        times = [time for time, _ in packets]
        times[index] += odd
        line = align(chunks, times, RATE)
        assert line.gaps == ()
        np.testing.assert_array_equal(line.samples[0], noise)


def test_overlaps_keep_the_earlier_samples(noise: np.ndarray, tmp_path: Path) -> None:
    # The second half begins 0.2 s before the first ends, as joined segments do.
    first, second = noise[: RATE + 3200], noise[RATE:]
    packets = packets_of(first, 0.1) + [(t + 1.0, s) for t, s in packets_of(second, 0.1)]
    chunks = [samples[None].astype(np.float32) for _, samples in packets]
    line = align(chunks, [time for time, _ in packets], RATE)
    np.testing.assert_array_equal(line.samples[0], noise)
    ((at, length),) = line.gaps
    assert (at, length) == (pytest.approx(1.2), pytest.approx(-0.2))


def test_frames_without_timestamps_follow_their_predecessor(noise: np.ndarray) -> None:
    packets = packets_of(noise, 0.1)
    chunks = [samples[None].astype(np.float32) for _, samples in packets]
    times: list[float | None] = [None] * len(chunks)
    assert (align(chunks, times, RATE).start, align(chunks, times, RATE).gaps) == (0.0, ())
    times[2], times[20] = 5.2, 7.5  # the first sample is 0.2 s earlier; before the 20th, 0.5 s are missing
    line = align(chunks, times, RATE)
    assert line.start == pytest.approx(5.0)
    assert line.gaps == ((pytest.approx(2.0), pytest.approx(0.5)),)


@pytest.mark.parametrize(
    ("jump", "reason"), [(-1.0, "go back by 1.00 s at 1.50 s"), (601.0, "600 s of silence"), (1e12, "ahead")]
)
def test_what_no_player_would_place_is_a_reason(noise: np.ndarray, jump: float, reason: str) -> None:
    packets = [(t + jump * (t > 1.45), s[None].astype(np.float32)) for t, s in packets_of(noise, 0.1)]
    with pytest.raises(MediaError, match=reason):
        align([s for _, s in packets], [t for t, _ in packets], RATE)


@pytest.mark.parametrize("odd", [2.0**63, -(2.0**63), 1e300])
@pytest.mark.filterwarnings("error")
def test_timestamps_beyond_any_integer_are_a_reason(odd: float) -> None:
    chunk = np.zeros((1, 100), np.float32)
    for times in ([0.0, 0.1, odd, odd], [odd, 0.0, 0.1, 0.2]):
        with pytest.raises(MediaError, match="its timestamps"):
            align([chunk] * 4, times, 48_000)


def test_a_damaged_timestamp_is_an_error_of_the_track(noise: np.ndarray, tmp_path: Path) -> None:
    packets = [(t + 40_000 * (t > 1.45), s) for t, s in packets_of(noise, 0.1)]
    media = decode(write_pcm(tmp_path / "far.mkv", packets))
    assert media.problems == {"audio": "over the limit seconds=1800: the timestamps of the audio span 40002 s"}
    packets = [(t + 700 * (t > 1.45), s) for t, s in packets_of(noise, 0.1)]
    media = decode(write_pcm(tmp_path / "near.mkv", packets))
    assert "audio cannot be placed in time: its timestamps jump ahead by 700.00 s at 1.50 s" in media.problems["audio"]


def test_many_channels_get_less_silence() -> None:
    chunk = np.zeros((64, 100), np.float32)
    with pytest.raises(MediaError, match="more than 22 s of silence"):
        align([chunk, chunk], [0.0, 30.0], 48_000)


def test_only_the_gaps_of_the_part_that_is_read(original: Path, tmp_path: Path) -> None:
    path = without(original, tmp_path / "gap.mkv", (0.5, 0.8), (3.0, 3.3))
    media = decode(path, seconds=2.0)
    assert (media.audio.samples, len(media.audio.gaps)) == (2 * 48_000, 1)


@pytest.mark.parametrize(
    ("one", "two", "reason"),
    [
        ((48_000, 1), (44_100, 1), "the sample rate changes from 48000 to 44100 Hz inside the sound track"),
        ((48_000, 1), (48_000, 2), "the number of channels changes from 1 to 2 inside the sound track"),
    ],
)
def test_changes_inside_a_track_are_named(tmp_path: Path, one: tuple, two: tuple, reason: str) -> None:
    parts = []
    for index, (rate, channels) in enumerate((one, two)):
        sound = np.repeat(draw_sound(0, seconds=1.0, rate=rate), channels, axis=0)
        parts.append(write_clip(tmp_path / f"{index}.aac", None, sound, rate=rate).read_bytes())
    path = tmp_path / "joined.aac"
    path.write_bytes(b"".join(parts))
    assert reason in decode(path).problems["audio"]


@settings(max_examples=60, deadline=None)
@given(
    kept=st.lists(st.booleans(), min_size=2, max_size=120).filter(any),
    start=st.floats(-5, 100),
    seed=st.integers(0, 2**32 - 1),
    jitter=st.sampled_from([0.0, 0.001, 0.02]),
)
def test_every_sample_is_kept_near_its_time(kept: list[bool], start: float, seed: int, jitter: float) -> None:
    rng = np.random.default_rng(seed)
    ids = np.flatnonzero(kept)
    times = start + ids * 0.02 + rng.uniform(-jitter, jitter, len(ids))
    chunks = [np.full((2, 160), i + 1, np.float32) for i in ids]
    line = align(chunks, times.tolist(), 8000)
    assert line.start == times[0]
    at = {int(i): np.flatnonzero(line.samples[0] == i + 1) for i in ids}
    # At most what overlaps is lost, and what is placed lies near its time, however much is missing.
    for i, time in zip(ids, times, strict=True):
        lost = 160 - len(at[int(i)])
        assert lost == 0 or any(length < 0 for _, length in line.gaps)
        if lost < 160:
            assert abs((at[int(i)][0] - lost) / 8000 - (time - times[0])) < 0.2
    assert (np.diff(line.samples[0][line.samples[0] > 0]) >= 0).all()


def test_the_clip_table_and_the_details_name_the_gaps(original: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    without(original, tmp_path / "clips" / "gap.mkv", (0.2, 0.5))
    run = score_clips(tmp_path / "clips", tmp_path / "run", metrics=["duration_mismatch", "silence_share"])
    assert run.scores["status"].eq("ok").all()
    for detail in run.scores["detail"]:
        gaps = detail["gaps"] if isinstance(detail, dict) else json.loads(detail)["gaps"]
        assert gaps == [[pytest.approx(0.2, abs=0.05), pytest.approx(0.3, abs=0.03)]]
    assert run.clips["problem"].iloc[0].startswith("the timestamps of the sound jump: 0.30 s missing at 0.2")


@pytest.mark.parametrize(("jump", "reported"), [(0.064, 0), (0.2, 1)])
def test_a_small_step_behind_the_first_frame_is_padding(jump, reported):
    """As FFmpeg writes fragmented MP4: the first frame is shorter than the time until the second."""
    chunks = [np.ones((1, 1000), np.float32)] * 20
    times = [0.0, *(n / 16 + jump for n in range(1, 20))]
    timeline = align(chunks, times, 16_000)
    assert len(timeline.gaps) == reported
    assert timeline.samples.shape[1] == 20_000 + round(jump * 16_000)
    later = [n / 16 + (jump if n > 4 else 0) for n in range(20)]
    assert len(align(chunks, later, 16_000).gaps) == 1
