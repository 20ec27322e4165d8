"""Video files below a folder, each with the sound file of the same name. Nothing is opened."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from avbench.clips import Clip
from avbench.errors import UsageError
from avbench.sources.safety import file_kind, printable, require_inside, some_of
from avbench.sources.spelling import composed
from avbench.sources.suffixes import AUDIO_SUFFIXES, OTHER_VIDEO_SUFFIXES, VIDEO_SUFFIXES, is_program

_DIGITS = re.compile(r"([0-9]+)")


@dataclass
class Listing:
    """Media below a folder: paths of videos and sounds, and what was passed over."""

    videos: list[Path] = field(default_factory=list)
    sounds: list[Path] = field(default_factory=list)
    linked_folders: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    other_videos: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)


def natural_key(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key under which "clip 2" comes before "clip 10"."""
    parts = _DIGITS.split(text.casefold())
    return [(0, int(part), "") if i % 2 else (1, 0, part) for i, part in enumerate(parts)], text


def relative_id(path: Path, root: Path) -> str:
    """The path below `root` with forward slashes; the name alone where it lies elsewhere, as results may be shared."""
    return printable(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name)


def list_folder(root: Path, *, allow_outside: bool) -> Listing:
    """All media below `root`, in natural order, hidden names skipped, links to folders not entered.

    Raises:
        UsageError: the folder cannot be read, or a link leads out of it without `allow_outside`.
    """
    listing = Listing()
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError as exc:
            if folder == root:
                raise UsageError(f"{root} cannot be listed ({exc.strerror}). Check permissions.") from exc
            listing.closed.append(relative_id(folder, root))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if file_kind(entry) == "folder":
                if entry.is_symlink():
                    listing.linked_folders.append(relative_id(entry, root))
                else:
                    pending.append(entry)
            else:
                _add_file(listing, entry, root, allow_outside=allow_outside)
    listing.videos.sort(key=lambda path: natural_key(path.relative_to(root).as_posix()))
    listing.sounds.sort(key=lambda path: natural_key(path.relative_to(root).as_posix()))
    return listing


def _add_file(listing: Listing, entry: Path, root: Path, *, allow_outside: bool) -> None:
    suffix = entry.suffix.lower()
    if suffix in OTHER_VIDEO_SUFFIXES:
        listing.other_videos.append(relative_id(entry, root))
    if suffix not in VIDEO_SUFFIXES + AUDIO_SUFFIXES:
        return
    if entry.is_symlink():
        require_inside(entry, root, relative_id(entry, root), allow_outside=allow_outside)
    if file_kind(entry) == "special":
        listing.special.append(relative_id(entry, root))
    elif suffix in AUDIO_SUFFIXES:
        listing.sounds.append(entry)
    elif is_program(entry):
        listing.programs.append(relative_id(entry, root))
    else:
        listing.videos.append(entry)


TAR_SHARDS = (
    "tar shards are read from object storage and web servers. Of this machine, extract them into a folder "
    "(tar -xf SHARD -C FOLDER) and pass that."
)


def folder_clips(root: Path, *, allow_outside: bool) -> tuple[list[Clip], list[str]]:
    """Clips and notes for a folder of videos, in natural order; at least one clip.

    Raises:
        UsageError: no videos, unreadable folder, or a link that leads out of it.
    """
    listing = list_folder(root, allow_outside=allow_outside)
    if not listing.videos and any(root.glob("*.tar")):
        raise UsageError(f"{root}: {TAR_SHARDS}")
    if not listing.videos:
        raise UsageError(
            f"no video files below {root}; expected {', '.join(VIDEO_SUFFIXES[:6])} or other usual ones, found "
            f"{len(listing.sounds)} sound files, {len(listing.other_videos)} videos of other kinds "
            f"({_by_suffix(listing.other_videos) or 'none'}) and {len(listing.linked_folders)} links to folders (not "
            "entered). Pass the folder that holds the clips, or a manifest, or convert the videos to .mp4."
        )
    sounds = _AudioFiles(listing.sounds, listing.videos)
    clips, several = [], []
    for video in listing.videos:
        choices = sounds.beside(video)
        clip = Clip(relative_id(video, root), video, choices[0] if choices else None)
        clips.append(clip)
        if len(choices) > 1:
            several.append(f"{clip.clip_id} uses {printable(choices[0].name)}")
    stems = {(video.parent, composed(video.stem)) for video in listing.videos}
    alone = [relative_id(path, root) for path in listing.sounds if (path.parent, composed(path.stem)) not in stems]
    return clips, _listing_notes(listing, several, alone)


