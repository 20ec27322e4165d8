"""What `Media.from_arrays` makes of the arrays and tensors that libraries give: the true sound, or a cure."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from avbench.clips import Prompt
from avbench.encoders import EncoderStore
from avbench.media import Media
from avbench.metrics import get_scorers

RATE = 16_000
TONE = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)).astype(np.float32)  # true peak -6.0 dBTP
FRAMES = np.random.default_rng(0).integers(0, 256, (48, 16, 16, 3), dtype=np.uint8)


def sound(waveform: Any, rate: Any = RATE, **kwargs: Any) -> Media:
    return Media.from_arrays("k", None, 1, waveform, rate, **kwargs)


def torch_of(array: np.ndarray, dtype: str | None = None, gradient: bool = False) -> Any:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(array)
    tensor = tensor.to(getattr(torch, dtype)) if dtype else tensor
    return tensor.requires_grad_(gradient)


SOUNDS = {
    "float32 (C, N)": lambda: TONE[None],
    "float32 (N,)": lambda: TONE,
    "stereo": lambda: np.stack([TONE, TONE]),
    "float64": lambda: TONE.astype(np.float64),
    "float16": lambda: TONE.astype(np.float16),
    "big-endian float32": lambda: TONE.astype(">f4"),
    "list": lambda: TONE.tolist(),
    "int16": lambda: (TONE * 32767).astype(np.int16),
    "big-endian int16": lambda: (TONE * 32767).astype(">i2"),
    "int32": lambda: (TONE.astype(np.float64) * (2**31 - 1)).astype(np.int32),
    "int8": lambda: (TONE * 127).round().astype(np.int8),
    "uint8": lambda: ((TONE + 1) * 127.5).round().astype(np.uint8),
    "read-only, reversed twice": lambda: TONE[None, ::-1][:, ::-1],
    "tensor": lambda: torch_of(TONE[None]),
    "tensor with gradient": lambda: torch_of(TONE[None], gradient=True),
    "bfloat16 tensor": lambda: torch_of(TONE[None], "bfloat16"),
    "float16 tensor": lambda: torch_of(TONE[None], "float16"),
    "int16 tensor": lambda: torch_of((TONE * 32767).astype(np.int16)),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_every_kind_of_sound_has_its_true_level_and_length(name: str) -> None:
    media = Media.from_arrays("k", FRAMES, 24, SOUNDS[name](), RATE)
    assert media.waveform.dtype == np.float32
    for metric, value, within in (("true_peak", -6.02, 0.2), ("duration_mismatch", 0.0, 1e-9)):
        score = get_scorers([metric])[0](media, Prompt(), EncoderStore())
        assert score.value == pytest.approx(value, abs=within)


def test_pcm_is_scaled_by_its_type_exactly() -> None:
    for dtype, bits in ((np.int8, 8), (np.int16, 16), (np.int32, 32)):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        values = sound(np.array([low, -1, 0, 1, high], dtype)).waveform[0]
        expected = np.array([low, -1, 0, 1, high], np.float64) / 2 ** (bits - 1)
        np.testing.assert_array_equal(values, expected.astype(np.float32))
    np.testing.assert_array_equal(sound(np.array([0, 128, 255], np.uint8)).waveform[0], [-1, 0, np.float32(127 / 128)])


def test_what_is_float32_or_uint8_already_is_not_copied() -> None:
    media = Media.from_arrays("k", FRAMES, 24, TONE[None], RATE)
    assert np.shares_memory(media.frames, FRAMES)
    assert np.shares_memory(media.waveform, TONE)
    assert np.shares_memory(sound(torch_of(TONE[None])).waveform, TONE)


@pytest.mark.parametrize(
    ("waveform", "cure"),
    [
        (np.repeat(TONE[:, None], 2, 1), r"\(32000, 2\): looks like \(N, C\), pass waveform.T"),
        (TONE[:, None], r"pass waveform.T"),
        (TONE[:50, None], r"pass waveform.T"),
        (TONE[None, None], r"pass waveform\[0\]"),
        (np.zeros((80, 1000), np.float32), "spectrogram"),
        (np.float32(0.5), "two axes"),
        (np.zeros((2, 0), np.float32), "no samples"),
        ([], "no samples"),
        (TONE > 0, "bool .*PCM"),
        ((TONE * 32767).astype(np.int64), "int64 .*PCM of uint8, int8, int16, int32"),
        ((TONE * 32767).astype(np.uint16), "uint16 .*PCM"),
        ((TONE * 32767).astype(np.float32), "up to 1.638e.04, .*divide by full scale"),
        (TONE * np.nan, "finite"),
        (np.full(10, np.inf), "finite"),
        (TONE.astype(np.complex64), "must hold numbers"),
        (np.array([TONE, None], object), "must hold numbers"),
        (["a", "b"], "must hold numbers"),
        ([[0.1, 0.2], [0.1]], "cannot be read as one array"),
        (iter(TONE), "must hold numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_sound_that_could_mean_something_else_is_refused(waveform: Any, cure: str) -> None:
    with pytest.raises(ValueError, match=f"waveform .*{cure}"):
        sound(waveform)


def test_a_few_samples_in_many_channels_stay_channels() -> None:
    assert sound(np.zeros((2, 1), np.float32)).audio.channels == 2
    assert sound(np.zeros((8, 4), np.float32)).audio.channels == 8


@pytest.mark.parametrize("rate", [RATE, np.int64(RATE), np.float32(RATE), float(RATE), Fraction(RATE), Decimal(RATE)])
def test_sample_rates_of_any_type(rate: Any) -> None:
    audio = sound(TONE, rate).audio
    assert (audio.sample_rate, type(audio.sample_rate), audio.duration) == (RATE, int, 2.0)


@pytest.mark.parametrize(
    "rate", [None, 0, -1, 44_100.5, Fraction(1, 3), np.nan, np.inf, True, "16000", b"1", 1j, object(), np.ones(2)]
)
def test_wrong_sample_rates(rate: Any) -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        sound(TONE, rate)


@pytest.mark.parametrize(
    "fps", [24, 24.0, np.float32(24), np.int16(24), Fraction(24), Fraction(24_000, 1001), Decimal("23.976")]
)
def test_frame_rates_of_any_type(fps: Any) -> None:
    media = Media.from_arrays("k", FRAMES, fps, TONE, RATE)
    assert (type(media.video.fps), media.video.times.dtype) == (float, np.float64)
    assert media.video.duration == pytest.approx(48 / float(fps))
    assert get_scorers(["av_offset"])[0](media, Prompt(), EncoderStore()).status in ("ok", "skipped")


@pytest.mark.parametrize("fps", [None, 0, -24, np.nan, np.inf, True, "24", Fraction(-1, 2), 1j, object()])
def test_wrong_frame_rates(fps: Any) -> None:
    with pytest.raises(ValueError, match="fps must be a positive number"):
        Media.from_arrays("k", FRAMES, fps)


@pytest.mark.parametrize(
    ("frames", "cure"),
    [
        (FRAMES.transpose(0, 3, 1, 2), r"uint8 \(48, 3, 16, 16\): looks like \(T, C, H, W\).*0, 2, 3, 1"),
        (FRAMES.transpose(3, 0, 1, 2), r"looks like \(C, T, H, W\).*1, 2, 3, 0"),
        (FRAMES[None], r"frames\[0\]"),
        (FRAMES[0], r"frames\[None\]"),
        (FRAMES[..., :1], "grey"),
        (np.concatenate([FRAMES, FRAMES[..., :1]], axis=3), "alpha"),
        (FRAMES[:0], "no frame"),
        (FRAMES[:, :0], "no frame"),
        (np.uint8(3), "four axes"),
        (FRAMES / np.float32(255), r"from 0 to 1, pass \(frames \* 255\).round"),
        (FRAMES.astype(np.float32), r"from 0 to 255, pass \(frames\).round"),
        (FRAMES / 127.5 - 1, r"pass \(\(frames \+ 1\) \* 127.5\).round"),
        (FRAMES * np.nan, "NaN"),
        (FRAMES.astype(np.int64), "as uint8"),
        (FRAMES > 128, "as uint8"),
        (FRAMES.astype(np.complex64), "must hold numbers"),
        (np.array([None, 1]), "must hold numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_frames_of_other_kinds_are_refused_with_the_cure(frames: Any, cure: str) -> None:
    with pytest.raises(ValueError, match=f"frames .*{cure}"):
        Media.from_arrays("k", frames, 24)


def test_the_cures_for_float_frames_work() -> None:
    for frames, fix in (
        (FRAMES / np.float32(255), lambda x: (x * 255).round().clip(0, 255).astype(np.uint8)),
        (FRAMES / 127.5 - 1, lambda x: ((x + 1) * 127.5).round().clip(0, 255).astype(np.uint8)),
    ):
        np.testing.assert_array_equal(Media.from_arrays("k", fix(frames), 24).frames, FRAMES)


@pytest.mark.parametrize("frames", [FRAMES, list(FRAMES), FRAMES[::-1]], ids=["array", "list", "view"])
def test_frames_that_are_taken(frames: Any) -> None:
    np.testing.assert_array_equal(Media.from_arrays("k", frames, 24).frames, np.asarray(frames))
    tensor = torch_of(np.ascontiguousarray(frames))
    np.testing.assert_array_equal(Media.from_arrays("k", tensor, 24).frames, np.asarray(frames))


def test_tensors_of_a_gpu() -> None:
    if not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("needs a GPU")
    media = Media.from_arrays("k", torch_of(FRAMES).cuda(), 24, torch_of(TONE).cuda().bfloat16(), RATE)
    np.testing.assert_array_equal(media.frames, FRAMES)
    np.testing.assert_allclose(media.waveform[0], TONE, atol=2e-3)


def test_a_layout_has_to_fit() -> None:
    assert sound(np.zeros((6, 100), np.float32), layout="5.1").audio.layout == "5.1"
    with pytest.raises(ValueError, match=r"layout 5.1 has 6 channels, the waveform 2"):
        sound(np.zeros((2, 100), np.float32), layout="5.1")
    with pytest.raises(ValueError, match="nonsense"):
        sound(np.zeros((2, 100), np.float32), layout="nonsense")
    with pytest.raises(ValueError, match="6 is no channel layout"):
        sound(np.zeros((6, 100), np.float32), layout=6)  # type: ignore[arg-type]


def test_masked_samples_have_no_value() -> None:
    masked = np.ma.masked_array(np.zeros((2, 100), np.float32), mask=np.eye(2, 100, dtype=bool))
    with pytest.raises(ValueError, match=r"waveform is a masked array.*filled"):
        sound(masked)


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(
        dtype=st.one_of(
            hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes()
        ),
        shape=hnp.array_shapes(min_dims=1, max_dims=5, max_side=12),
    )
)
def test_any_array_is_true_sound_or_a_value_error(array: np.ndarray) -> None:
    try:
        media = Media.from_arrays("k", None, 1, array, RATE)
    except ValueError as error:
        assert str(error).startswith("waveform")
    else:
        assert media.waveform.shape == (media.audio.channels, media.audio.samples)
        assert np.isfinite(media.waveform).all()
        assert np.abs(media.waveform).max() <= 16
    try:
        frames = Media.from_arrays("k", array, 24).frames
    except ValueError as error:
        assert str(error).startswith("frames")
    else:
        assert (frames.dtype, frames.ndim, frames.shape[3]) == (np.uint8, 4, 3)
