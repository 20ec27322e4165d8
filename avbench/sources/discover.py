"""Turn a path into clips: a folder, a manifest, one video, or the layout of a known benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from avbench.clips import Clip
from avbench.errors import UsageError
from avbench.remote.addresses import is_address
from avbench.sources.base import Source
from avbench.sources.benchmarks import (
    insist_on_javisbench,
    looks_like_javisbench,
    looks_like_vbench,
    only_csv,
    pair_javisbench,
    vbench_clips,
    vbench_hint,
)
from avbench.sources.columns import find_columns
from avbench.sources.folder import TAR_SHARDS, add_audio_files, folder_clips, list_folder, relative_id
from avbench.sources.manifest import manifest_clips
from avbench.sources.pairing import Pairing, apply_pairing, matching_sentence, pair_by_name, pair_prompts
from avbench.sources.prompts import PromptList, as_prompts, read_prompts
from avbench.sources.safety import as_on_disk, file_kind, printable, some_of
from avbench.sources.suffixes import OTHER_VIDEO_SUFFIXES, VIDEO_SUFFIXES
from avbench.sources.tables import TABLE_SUFFIXES, read_table

Layout = Literal["auto", "folder", "javisbench", "vbench"]

_MANIFEST_NAMES = ("manifest.csv", "manifest.jsonl", "manifest.parquet")
_NO_PROMPTS = "no prompts given (--prompts)"


def load_source(
    path: Path | str,
    *,
    prompts: Path | None = None,
    layout: Layout = "auto",
    allow_outside: bool = False,
    allow_remote: bool = False,
    allow_hosts: Sequence[str] = (),
) -> Source:
    """List the clips of a source with their prompts. No media file is opened.

    Args:
        path: a folder of videos, a manifest (CSV, TSV, JSON lines, JSON, Parquet), or one video; or the address of
            one in object storage, or of a manifest, a video or tar shards on a web server.
        prompts: a prompt list for clips that bring no prompts: a table with a text column, or a .txt file.
        layout: how a folder is read. "auto" uses a `manifest.*` in the folder, then recognises JavisBench
            (`sample_0000.mp4` with a CSV) and VBench (`{prompt}-{i}.mp4`) by the file names; "folder" takes
            the videos as they are.
        allow_outside: accept paths and links that lead out of the source's folder.
        allow_remote: accept addresses in a manifest.
        allow_hosts: web servers on private ranges that may be contacted, as "host" or "host:port".

    Returns:
        The clips in a stable order; at least one.

    Raises:
        UsageError: nothing found, a malformed table, a forbidden path, or prompts that fit no clip.
        EnvironmentProblem: a package for a remote source is missing, or its store refuses.
    """
    if layout not in get_args(Layout):
        raise UsageError(f"unknown layout {layout!r}; expected one of {', '.join(get_args(Layout))}.")
    prompts = None if prompts is None else Path(prompts)
    if is_address(str(path)):
        from avbench.sources.remote import load_remote

        return load_remote(
            str(path), prompts=prompts, layout=layout, allow_remote=allow_remote, allow_hosts=allow_hosts
        )
    hosts = frozenset(allow_hosts) if allow_remote else None
    path, prompts = as_on_disk(Path(path)), None if prompts is None else as_on_disk(Path(prompts))
    kind = file_kind(path)
    if path.suffix.lower() == ".tar" and kind != "folder":
        raise UsageError(f"{printable(str(path))}: {TAR_SHARDS}")
    if kind == "folder":
        return _load_folder(path.resolve(), prompts, layout, allow_outside, hosts)
    if kind != "file":
        what = "does not exist or cannot be read" if kind == "missing" else "is a device, pipe or socket"
        raise UsageError(f"{printable(str(path))!r} {what}. Pass a folder of videos, a manifest or a video file.")
    if layout in ("javisbench", "vbench"):
        raise UsageError(f"{path} is a file, and layout {layout!r} needs a folder. Pass the folder.")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _load_file(path, prompts, allow_outside)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _load_manifest(path, prompts, allow_outside, hosts)
    if path.suffix.lower() in OTHER_VIDEO_SUFFIXES:
        raise UsageError(f"{path}: videos of kind {path.suffix} are not read. Convert it to .mp4.")
    raise UsageError(
        f"{path}: unknown kind of source {path.suffix!r}; expected a folder, a video "
        f"({', '.join(VIDEO_SUFFIXES[:6])}, ...) or a manifest ({', '.join(TABLE_SUFFIXES)})."
    )


def _load_file(path: Path, prompts: Path | None, allow_outside: bool) -> Source:
    root = path.parent.resolve()
    video = root / path.name
    clip = Clip(relative_id(video, root), video)
    clips, notes = add_audio_files([clip], root, allow_outside=allow_outside)
    return _with_prompts("file", root, clips, notes, prompts)


def _load_manifest(path: Path, prompts: Path | None, allow_outside: bool, hosts: frozenset[str] | None) -> Source:
    root = path.parent.resolve()
    clips, notes = manifest_clips(read_table(path), root, allow_outside=allow_outside, hosts=hosts)
    has_prompts = not all(clip.prompt.is_empty for clip in clips)
    if prompts is not None and has_prompts:
        raise UsageError(
            f"{path} has prompts of its own, and {prompts} was given too. Leave that list out (--prompts), or "
            "remove the text columns from the manifest."
        )
    if prompts is not None:
        return _with_prompts("manifest", root, clips, notes, prompts)
    rule = f"texts from {path.name}" if has_prompts else f"no texts in {path.name}"
    return Source(root, "manifest", tuple(clips), matching_sentence(rule, clips), tuple(notes))


def _load_folder(
    root: Path, prompts: Path | None, layout: Layout, allow_outside: bool, hosts: frozenset[str] | None
) -> Source:
    manifests = [root / name for name in _MANIFEST_NAMES if file_kind(root / name) == "file"]
    if layout == "auto" and prompts is None and len(manifests) == 1 and _is_manifest(manifests[0]):
        return _load_folder_manifest(manifests[0], allow_outside, hosts)
    clips, notes = folder_clips(root, allow_outside=allow_outside)
    if manifests and (layout != "auto" or prompts is not None or len(manifests) > 1):
        names = [manifest.name for manifest in manifests if manifest.resolve() != _resolved(prompts)]
        notes.extend([f"not used as the manifest: {some_of(names)}"] if names else [])
    if layout == "javisbench":
        prompt_list, pairing, disagreements = insist_on_javisbench(clips, _javisbench_prompts(root, prompts))
        return _as_source("javisbench", root, clips, [*notes, *disagreements], prompt_list, pairing)
    if layout == "vbench" and prompts is not None:
        raise UsageError(
            f"layout 'vbench' takes the prompts from the file names, and {prompts} was given too. Leave that "
            "list out (--prompts), or use layout 'folder'."
        )
    if layout == "vbench" or (layout == "auto" and prompts is None and looks_like_vbench(clips)):
        clips = vbench_clips(clips)
        rule = "file names are <prompt>-<sample number>"
        return Source(root, "vbench", tuple(clips), matching_sentence(rule, clips), tuple(notes))
    if layout == "auto" and looks_like_javisbench(clips):
        return _load_numbered(root, clips, notes, prompts)
    if layout == "auto" and prompts is None and (hint := vbench_hint(clips)):
        notes.append(hint)
    return _with_prompts("folder", root, clips, notes, prompts)


def _is_manifest(path: Path) -> bool:
    """A prompt list that happens to be called manifest.csv is one too unless clips are numbered."""
    table = read_table(path)
    if find_columns(table).video is not None:
        return True
    clips, _ = folder_clips(path.parent, allow_outside=True)
    return not looks_like_javisbench(clips)


def _load_folder_manifest(path: Path, allow_outside: bool, hosts: frozenset[str] | None) -> Source:
    source = _load_manifest(path, None, allow_outside, hosts)
    listed = {clip.video.resolve() for clip in source.clips}
    videos = list_folder(source.root, allow_outside=True).videos
    missed = [relative_id(video, source.root) for video in videos if video.resolve() not in listed]
    if not missed:
        return source
    note = f"{len(missed)} videos are not listed in {path.name} and are left out: {some_of(missed)}"
    return replace(source, notes=(*source.notes, note))


def _resolved(path: Path | None) -> Path | None:
    return None if path is None else Path(path).resolve()


def _javisbench_prompts(root: Path, prompts: Path | None) -> PromptList:
    table = prompts or only_csv(root)
    if table is None:
        raise UsageError(
            f"{root}: layout 'javisbench' needs the benchmark's CSV, and the folder does not hold exactly "
            "one. Give it as the prompt list (--prompts JavisBench.csv)."
        )
    return read_prompts(table)


def _load_numbered(root: Path, clips: list[Clip], notes: list[str], prompts: Path | None) -> Source:
    """Clips called sample_<n>: JavisBench if a table is there that does not name the clips itself."""
    if prompts is not None:
        prompt_list = read_prompts(prompts)
    elif (csv_file := only_csv(root)) is not None and find_columns(table := read_table(csv_file)).has_text:
        prompt_list = as_prompts(table)
    else:
        hint = (
            "files are named as JavisBench's, and no CSV with texts was found; give it as the prompt list (--prompts)"
        )
        return _with_prompts("folder", root, clips, [*notes, hint], None)
    if (pairing := pair_by_name(clips, prompt_list)) is not None:
        return _as_source("folder", root, clips, notes, prompt_list, pairing)
    return _as_source("javisbench", root, clips, notes, *pair_javisbench(clips, prompt_list))


def _with_prompts(kind: str, root: Path, clips: list[Clip], notes: list[str], prompts: Path | None) -> Source:
    if prompts is None:
        return Source(root, kind, tuple(clips), matching_sentence(_NO_PROMPTS, clips), tuple(notes))
    prompt_list = read_prompts(Path(prompts))
    return _as_source(kind, root, clips, notes, prompt_list, pair_prompts(clips, prompt_list))


def _as_source(
    kind: str, root: Path, clips: list[Clip], notes: list[str], prompts: PromptList, pairing: Pairing
) -> Source:
    paired, sentence, more = apply_pairing(clips, prompts, pairing)
    return Source(root, kind, tuple(paired), sentence, (*notes, *more))
