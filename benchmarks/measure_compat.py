"""How much each quirk of JavisBench moves a number, on the recorded and generated clips in examples/clips.

    python benchmarks/measure_compat.py            measure everything and print Markdown
    python benchmarks/measure_compat.py FLAG ...   only rows of these flags
    python benchmarks/measure_compat.py --write    measure everything and put it into docs/compat.md

Networks have keyed-random weights, so this is the effect on networks that know nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Clip, Prompt
from avbench.encoders import ClipInput, Encoder, EncoderStore, WeightsConfig
from avbench.encoders.networks.audiobox.encoders import AUDIOBOX_AXES, AUDIOBOX_AXES_COMPAT
from avbench.encoders.networks.audiobox.inputs import javisbench_audio
from avbench.encoders.networks.i3d.encoders import I3D_COMPAT, I3D_FIXED
from avbench.encoders.networks.imagebind.encoders import (
    IMAGEBIND_AUDIO,
    IMAGEBIND_AUDIO_TEXT,
    IMAGEBIND_AUDIO_TEXT_COMPAT,
)
from avbench.encoders.networks.synchformer.encoders import BACKBONE as SYNCHFORMER
from avbench.encoders.networks.synchformer.encoders import FOUR_SECONDS, OWN_LENGTH, Recipe
from avbench.encoders.texts import split_text
from avbench.media import Media, View, decode_clip
from avbench.media.options import DecodeOptions
from avbench.metrics.audio_quality import mean_quality
from avbench.metrics.base import registry
from avbench.metrics.desync import mean_offset
from avbench.metrics.distances import frechet_distance, polynomial_mmd
from avbench.metrics.frechet import scaled_frechet_distance
from avbench.metrics.imagebind_score import cosine
from avbench.sources import load_source
from avbench.weights.config import Weights

PAGE = Path(__file__).parent.parent / "docs" / "compat.md"
MARKED = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
DRAWN = "bounce"
GENERATED = {"big_buck_bunny_51", "ovi_dressing_room", "ovi_two_men"}
"""What set metrics take for the clips to judge; the other four are the reference set."""

WEIGHTS: tuple[Weights, Weights] = ("keyed-random", "keyed-random-reduced")

LONG_CAPTIONS = (
    "A grey rabbit with a round belly climbs out of a burrow under a grassy hill on a bright spring morning, blinks at "
    "the sun, stretches both arms high above its head, yawns, rubs its eyes with its paws, scratches its back, sniffs "
    "at a pink flower beside the path, laughs at a butterfly that lands on its nose, and then walks slowly down the "
    "slope towards a brook between tall trees while light clouds drift over the meadow and small birds circle far away "
    "in the blue sky; gentle music plays, leaves rustle in the wind, and a soft sleepy sigh is heard.",
    "In a ruined stone church at dusk a soldier in a dark coat hides behind a broken column with a heavy rifle, dust "
    "falls from the vaults, a huge rusty robot with long arms crashes through the roof, lands on the flagstones, turns "
    "its head with a flickering red eye, swings at the pillars, and leaps over the benches while the soldier fires "
    "again and again; shells ring on the floor, metal screeches, engines roar, the bell in the tower falls with a deep "
    "clang, and at the end the robot collapses in a cloud of smoke and everything is silent.",
)

Values = NDArray[np.float64]
Measure = Callable[[Media, Prompt, EncoderStore], float | Values]


@dataclass(frozen=True)
class Subject:
    """A clip as its first seconds, by how many; None for all of it."""

    name: str
    prompt: Prompt
    media: dict[float | None, Media]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        flag, metric: what the table shows.
        encoders: networks asked.
        both: values (N,) or (N, K) of all clips, fixed and compat.
        seconds: of each clip.
        network: "full size", "reduced", or "none".
        on: what was measured, for the table.
    """

    flag: str
    metric: str
    encoders: tuple[Encoder, ...]
    both: Callable[[Sequence[Subject], EncoderStore, float | None], tuple[Values, Values]]
    seconds: float | None = 4.0
    network: str = "full size"
    on: str = ""

    @property
    def views(self) -> list[View]:
        """What has to be decoded."""
        return [view for encoder in self.encoders for view in encoder.views]

    @property
    def material(self) -> str:
        """For the table."""
        return self.on or ("whole clips" if self.seconds is None else f"first {self.seconds:g} s")


