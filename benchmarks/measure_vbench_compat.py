"""How much each quirk of VBench moves a number, on the recorded and generated clips in examples/clips.

    python benchmarks/measure_vbench_compat.py            measure everything and print Markdown
    python benchmarks/measure_vbench_compat.py FLAG ...   only rows of these flags
    python benchmarks/measure_vbench_compat.py --write    measure everything and put it into docs/compat.md

Networks are reduced and have keyed-random weights, so this is the effect on networks that know nothing. Clips are cut,
shrunk or enlarged where a quirk acts on such clips only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measure_compat import DRAWN, line_of, publish
from numpy.typing import NDArray

from avbench.clips import Clip, Prompt
from avbench.encoders import ClipInput, Encoder, EncoderStore, LoadContext, WeightsConfig
from avbench.encoders.networks.dino.encoders import DINO_FRAMES
from avbench.encoders.networks.grit.detections import FrameDetections, from_array
from avbench.encoders.networks.grit.encoders import GRIT, GRIT_ANTIALIAS, GRIT_ROUNDED
from avbench.encoders.networks.raft.encoders import STRIDE, neighbours
from avbench.media import All, Frames, Media, Middle, decode_clip
from avbench.media.options import DecodeOptions
from avbench.metrics.base import registry
from avbench.metrics.vbench_consistency import similarities
from avbench.metrics.vbench_dynamic_degree import DynamicRule
from avbench.metrics.vbench_matching import color_frames, object_by_substrings, relation_scores
from avbench.metrics.vbench_scene import REPEATS
from avbench.metrics.vbench_static_filter import StaticRule
from avbench.sources import load_source

MARKED = re.compile(r"(<!-- measured vbench -->\n).*?(<!-- end -->)", re.DOTALL)
SETUP = WeightsConfig("keyed-random-reduced")
SECONDS = 4.0
NAMES = ("dog", "cat", "bird", "car")
COLORED = tuple(product(NAMES, ("red", "blue")))
SMALL, LARGE = 112, 128
LINES, LARGE_FRAMES = 1080, 2
EVERY_FRAME = Frames(All())
FLOW = "OpenCV's flow"
SHRUNK = f"first {{:g}} s, {LARGE} and {SMALL} px"

Values = NDArray[np.float64]
Pair = tuple[Any, Any]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Film:
    """The first seconds of a clip."""

    clip: Clip
    media: Media

    @property
    def frames(self) -> Pixels:
        """All frames, (T, H, W, 3)."""
        return self.media.view(EVERY_FRAME)

    def of(self, key: str, frames: Pixels) -> Media:
        """Other frames at the same rate."""
        assert self.media.video is not None
        return Media.from_arrays(f"{self.media.key} {key}", frames, self.media.video.fps)

    def middle(self, count: int) -> Pixels:
        """The middle frames of so many equal parts."""
        return self.frames[Middle(count).indices(np.arange(len(self.frames), dtype=np.float64), 1.0)]

    def scaled(self, shorter: int, frames: Pixels) -> Pixels:
        """Frames with another shorter side."""
        scale = shorter / min(frames.shape[1:3])
        size = round(frames.shape[2] * scale), round(frames.shape[1] * scale)
        return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


@dataclass(frozen=True)
class Row:
    """One comparison: flag, number, network and clips as the table shows them, and (fixed, compat) of a clip."""

    flag: str
    number: str
    both: Callable[[Film, EncoderStore], Pair]
    on: str = f"first {SECONDS:g} s"
    network: str = "reduced"


def relation(film: Film, store: EncoderStore, argument: str) -> Pair:
    """Spatial relationship with one of its flags alone, for words of the stand-in vocabulary."""
    detections = from_array(store.embed(GRIT, film.media))
    means = [
        np.mean(relation_scores(detections, "dog", "on the left of", "car", **{argument: on})) for on in (False, True)
    ]
    return means[0], means[1]


def colored_frames(detections: FrameDetections, **flags: bool) -> list[float]:
    """Fraction of frames that succeed in `color`, for eight things."""
    return [color_frames(detections, name, color, **flags)[1] / len(detections) for name, color in COLORED]


def first_name(film: Film, store: EncoderStore) -> Pair:
    """Colours with the first detection's name for all of a frame."""
    detections = from_array(store.embed(GRIT, film.media))
    return colored_frames(detections), colored_frames(detections, first_name=True)


