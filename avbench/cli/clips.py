"""`avbench clips`: show the clips and prompts of a source before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from avbench.cli.options import (
    AllowHosts,
    AllowOutside,
    AllowRemote,
    LayoutOption,
    LimitOption,
    PromptsOption,
    SourceArgument,
)
from avbench.terminal.output import print_json, say

if TYPE_CHECKING:
    from avbench.clips import Clip
    from avbench.media import Limits
    from avbench.media.probe import Probe
    from avbench.sources.vbench import Coverage


def command(
    source: SourceArgument,
    prompts: PromptsOption = None,
    layout: LayoutOption = "auto",
    allow_outside: AllowOutside = False,
    allow_remote: AllowRemote = False,
    allow_host: AllowHosts = None,
    limit: LimitOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show what is understood of a source: clips, sound, prompts, durations, problems."""
    from avbench.media.limits import parse_limits
    from avbench.sources import load_source
    from avbench.sources.vbench import coverage, official_prompts

    loaded = load_source(
        source,
        prompts=prompts,
        layout=layout,
        allow_outside=allow_outside,
        allow_remote=allow_remote,
        allow_hosts=allow_host or (),
    )
    limits = parse_limits(limit or ())
    probes = [_probe(clip, limits) for clip in loaded.clips]
    with_prompt = sum(not clip.prompt.is_empty for clip in loaded.clips)
    with_speech = sum(clip.prompt.speech_text is not None for clip in loaded.clips)
    with_audio = sum(probe.audio != "none" for probe in probes)
    problems = [(c.clip_id, p.problem) for c, p in zip(loaded.clips, probes, strict=True) if p.problem]
    durations = sorted(probe.duration for probe in probes if probe.duration is not None)
    sampling = [covered for covered in coverage(loaded.clips, official_prompts()) if covered.clips]
    overview = {
        "kind": loaded.kind,
        "matching": loaded.matching,
        "clips": len(loaded.clips),
        "with_sound": with_audio,
        "with_prompt": with_prompt,
        "with_speech_text": with_speech,
        "with_categories": sum(bool(clip.categories) for clip in loaded.clips),
        "models": sorted({clip.model for clip in loaded.clips if clip.model}),
        "duration_s": [durations[0], durations[len(durations) // 2], durations[-1]] if durations else [],
        "vbench": [_sampling(dimension) for dimension in sampling],
        "notes": list(loaded.notes),
        "problems": [{"clip_id": clip_id, "problem": problem} for clip_id, problem in problems],
    }
    if as_json:
        print_json(overview)
        return
    from avbench.pages.table import Column, Table, row_of
    from avbench.pages.terminal import print_table

    columns = (
        Column("clip", "clip", "text"), Column("video", "video", "text"), Column("seconds", "seconds"),
        Column("sound", "sound", "text"), Column("prompt", "prompt", "text"),
    )  # fmt: skip
    rows = []
    for clip, probe in zip(loaded.clips, probes, strict=True):
        prompt = clip.prompt.text or clip.prompt.video_text or clip.prompt.audio_text or "–"
        length = "" if probe.duration is None else f"{probe.duration:.2f}"
        rows.append(row_of((clip.clip_id, probe.problem or probe.video, length, probe.audio, prompt[:60])))
    print_table(Table(f"{loaded.address or source}: {loaded.kind}, {len(loaded.clips)} clips", columns, tuple(rows)))
    counts = f"{with_audio} with sound, {with_prompt} with prompt, {with_speech} with spoken text"
    say(f"{len(loaded.clips)} clips, {counts}, {len(problems)} with problems")
    if durations:
        middle = durations[len(durations) // 2]
        say(f"durations: {durations[0]:.2f} s to {durations[-1]:.2f} s, median {middle:.2f} s")
    say(f"prompts: {loaded.matching}")
    if sampling:
        _print_sampling(sampling)
    for note in loaded.notes:
        say(f"note: {note}")


def _sampling(covered: Coverage) -> dict[str, str | int]:
    return {
        "dimension": covered.dimension,
        "prompts": len(covered.prompts),
        "prompts_sampled": covered.sampled,
        "prompts_full": covered.full,
        "samples": covered.samples,
        "clips": covered.clips,
        "clips_needed": covered.samples * len(covered.prompts),
        "missing": covered.lack,
    }


def _print_sampling(sampling: Sequence[Coverage]) -> None:
    """VBench's prompts among the clips, dimension by dimension: what its totals need and what there is."""
    from avbench.pages.table import Column, Table, row_of
    from avbench.pages.terminal import print_table

    columns = (
        Column("dimension", "dimension", "text"), Column("prompts", "prompts"), Column("sampled", "sampled"),
        Column("full", "with all samples"), Column("clips", "clips"),
    )  # fmt: skip
    rows = []
    for each in sampling:
        total = len(each.prompts)
        cells = (str(total), str(each.sampled), str(each.full), f"{each.clips} of {each.samples * total}")
        rows.append(row_of((each.dimension, *cells)))
    print_table(Table("VBench's prompts", columns, tuple(rows)))
    full = sum(not each.lack for each in sampling)
    say(f"VBench: {full} of 16 dimensions are complete; Quality, Semantic and Total need all of theirs")


def _probe(clip: Clip, limits: Limits) -> Probe:
    """The headers of a clip; a remote one is fetched for that."""
    from avbench.errors import MediaError
    from avbench.files import temporary_folder
    from avbench.media.probe import Probe, probe_clip
    from avbench.run.content import Content
    from avbench.run.remote_clips import local_copy

    if not clip.is_remote:
        return probe_clip(clip, limits)
    try:
        with (
            temporary_folder(None, prefix="avbench-clips-") as folder,
            local_copy(clip, Content("", known=False), limits, folder) as local,
        ):
            return probe_clip(local.clip, limits)
    except MediaError as error:
        return Probe(problem=str(error))