def each(fixed: Measure, compat: Measure, prompts: Sequence[Prompt] = ()) -> Callable[..., tuple[Values, Values]]:
    """Measure every clip both ways, with its own prompt or with each of `prompts`."""

    def both(subjects: Sequence[Subject], store: EncoderStore, seconds: float | None) -> tuple[Values, Values]:
        pairs = [(s.media[seconds], prompt) for s in subjects for prompt in (prompts or [s.prompt])]
        scores = [[measure(media, prompt, store) for media, prompt in pairs] for measure in (fixed, compat)]
        return np.array(scores[0]), np.array(scores[1])

    return both


def scored(name: str, media: Media, prompt: Prompt, store: EncoderStore) -> float:
    """The value of a registered metric."""
    score = registry()[name](media, prompt, store)
    if score.value is None:
        raise SystemExit(f"{name} gave no number for {media.key}: {score.reason}")
    return score.value


def pair_of(flag: str, name: str, **fields: Any) -> Row:
    """A metric and its compat twin."""
    encoders = registry()[name].encoders + registry()[f"{name}_compat"].encoders
    measures = each(partial(scored, name), partial(scored, f"{name}_compat"), fields.pop("prompts", ()))
    return Row(flag, f"`{name}`", encoders, measures, **fields)


def quality(flag: str, seconds: float) -> Row:
    """AQ with one of its flags alone."""

    def encoder(name: str, **flags: bool) -> Encoder:
        run = partial(rate_prepared, flags={"aq_resample_bug": False, "aq_pad_as_valid": False} | flags)
        return Encoder(f"aq {name}", 1, AUDIOBOX_AXES.backbone, run, AUDIOBOX_AXES_COMPAT.views)

    encoders = encoder("none"), encoder(flag, **{flag: True})
    measures = [partial(mean_rating, encoder) for encoder in encoders]
    return Row(flag, "`aq`", encoders, each(measures[0], measures[1]), seconds)


def mean_rating(encoder: Encoder, media: Media, prompt: Prompt, store: EncoderStore) -> float:
    """AQ of an encoder's four ratings."""
    return mean_quality(store.embed(encoder, media))


def rate_prepared(network: Any, clips: Sequence[ClipInput], flags: dict[str, bool]) -> Any:
    """Ratings of the sound as JavisBench prepares it with some of its flaws."""
    rated = []
    for clip in clips:
        assert clip.audio is not None
        rated.append(ClipInput((javisbench_audio(clip.views[0][0], clip.audio.sample_rate, **flags)[None],)))
    return AUDIOBOX_AXES.run(network, rated)


def text_audio(text: Encoder, media: Media, prompt: Prompt, store: EncoderStore) -> float:
    """IB-TA with the text embedded one way or the other and the sound as it should be."""
    words, _ = split_text(store.embed(text, media, prompt))
    return float(cosine(words, store.embed(IMAGEBIND_AUDIO, media)[0]))


def mel_windows(media: Media, flaw: bool) -> Values:
    """What ImageBind sees of the sound of JavisScore's windows, (W, 1, 128, 204)."""
    import torch

    from avbench.encoders.networks.imagebind.inputs import mel_spectrograms, plan_audio

    plan = plan_audio(np.asarray(media.view(IMAGEBIND_AUDIO.views[0])), ib_inplace_mean=flaw)
    return (
        mel_spectrograms([plan.slices[index] for index in plan.windows], torch.device("cpu")).numpy().astype(np.float64)
    )