def substrings(film: Film, store: EncoderStore) -> Pair:
    """Colours within words. Captions say "colored" where they said "red", so that the flag always acts."""
    detections = [
        [replace(each, caption=each.caption.replace("red", "colored")) for each in frame]
        for frame in from_array(store.embed(GRIT, film.media))
    ]
    return colored_frames(detections), colored_frames(detections, substrings=True)


def color_object(film: Film, store: EncoderStore) -> Pair:
    """Fraction of frames that count for "a red car in Havana by day"."""
    detections = from_array(store.embed(GRIT, film.media))
    texts = [object_by_substrings(f"a red {name} in havana by day", "red") for name in NAMES]
    fractions = [
        [color_frames(detections, name, "red")[0] / len(detections) for name in names] for names in (NAMES, texts)
    ]
    return fractions[0], fractions[1]


def enlarged(
    film: Film, store: EncoderStore, other: Encoder, fractions: Callable[[FrameDetections], list[float]]
) -> Pair:
    """What GRIT and a variant of it find in enlarged frames."""
    chosen = film.middle(LARGE_FRAMES)
    large = ClipInput((film.scaled(LINES, chosen),))
    network = GRIT.backbone.load(LoadContext(SETUP, "cpu"))
    detections = [fractions(from_array(next(iter(encoder.run(network, [large]))))) for encoder in (GRIT, other)]
    return detections[0], detections[1]


def named_frames(detections: FrameDetections) -> list[float]:
    """Fraction of frames that show each of four objects."""
    return [float(np.mean([any(each.name == name for each in frame) for frame in detections])) for name in NAMES]


