"""Rewrite the generated tables of the documentation from the code.

    python docs/generate.py            rewrite
    python docs/generate.py --check    exit code 1 and a list of pages when one is stale

A generated part lies between `<!-- generated:NAME ARGUMENT -->` and `<!-- end -->`.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path

from avbench.media import Frames, Waveform
from avbench.metrics.base import Scorer, registry
from avbench.results import ClipRow, ScoreRow
from avbench.sources import columns, numbering, suffixes
from avbench.suites import list_suites
from avbench.weights.checkpoints import CHECKPOINTS, with_required
from avbench.weights.locate import size_text

DOCS = Path(__file__).parent
MARKED = re.compile(r"(<!-- generated:(\w+) ?(\w*) -->\n).*?(<!-- end -->)", re.DOTALL)
ARROWS = {True: "higher is better", False: "lower is better", None: "neither"}
JUDGES = {
    "clip": "each clip",
    "set": "all clips of a run together, and each category",
    "derived": "all clips of a run together",
}
NONE = "–"

SCORE_COLUMNS = {
    "schema_version": "Version of this table's columns.",
    "run_id": "Id of the run folder.",
    "model": "Generator, from a `model` column; null if not given.",
    "suite": "Suite that was asked for; `custom` with `--metrics`.",
    "suite_version": "Digest over names, versions and parameters of the suite's metrics.",
    "scope": "`clip`; for metrics over sets `all`, or `ASPECT/CATEGORY` for the clips of one category.",
    "clip_id": "The clip's name in its source. Null for metrics over sets.",
    "clip_sha256": "Digest of the content: video file, and sound file if there is one. For sets: of all members.",
    "prompt_id": "Id of the prompt, from a `prompt_id` column; null if not given.",
    "sample_index": "Which of several generations for one prompt, from 0.",
    "metric": "Name of the metric.",
    "value": "The number. Null unless `status` is `ok`. Never NaN, never a stand-in 0.",
    "status": "`ok`, `skipped` or `error`.",
    "reason": "Why there is no number. Empty for `ok`.",
    "metric_version": "Version of the metric's code.",
    "params_digest": "Digest over the metric's parameters, the prompt text that it uses, and the protocol; for sets "
    "also the scope and the reference set.",
    "weights_digest": "Digest over the networks and their precision; `none` without networks, `unavailable` where this "
    "machine lacks one, `not asked` where the suite does not ask the metric of this clip.",
    "seconds": "Time that this metric took for this clip, without decoding.",
    "detail": "JSON object with what lies behind the number: times, counts, curves.",
}
CLIP_COLUMNS = {
    "clip_id": "The clip's name in its source.",
    "model": "Generator; null if not given.",
    "sample_index": "Which of several generations for one prompt.",
    "prompt_id": "Id of the prompt.",
    "text": "Joint prompt.",
    "video_text": "Prompt for the video alone.",
    "audio_text": "Prompt for the audio alone.",
    "video_path": "Path of the video, from the source's folder; the name alone of a file outside.",
    "audio_path": "The same for the sound file that replaces the embedded track; null without one.",
    "clip_sha256": "Digest of the content.",
    "audio_source": "`embedded` or `sidecar`; null without sound.",
    "duration": "Seconds of video, from decoded frames.",
    "audio_duration": "Seconds of sound, from decoded samples.",
    "fps": "Nominal frame rate.",
    "frames": "Decoded frames.",
    "width": "Width as shown, after rotation.",
    "height": "Height as shown, after rotation.",
    "sample_rate": "Samples per second.",
    "channels": "Channels of the sound.",
    "problem": "What is broken in the file, gaps in the sound included; null if nothing is.",
    "expected": "JSON object of what the prompt says must be seen; null if it says nothing.",
    "speech_text": "Words that must be spoken.",
    "speech_language": "Language that must be spoken.",
}
MANIFEST_COLUMNS = (
    ("generated video", columns.GENERATED_VIDEO, "Path of the generated video. Wins over a plain path."),
    ("video", columns.PLAIN_VIDEO, "Path of the video."),
    ("generated sound", columns.GENERATED_AUDIO, "Path of the generated sound. Wins over a plain path."),
    ("sound", columns.PLAIN_AUDIO, "Path of a sound file that replaces the embedded track."),
    ("text", columns.TEXT, "Joint prompt."),
    ("video text", columns.VIDEO_TEXT, "Prompt for the video."),
    ("audio text", columns.AUDIO_TEXT, "Prompt for the audio."),
    (
        "expected content",
        columns.EXPECTED,
        "What the clip must show: `dog` or `dog and cat`; `red`; `bicycle | on the left of | car`; `alley`; `Van Gogh "
        "style`; a label of Kinetics-400; the last column is VBench's object of these. Metrics of objects, colour, "
        "place, style and action read it.",
    ),
    (
        "spoken text",
        columns.SPEECH[:1] + columns.SPEECH[2:],
        "The words that must be spoken, for `wer` and `cer`; the second is the field of Verse-Bench and T2AV-Compass. "
        "Without either, what stands between `<S>` and `<E>` in a prompt, as Ovi writes it. Quotation marks say "
        "nothing.",
    ),
    ("language", columns.SPEECH[1:2], "Code of the spoken language: `en`, `zh`. Without one it is read as English."),
    ("model", columns.MODEL, "Name of the generator."),
    ("sample index", columns.SAMPLE_INDEX, "0, 1, 2, ... Counted per prompt and model if not given."),
    ("prompt id", columns.PROMPT_ID, "Id of the prompt."),
    ("clip id", columns.CLIP_ID, "Name of the clip. The path if not given."),
)


def metrics_table(_: str) -> str:
    """All metrics on one page."""
    rows = [
        (
            f"[`{m.name}`]({m.family}.md)", m.summary, unit(m), ARROWS[m.higher_is_better], bounds(m),
            ", ".join(sorted(m.needs)), m.checkpoint or NONE, m.licence or NONE,
        )
        for m in own_metrics()
    ]  # fmt: skip
    return table(("metric", "what", "unit", "direction", "range", "needs", "checkpoint", "its licence"), rows)


def family_table(family: str) -> str:
    """The properties of one family's metrics, a table for each."""
    blocks = []
    for m in own_metrics():
        if m.family != family:
            continue
        params = ", ".join(f"{name} = {value}" for name, value in m.params)
        views = "; ".join(dict.fromkeys(map(reads, m.all_views)))
        if m.inputs:
            views = f"scores of {', '.join(m.inputs)}"
        weights = f"{m.checkpoint} (licence: {m.licence})" if m.checkpoint else "none"
        properties = (
            ("what", m.summary), ("judges", JUDGES[m.level]), ("unit", unit(m)),
            ("direction", ARROWS[m.higher_is_better]), ("range", bounds(m)),
            ("needs", ", ".join(sorted(m.needs))), ("reads", views or "metadata of the tracks"),
            ("parameters", params or "none"), ("checkpoint", weights), ("source", m.source),
            ("version", str(m.version)), ("caveat", m.caveat),
        )  # fmt: skip
        blocks.append(f"**`{m.name}`**\n\n{table(('property', 'value'), properties)}")
    if not blocks:
        known = ", ".join(sorted({m.family for m in own_metrics()}))
        raise SystemExit(f"docs/generate.py: no metric of family {family!r}; known: {known}")
    return "\n".join(blocks)