def add_audio_files(clips: Sequence[Clip], root: Path, *, allow_outside: bool) -> tuple[list[Clip], list[str]]:
    """The clips, each with the sound file beside its video if there is one, and notes.

    Raises:
        UsageError: a sound file is a link that leads out of `root` without `allow_outside`.
    """
    folders = {clip.video.parent for clip in clips}
    beside = [sound for folder in folders for sound in _audio_files_in(folder)]
    sounds = _AudioFiles(beside, [clip.video for clip in clips])
    result, names, several = [], [], []
    for clip in clips:
        choices = sounds.beside(clip.video)
        if choices:
            require_inside(choices[0], root, f"sound of {clip.clip_id}", allow_outside=allow_outside)
            clip = replace(clip, audio=choices[0])
            names.append(printable(choices[0].name))
        if len(choices) > 1:
            several.append(f"{clip.clip_id} uses {printable(choices[0].name)}")
        result.append(clip)
    notes = [_several_note(several)] if several else []
    if names:
        notes.append(f"{len(names)} clips take their sound from a file beside the video: {some_of(names)}")
    return result, notes


def _audio_files_in(folder: Path) -> list[Path]:
    try:
        entries = list(folder.iterdir())
    except (OSError, ValueError):
        return []
    return [entry for entry in entries if entry.suffix.lower() in AUDIO_SUFFIXES and file_kind(entry) == "file"]


class _AudioFiles:
    """Sound files by the video of the same name beside them."""

    def __init__(self, sounds: Iterable[Path], videos: Iterable[Path]) -> None:
        exact = {(video.parent, video.stem) for video in videos}
        self._exact: dict[tuple[Path, str], list[Path]] = {}
        self._composed: dict[tuple[Path, str], list[Path]] = {}
        for sound in sorted(sounds, key=_preference):
            key = (sound.parent, sound.stem)
            self._exact.setdefault(key, []).append(sound)
            # Names in another Unicode form belong together too, unless one fits as it is.
            if key not in exact:
                self._composed.setdefault((sound.parent, composed(sound.stem)), []).append(sound)

    def beside(self, video: Path) -> list[Path]:
        """The sounds of a video, the preferred one first.

        Raises:
            UsageError: several of one kind whose names differ in their Unicode form only.
        """
        if sounds := self._exact.get((video.parent, video.stem)):
            return sounds
        sounds = self._composed.get((video.parent, composed(video.stem)), [])
        if len({sound.stem for sound in sounds}) > 1:
            raise UsageError(
                f"{printable(str(video))}: several sound files have its name in other Unicode forms: "
                f"{some_of([ascii(sound.name) for sound in sounds])}. Rename all but one."
            )
        return sounds


def _preference(path: Path) -> tuple[int, str]:
    return AUDIO_SUFFIXES.index(path.suffix.lower()), path.name


def _by_suffix(names: Sequence[str]) -> str:
    """Counts and names by suffix: "2 .gif (a.gif, b.gif), 1 .y4m (c.y4m)"."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(PurePosixPath(name).suffix.lower(), []).append(name)
    return ", ".join(f"{len(members)} {suffix} ({some_of(members)})" for suffix, members in kinds.items())


def _several_note(several: list[str]) -> str:
    return f"{len(several)} clips have several sound files of the same name: {some_of(several)}"


def _listing_notes(listing: Listing, several: list[str], alone: list[str]) -> list[str]:
    notes = [_several_note(several)] if several else []
    if alone:
        notes.append(f"{len(alone)} sound files have no video of the same name: {some_of(alone)}")
    if listing.other_videos:
        by_suffix = _by_suffix(listing.other_videos)
        notes.append(f"{len(listing.other_videos)} videos of other kinds were not taken: {by_suffix}")
    if listing.programs:
        notes.append(
            f"{len(listing.programs)} files hold text, not MPEG-TS, and were not taken: {some_of(listing.programs)}"
        )
    if listing.linked_folders:
        count = len(listing.linked_folders)
        notes.append(f"{count} links to folders were not entered: {some_of(listing.linked_folders)}")
    if listing.special:
        notes.append(f"{len(listing.special)} devices or pipes were skipped: {some_of(listing.special)}")
    if listing.closed:
        notes.append(f"{len(listing.closed)} folders could not be listed: {some_of(listing.closed)}")
    return notes