def speeds(frames: Pixels, fraction: float, pairs: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Mean length of the longest vectors of each pair, by OpenCV's flow: RAFT with random weights sees no motion."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    means = []
    for first, second in pairs:
        flow: Any = cv2.calcOpticalFlowFarneback(grey[first], grey[second], np.empty(0), 0.5, 4, 21, 3, 7, 1.5, 0)
        lengths = np.sort(np.linalg.norm(flow, axis=2), axis=None)
        means.append(lengths[-int(fraction * lengths.size) :].mean())
    return np.array(means, dtype=np.float32)


def dynamic(film: Film, frames: Pixels) -> tuple[DynamicRule, NDArray[np.float32]]:
    """Rule of `dynamic_degree` for these frames, and the speeds that it judges."""
    assert film.media.video is not None
    fps = film.media.video.fps
    sampled = frames[STRIDE.indices(np.arange(len(frames)) / fps, fps)]
    return DynamicRule.of(frames.shape[1], frames.shape[2], len(sampled)), speeds(
        sampled, 0.05, neighbours(len(sampled))
    )


def static(frames: Pixels) -> tuple[StaticRule, NDArray[np.float32]]:
    """Rule of `static_filter` for these frames, and the speeds that it judges."""
    return StaticRule.of(frames.shape[1], frames.shape[2], len(frames)), speeds(
        frames, 0.02, neighbours(len(frames), ends=True)
    )


def one_pair(film: Film, store: EncoderStore) -> Pair:
    """Dynamic degree of two sampled frames, against a rule that asks for a pair that moves."""
    assert film.media.video is not None
    rule, values = dynamic(film, film.frames[: round(film.media.video.fps / 5)])
    assert len(values) == 1
    return replace(rule, needed=1).holds(values), rule.holds(values)


def few_frames(film: Film, store: EncoderStore) -> Pair:
    """Static filter of four frames, against a rule that allows one pair."""
    rule, values = static(film.frames[:4])
    return replace(rule, allowed=1).holds(values), rule.holds(values)


def small_dynamic(film: Film, store: EncoderStore) -> Pair:
    """Dynamic degree of a clip that is just large enough, against the answer for one that is too small."""
    rule, values = dynamic(film, film.scaled(LARGE, film.frames))
    return rule.holds(values), compat(film, store, "dynamic_degree_compat")


def small_static(film: Film, store: EncoderStore) -> Pair:
    """The static filter of the same."""
    rule, values = static(film.scaled(LARGE, film.frames))
    return rule.holds(values), compat(film, store, "static_filter_compat")


def small_smooth(film: Film, store: EncoderStore) -> Pair:
    """Motion smoothness of the same, by AMT."""
    large = film.of("large", film.scaled(LARGE, film.frames[: len(film.frames) // 4]))
    fixed = registry()["motion_smoothness"](large, Prompt(), store).value
    return fixed, compat(film, store, "motion_smoothness_compat", len(film.frames) // 4)


def compat(film: Film, store: EncoderStore, name: str, frames: int | None = None) -> float | None:
    """The reference's number of a clip that is too small for its network."""
    media = film.of(f"small {frames}", film.scaled(SMALL, film.frames[:frames]))
    return registry()[name](media, Prompt(), store).value


def last_index(film: Film, store: EncoderStore) -> Pair:
    """Fraction of sixteen frames that resemble the last one more than the first, as if captions named its place."""
    chosen = film.middle(16).astype(np.float32)
    shown = [bool(np.abs(frame - chosen[-1]).mean() < np.abs(frame - chosen[0]).mean()) for frame in chosen]
    return np.mean(shown), np.mean([shown[number // REPEATS] for number in range(16)])


ROWS = (
    Row("color_first_name", "`color`, frames that succeed of all", first_name),
    Row("color_substrings", "`color`, frames that succeed of all", substrings),
    Row("color_object_substrings", "`color`, frames that count of all", color_object),
    Row(
        "color_rounded_resize",
        "`color`, frames that succeed of all",
        partial(enlarged, other=GRIT_ROUNDED, fractions=colored_frames),
        f"{LARGE_FRAMES} frames, {LINES} lines",
    ),
    Row(
        "grit_antialias",
        "`object_class`",
        partial(enlarged, other=GRIT_ANTIALIAS, fractions=named_frames),
        f"{LARGE_FRAMES} frames, {LINES} lines",
    ),
    Row("spatial_unsigned", "`spatial_relationship`", partial(relation, argument="unsigned")),
    Row("spatial_same_name", "`spatial_relationship`", partial(relation, argument="same_name")),
    Row("dd_one_pair", "`dynamic_degree`", one_pair, "first 0.2 s", FLOW),
    Row("sf_few_frames", "`static_filter`", few_frames, "four frames", FLOW),
    Row("raft_small_still", "`dynamic_degree`", small_dynamic, SHRUNK.format(SECONDS), FLOW),
    Row("raft_small_still", "`static_filter`", small_static, SHRUNK.format(SECONDS), FLOW),
    Row("amt_small_black", "`motion_smoothness`", small_smooth, SHRUNK.format(SECONDS / 4)),
    Row("scene_first_frames", "`scene`, place of the last frame", last_index, network="none"),
)


def films() -> Iterator[Film]:
    """The clips, one at a time."""
    for clip in clips():
        yield Film(clip, decode_clip(clip, clip.clip_id, (EVERY_FRAME, *GRIT.views), DecodeOptions(seconds=SECONDS)))


def clips() -> list[Clip]:
    """The recorded and generated ones."""
    folder = Path(__file__).parent.parent / "examples" / "clips"
    return [clip for clip in load_source(folder / "manifest.csv").clips if not clip.clip_id.startswith(DRAWN)]


def frame_weighted(store: EncoderStore) -> tuple[Values, Values]:
    """Subject consistency of whole clips, for the seven sets that lack one of them: mean over clips, over pairs."""
    each = [
        similarities(store.embed(DINO_FRAMES, decode_clip(clip, clip.clip_id, DINO_FRAMES.views))) for clip in clips()
    ]
    sets = [[values for number, values in enumerate(each) if number != left_out] for left_out in range(len(each))]
    over_clips = [np.mean([values.mean() for values in chosen]) for chosen in sets]
    return np.array(over_clips), np.array([np.concatenate(chosen).mean() for chosen in sets])


def measure(wanted: Sequence[str]) -> str:
    """The table."""
    rows = [row for row in ROWS if not wanted or row.flag in wanted]
    store = EncoderStore(setup=SETUP)
    measured: list[list[Pair]] = [[] for _ in rows]
    for film in films() if rows else ():
        for row, pairs in zip(rows, measured, strict=True):
            pairs.append(row.both(film, store))
        print(film.clip.clip_id, file=sys.stderr, flush=True)
    lines = [
        "| flag | number | network | on | mean effect | largest | SD of fixed | mean effect / SD |",
        "|---|---|---|---|--:|--:|--:|--:|",
    ]
    for row, pairs in zip(rows, measured, strict=True):
        fixed, compat = (np.array(values, dtype=np.float64) for values in zip(*pairs, strict=True))
        lines.append(line_of(row.flag, row.number, row.network, row.on, fixed, compat))
    if not wanted or "vbench_frame_weighted" in wanted:
        described = "vbench_frame_weighted", "`subject_consistency` of a set", "reduced"
        lines.append(line_of(*described, "whole clips, seven sets of six", *frame_weighted(store)))
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure, and print or write."""
    publish(measure([name for name in arguments if not name.startswith("-")]), MARKED, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