def row_table(kind: type[ScoreRow] | type[ClipRow], meanings: dict[str, str]) -> str:
    """Columns of a result table. A field without a meaning, or a meaning without a field, is an error."""
    names = [field.name for field in fields(kind)]
    if wrong := set(names) ^ set(meanings):
        raise SystemExit(f"docs/generate.py: {kind.__name__} and its meanings differ in {', '.join(sorted(wrong))}")
    types = {field.name: str(field.type) for field in fields(kind)}
    rows = [(f"`{name}`", column_type(types[name]), meanings[name]) for name in names]
    return table(("column", "type", "meaning"), rows)


def flags_table(_: str) -> str:
    """Flaws of the reference that a metric reproduces, by flag."""
    by_flag: dict[str, list[str]] = {}
    for m in own_metrics():
        for flag in filter(None, str(dict(m.params).get("flags", "")).split(",")):
            by_flag.setdefault(flag, []).append(f"`{m.name}`")
    return table(("flag", "metrics"), [(f"[`{flag}`](#{flag})", ", ".join(names)) for flag, names in by_flag.items()])


def manifest_table(_: str) -> str:
    """Column names that a manifest or prompt list may use."""
    rows = [(what, ", ".join(f"`{name}`" for name in names), note) for what, names, note in MANIFEST_COLUMNS]
    return table(("meaning", "accepted names", "content"), rows)


def key_table(_: str) -> str:
    """Columns of a prompt list that may name clips."""
    return ", ".join(f"`{name}`" for name in columns.KEYS) + "\n"


def suffix_list(_: str) -> str:
    """Suffixes of files that are clips."""
    return ", ".join(f"`{suffix}`" for suffix in suffixes.VIDEO_SUFFIXES) + "\n"


def number_table(_: str) -> str:
    """Columns of a prompt list that number its rows."""
    return ", ".join(f"`{name}`" for name in numbering.NUMBERS) + "\n"


def suites_table(_: str) -> str:
    """All suites."""
    return table(("suite", "metrics", "what"), [(f"`{s.name}`", str(len(s.metrics)), s.summary) for s in list_suites()])