def offset_row(flag: str, metric: str, recipes: Sequence[Recipe], seconds: float | None) -> Row:
    """Synchformer's 21 logits under two recipes."""
    encoders = tuple(_synchformer(recipe) for recipe in recipes)
    fixed, compat = (partial(logits, encoder) for encoder in encoders)
    return Row(flag, f"{metric}, 21 logits", encoders, each(fixed, compat), seconds, network="reduced")


def offset_score(flag: str, encoders: tuple[Encoder, Encoder], seconds: float) -> Row:
    """DeSync in seconds."""
    fixed, compat = (partial(offset, encoder) for encoder in encoders)
    return Row(flag, "`desync`", encoders, each(fixed, compat), seconds, network="reduced")


def _synchformer(recipe: Recipe) -> Encoder:
    def run(network: Any, clips: Sequence[ClipInput]) -> Any:
        from avbench.encoders.networks.synchformer.inference import offset_logits

        return offset_logits(network, clips, recipe)

    return Encoder(f"synchformer {recipe}", 1, SYNCHFORMER, run, OWN_LENGTH.views)


def logits(encoder: Encoder, media: Media, prompt: Prompt, store: EncoderStore) -> Values:
    """Mean over blocks of the logits, (21,)."""
    return np.asarray(store.embed(encoder, media).mean(axis=0), dtype=np.float64)


def offset(encoder: Encoder, media: Media, prompt: Prompt, store: EncoderStore) -> float:
    """DeSync."""
    return mean_offset(store.embed(encoder, media))


def sets(
    flag: str, metric: str, encoders: tuple[Encoder, Encoder], distances: Sequence[Callable[[Any, Any], float]]
) -> Row:
    """A set metric: three clips against four, and what it is with each clip left out in turn."""

    def both(subjects: Sequence[Subject], store: EncoderStore, seconds: float | None) -> tuple[Values, Values]:
        distances = []
        for encoder, distance in zip(encoders, distances, strict=True):
            rows = {subject.name: store.embed(encoder, subject.media[seconds]) for subject in subjects}
            distances.append([distance(*split(rows, left_out)) for left_out in rows])
        return np.array(distances[0]), np.array(distances[1])

    return Row(flag, metric, encoders, both, on="first 4 s, seven sets of six clips")


