from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from synthetic import draw_frames

from omninft_train.clips import save_mp4
from omninft_train.errors import EnvironmentProblem
from omninft_train.models.backbone import Decoded


def tone(rate: int, channels: int = 2, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(rate * seconds)) / rate
    return np.tile(0.5 * np.sin(2 * np.pi * 440 * time), (channels, 1)).astype(np.float32)


def clip(rate: int = 24_000, channels: int = 2, size: tuple[int, int] = (64, 96), fps: float = 24.0) -> Decoded:
    frames = draw_frames(1, seconds=1.0, size=(96, 128))[:, : size[0], : size[1]]
    return Decoded(np.ascontiguousarray(frames), fps, tone(rate, channels), rate)


def read(path: Path) -> tuple[np.ndarray, float, np.ndarray, int]:
    with av.open(str(path)) as container:
        fps = float(container.streams.video[0].average_rate)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        container.seek(0)
        rate = container.streams.audio[0].rate
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    return frames, fps, sound, rate


def test_a_saved_clip_reads_back(tmp_path: Path) -> None:
    decoded = clip()
    path = save_mp4(decoded, tmp_path / "new" / "a.mp4")
    frames, fps, sound, rate = read(path)
    assert frames.shape == decoded.frames.shape
    assert fps == 24
    noise = np.mean((frames.astype(float) - decoded.frames) ** 2)
    assert 10 * np.log10(255**2 / noise) > 25  # the drawn texture is hard on 4:2:0
    assert rate == 24_000
    assert sound.shape[0] == 2
    assert abs(sound.shape[1] - 24_000) <= 2048  # a block of AAC at either end
    spectrum = np.abs(np.fft.rfft(sound[0, 2048:-2048]))
    assert np.argmax(spectrum) * rate / (sound.shape[1] - 4096) == pytest.approx(440, abs=2)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(("rate", "expected"), [(16_000, 16_000), (48_000, 48_000), (6_000, 48_000), (4_096, 48_000)])
def test_any_sampling_rate_is_kept_or_resampled(tmp_path: Path, rate: int, expected: int) -> None:
    _, _, sound, found = read(save_mp4(clip(rate, channels=1), tmp_path / "a.mp4"))
    assert found == expected
    assert sound.shape[1] / found == pytest.approx(1.0, abs=0.15)
    spectrum = np.abs(np.fft.rfft(sound[0]))
    assert np.argmax(spectrum) * found / sound.shape[1] == pytest.approx(440, abs=5)


@pytest.mark.parametrize("fps", [8.0, 23.976, 25.0, 29.97])
def test_frame_rates_survive(tmp_path: Path, fps: float) -> None:
    _, found, _, _ = read(save_mp4(clip(fps=fps), tmp_path / "a.mp4"))
    assert found == pytest.approx(fps, rel=1e-3)


def test_odd_sides_are_padded(tmp_path: Path) -> None:
    frames, *_ = read(save_mp4(clip(size=(63, 95)), tmp_path / "a.mp4"))
    assert frames.shape[1:3] == (64, 96)


def test_values_out_of_range_do_not_stop_a_sample(tmp_path: Path) -> None:
    decoded = clip()
    decoded.waveform[0, :100] = np.nan
    decoded.waveform[1, :100] = 7.0
    _, _, sound, _ = read(save_mp4(decoded, tmp_path / "a.mp4"))
    assert np.isfinite(sound).all()


def test_a_clip_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match=r"a\.mp4"):
        save_mp4(clip(), tmp_path / "file" / "a.mp4")
    good = save_mp4(clip(), tmp_path / "b.mp4").read_bytes()
    broken = Decoded(np.zeros((2, 0, 0, 3), np.uint8), 24.0, tone(24_000), 24_000)
    with pytest.raises(Exception):  # noqa: B017 - whatever the encoder says
        save_mp4(broken, tmp_path / "b.mp4")
    assert (tmp_path / "b.mp4").read_bytes() == good
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["b.mp4", "file"]
