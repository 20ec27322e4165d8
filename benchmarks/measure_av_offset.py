"""Dose and response of av_offset: shift the sound by known amounts and compare. Prints Markdown tables.

    python benchmarks/measure_av_offset.py [FOLDER ...]

Without FOLDER: clips drawn by tests/synthetic.py and the clips in examples/clips. Each FOLDER adds the videos
with sound that lie in it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avbench import Clip, Media, Prompt, Waveform
from avbench.encoders import EncoderStore
from avbench.media import decode_clip
from avbench.metrics.av_offset import MIN_CONFIDENCE, av_offset
from avbench.metrics.optical_flow import FLOW

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from synthetic import SOUND_RATE, draw_frames, draw_sound  # noqa: E402

SEEDS = range(4)
FRESH_SEEDS = range(100, 120)
"""Not looked at when the threshold was chosen."""
CONTROL_SEEDS = range(100, 140)
SHIFTS = np.arange(-1.0, 1.01, 0.25)
RIGHT_S = 0.15
THRESHOLDS = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3)


@dataclass(frozen=True)
class Case:
    """One clip with its sound shifted by `shift` seconds, and what was read off it."""

    clip: str
    shift: float
    lag: float | None
    confidence: float
    reported: bool

    @property
    def error(self) -> float:
        """Distance to the shift in seconds; infinite where nothing could be compared."""
        return float("inf") if self.lag is None else abs(self.lag - self.shift)


def measure(name: str, shift: float, media: Media) -> Case:
    """Ask av_offset about a clip; the lag is in the detail even where no number is given."""
    score = av_offset(media, Prompt(), EncoderStore())
    lag, confidence = score.detail.get("offset"), score.detail.get("confidence")
    return Case(name, float(shift), lag, confidence or 0.0, score.status == "ok")


def drawn_cases(seeds: Iterable[int]) -> Iterator[Case]:
    """Bounces with clicks, 5 s at 24 fps; the sound is drawn again at each shift."""
    for seed in seeds:
        frames = draw_frames(seed)
        flow = Media.from_arrays("base", frames, 24).view(FLOW)
        for shift in SHIFTS:
            sound = draw_sound(seed, shift=float(shift))
            media = Media.from_arrays(f"seed {seed}", frames[:, :1, :1], 24, sound, SOUND_RATE)
            media.views[FLOW] = flow
            yield measure(f"seed {seed}", shift, media)


def control_cases() -> Iterator[Case]:
    """Drawn picture with the sound of another drawn clip: no lag is right, so every reported one is wrong."""
    for seed in CONTROL_SEEDS:
        sound = draw_sound(seed + 1000)
        yield measure(f"seed {seed}", math.nan, Media.from_arrays(f"{seed}", draw_frames(seed), 24, sound, SOUND_RATE))


def file_cases(paths: Iterable[Path]) -> Iterator[Case]:
    """Videos with sound; the sound is moved, what leaves the clip is lost and the gap is silent."""
    for path in paths:
        decoded = decode_clip(Clip(path.stem, path), path.stem, [FLOW, Waveform()])
        if decoded.video is None or decoded.audio is None:
            continue
        flow = {FLOW: decoded.view(FLOW)}
        for shift in SHIFTS:
            moved = shifted(decoded.view(Waveform()), round(shift * decoded.audio.sample_rate))
            media = Media(path.stem, decoded.video, decoded.audio, views={**flow}, waveform=moved)
            yield measure(path.stem, shift, media)


def shifted(sound: np.ndarray, samples: int) -> np.ndarray:
    """Sound (C, N), later by `samples`, zeros in the gap, same length."""
    if samples >= 0:
        return np.pad(sound, ((0, 0), (samples, 0)))[:, : sound.shape[1]]
    return np.pad(sound, ((0, 0), (0, -samples)))[:, -samples:]


def clip_table(cases: list[Case]) -> str:
    """One row per clip."""
    lines = [
        f"| clip | shifts | raw lag within {RIGHT_S} s | confidence | reported | of these within {RIGHT_S} s "
        "| largest error of a reported lag |",
        "|---|--:|--:|---|--:|--:|--:|",
    ]
    for name in dict.fromkeys(case.clip for case in cases):
        of_clip = [case for case in cases if case.clip == name]
        given = [case for case in of_clip if case.reported]
        near = sum(case.error <= RIGHT_S for case in of_clip)
        good = sum(case.error <= RIGHT_S for case in given)
        low, high = min(c.confidence for c in of_clip), max(c.confidence for c in of_clip)
        worst = f"{max(c.error for c in given):.2f} s" if given else "–"
        lines.append(
            f"| {name} | {len(of_clip)} | {near} | {low:.2f} to {high:.2f} | {len(given)} | {good} | {worst} |"
        )
    return "\n".join(lines)


def threshold_table(drawn: list[Case], real: list[Case]) -> str:
    """What each threshold would let through."""
    lines = [
        "| confidence at least | drawn: given | drawn: right | recorded or generated: given | right |",
        "|--:|--:|--:|--:|--:|",
    ]
    for threshold in THRESHOLDS:
        cells = []
        for group in (drawn, real):
            given = [case for case in group if case.confidence >= threshold and case.lag is not None]
            cells += [f"{len(given)} of {len(group)}", str(sum(case.error <= RIGHT_S for case in given))]
        lines.append(f"| {threshold:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(folders: list[str]) -> None:
    """Measure and print."""
    drawn = list(drawn_cases(SEEDS))
    places = [REPOSITORY / "examples" / "clips", *map(Path, folders)]
    files = [path for place in places for path in sorted(place.glob("*.mp4"))]
    unique = {path.read_bytes(): path for path in reversed(files)}.values()
    cases = list(file_cases(sorted(unique, key=lambda path: path.stem)))
    mute = [
        name for name in dict.fromkeys(c.clip for c in cases) if all(c.lag is None for c in cases if c.clip == name)
    ]
    if mute:
        print(f"left out, no onset or no motion to compare: {', '.join(mute)}\n")
    cases = [case for case in cases if case.clip not in mute]
    # The drawn clip among the examples tells nothing about real ones.
    real = [case for case in cases if not case.clip.startswith("bounce")]
    shown = [case for case in cases if case.clip.startswith("bounce")]
    print(f"threshold {MIN_CONFIDENCE}; shifts {', '.join(f'{shift:g}' for shift in SHIFTS)} s\n")
    for title, group in (("drawn", drawn + shown), ("recorded or generated", real)):
        near = sum(case.error <= RIGHT_S for case in group)
        print(f"{title}: {len(group)} cases, raw lag within {RIGHT_S} s in {near} ({near / len(group):.0%})\n")
        print(clip_table(group), end="\n\n")
    print(threshold_table(drawn + shown, real), end="\n\n")
    fresh = list(drawn_cases(FRESH_SEEDS))
    given = [case for case in fresh if case.reported]
    print(
        f"drawn, {len(FRESH_SEEDS)} fresh seeds: {len(fresh)} cases, {len(given)} reported, "
        f"{sum(case.error <= RIGHT_S for case in given)} of these within {RIGHT_S} s, largest error "
        f"{max(case.error for case in given):.2f} s; raw lag within {RIGHT_S} s in "
        f"{sum(case.error <= RIGHT_S for case in fresh)}; confidence from {min(c.confidence for c in fresh):.2f}"
    )
    control = list(control_cases())
    print(
        f"drawn, sound of another clip: {len(control)} cases, {sum(case.reported for case in control)} reported, "
        f"confidence up to {max(case.confidence for case in control):.2f}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