def split(rows: dict[str, NDArray[np.float32]], left_out: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of the clips to judge and of the reference set."""
    groups: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    for name, features in rows.items():
        if name != left_out:
            groups[name not in GENERATED].append(features)
    return np.stack(groups[0]), np.stack(groups[1])


def all_rows() -> list[Row]:
    """What is measured, in the order of the table; rows of one network beside each other."""
    kernel, centred = partial(polynomial_mmd, centred=False), partial(polynomial_mmd, centred=True)
    sounds = registry()["fad"].encoders + registry()["fad_compat"].encoders
    long = [Prompt(text) for text in LONG_CAPTIONS]
    texts = IMAGEBIND_AUDIO_TEXT, IMAGEBIND_AUDIO_TEXT_COMPAT
    words = "first 4 s, each with two captions over 77 tokens"
    return [
        quality("aq_resample_bug", 4.0),
        quality("aq_pad_as_valid", 2.0),
        pair_of("all of `aq_compat`", "aq"),
        pair_of("clip_bgr", "clip_score"),
        pair_of("clap_zero_pad", "clap_score"),
        pair_of("cavp_whole_seconds", "cavp_score", seconds=None),
        sets("fvd_half_range", "`fvd`", (I3D_FIXED, I3D_COMPAT), (frechet_distance, frechet_distance)),
        sets("fvd_half_range", "`kvd`", (I3D_FIXED, I3D_COMPAT), (kernel, kernel)),
        sets("kvd_centred", "`kvd`", (I3D_FIXED, I3D_FIXED), (kernel, centred)),
        sets("all of `kvd_compat`", "`kvd`", (I3D_FIXED, I3D_COMPAT), (kernel, centred)),
        sets("fad_scale", "`fad`", (sounds[0], sounds[1]), (scaled_frechet_distance, scaled_frechet_distance)),
        *(
            pair_of("ib_inplace_mean", name, network="reduced")
            for name in ("ta_ib", "av_ib", "avh_score", "javis_score")
        ),
        Row(
            "ib_inplace_mean",
            "its input (log-mel, normalised)",
            (IMAGEBIND_AUDIO,),
            each(lambda media, *_: mel_windows(media, False), lambda media, *_: mel_windows(media, True)),
            network="none",
        ),
        pair_of("ib_text_truncation", "tv_ib", prompts=long, network="reduced", on=words),
        Row(
            "ib_text_truncation",
            "`ta_ib`",
            (*texts, IMAGEBIND_AUDIO),
            each(partial(text_audio, texts[0]), partial(text_audio, texts[1]), long),
            network="reduced",
            on=words,
        ),
        offset_row("desync_drop_last", "`reward_desync`", (Recipe(8.0), Recipe(8.0, desync_drop_last=True)), None),
        offset_row("desync_drop_last", "`desync_compat`", (Recipe(4.0), Recipe(4.0, desync_drop_last=True)), 4.0),
        offset_row("length 4 s, filled", "`desync`", (Recipe(), Recipe(4.0, desync_drop_last=True)), 4.0),
        offset_row("length 4 s, filled", "`desync`", (Recipe(), Recipe(4.0, desync_drop_last=True)), 2.0),
        offset_score("length 4 s, filled", (OWN_LENGTH, FOUR_SECONDS), 2.0),
    ]


def decode(rows: Iterable[Row]) -> list[Subject]:
    """The clips, decoded once for each length."""
    views: dict[float | None, list[View]] = {}
    for row in rows:
        views.setdefault(row.seconds, []).extend(row.views)
    folder = Path(__file__).parent.parent / "examples" / "clips"
    clips = [clip for clip in load_source(folder / "manifest.csv").clips if not clip.clip_id.startswith(DRAWN)]
    return [Subject(clip.clip_id, clip.prompt, _media(clip, views)) for clip in clips]


def _media(clip: Clip, views: dict[float | None, list[View]]) -> dict[float | None, Media]:
    return {
        seconds: decode_clip(
            clip, f"{clip.clip_id} {seconds}", dict.fromkeys(clip_views), DecodeOptions(seconds=seconds)
        )
        for seconds, clip_views in views.items()
    }


def line_of(flag: str, number: str, network: str, on: str, fixed: Values, compat: Values) -> str:
    """One line of the table: effect and standard deviation of single numbers, means where there are several."""
    effect = np.abs(fixed - compat)
    std = float(fixed.std(axis=0, ddof=1).mean())
    ratio = f"{effect.mean() / std:.2g}" if std > 0 else "–"
    named = flag if " " in flag else f"`{flag}`"
    numbers = " | ".join(f"{value:.2g}" for value in (effect.mean(), effect.max(), std))
    return f"| {named} | {number} | {network} | {on} | {numbers} | {ratio} |"


def measure(wanted: Sequence[str]) -> str:
    """The table."""
    rows = [row for row in all_rows() if not wanted or row.flag in wanted]
    subjects = decode(rows)
    whole, reduced = (EncoderStore(max_resident=1, setup=WeightsConfig(weights)) for weights in WEIGHTS)
    lines = [
        "| flag | number | network | on | mean effect | largest | SD of fixed | mean effect / SD |",
        "|---|---|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        scores = row.both(subjects, whole if row.network == "full size" else reduced, row.seconds)
        lines.append(line_of(row.flag, row.metric, row.network, row.material, *scores))
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines) + "\n"


def publish(table: str, marked: re.Pattern[str], arguments: Sequence[str]) -> None:
    """Print a table, or with --write put it between its marks on the page."""
    if "--write" not in arguments:
        print(table)
        return
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(marked.sub(lambda part: f"{part[1]}\n{table}\n{part[2]}", text), encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Measure, and print or write."""
    publish(measure([name for name in arguments if not name.startswith("-")]), MARKED, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