def weights_table(_: str) -> str:
    """All checkpoints: licence, size, what needs them, source."""
    needing = {m.name: with_required(b.row for b in m.backbones if b.row) for m in own_metrics()}
    rows = []
    for row in CHECKPOINTS.values():
        origin = f"hub `{row.hubs[0]}`" if row.hubs else f"`{row.files[0].url.split('/')[2]}`"
        metrics = ", ".join(f"`{name}`" for name, used in needing.items() if row.name in used)
        licence = f"**{row.licence}**" if row.must_accept else row.licence
        rows.append((f"[`{row.name}`]({row.page})", licence, size_text(row.size), metrics or NONE, origin))
    return table(("checkpoint", "licence", "size", "needed by", "source"), rows)


def weights_files(_: str) -> str:
    """Where the files of each checkpoint are looked for, and whether their checksums are known."""
    rows = []
    for row in CHECKPOINTS.values():
        names = [f"`{file.name}`" for file in row.files]
        folders = ", ".join(f"`{folder}/`" if folder else "the folder itself" for folder in (row.name, *row.folders))
        known = sum(file.sha256 is not None for file in row.files)
        checks = "all" if known == len(row.files) else f"{known} of {len(row.files)}"
        rows.append((f"`{row.name}`", ", ".join(names), folders, checks))
    return table(("checkpoint", "files", "below the weights folder in", "checksums known"), rows)


def own_metrics() -> list[Scorer]:
    """Metrics of this project; those of other packages are not documented here."""
    return [m for m in registry().values() if m.function.__module__.startswith("avbench.")]


def unit(metric: Scorer) -> str:
    """The unit; a plain number has none."""
    return "plain number" if metric.unit == "1" else metric.unit


def bounds(metric: Scorer) -> str:
    """The range in words."""
    low, high = metric.range
    if math.isinf(low) and math.isinf(high):
        return "unbounded"
    if math.isinf(high):
        return f"{low:.4g} upwards"
    return f"up to {high:.4g}" if math.isinf(low) else f"{low:.4g} to {high:.7g}"


def reads(view: object) -> str:
    """What a view gives a metric."""
    if isinstance(view, Waveform):
        rate = "the track's own rate" if view.rate is None else f"{view.rate} Hz"
        channels = "mean of the channels" if view.mono else "all channels"
        method = "" if view.rate is None else f" ({view.resampler})"
        return f"sound, {channels}, at {rate}{method}, {'limited to ±1' if view.limit else 'not limited'}"
    if isinstance(view, Frames):
        size = "at full size" if view.scaled is None else "scaled to {}×{} by FFmpeg (bilinear)".format(*view.scaled)
        if view.transform is not None:
            size = f"each through `{view.transform.__name__}`" + ("" if view.scaled is None else f", {size}")
        return f"frames chosen by `{view.sampling}`, {size}"
    return f'every frame (series "{getattr(view, "name", view)}")'


def column_type(annotation: str) -> str:
    """The type of a column as a reader of the table meets it."""
    base = annotation.removesuffix(" | None")
    name = {"str": "text", "int": "integer", "float": "number"}.get(base, "text")
    return f"{name} or null" if base != annotation else name


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


GENERATORS: dict[str, Callable[[str], str]] = {
    "metrics": metrics_table,
    "family": family_table,
    "flags": flags_table,
    "columns": manifest_table,
    "keys": key_table,
    "numbers": number_table,
    "suffixes": suffix_list,
    "suites": suites_table,
    "weights": weights_table,
    "weights_files": weights_files,
    "scores": lambda _: row_table(ScoreRow, SCORE_COLUMNS),
    "clips": lambda _: row_table(ClipRow, CLIP_COLUMNS),
}


@cache
def generated(name: str, argument: str) -> str:
    """The text of one generated part."""
    if name not in GENERATORS:
        raise SystemExit(f"docs/generate.py: unknown part {name!r}; known: {', '.join(GENERATORS)}")
    return GENERATORS[name](argument)


def refreshed(text: str) -> str:
    """A page with its generated parts made again."""
    return MARKED.sub(lambda block: f"{block[1]}\n{generated(block[2], block[3])}\n{block[4]}", text)


def main(arguments: Sequence[str]) -> int:
    """Rewrite or check all pages."""
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = refreshed(old)
        if new == old:
            continue
        stale.append(str(page.relative_to(DOCS.parent)))
        if "--check" not in arguments:
            page.write_text(new, encoding="utf-8")
    if stale:
        print(f"{'stale' if '--check' in arguments else 'written'}: {', '.join(stale)}")
    if stale and "--check" in arguments:
        print("run: python docs/generate.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
