"""Remote clips: fetched for the time that they are decoded; their digests are remembered between runs.

A plan knows the digest of a remote clip only where an earlier run into the same folder has read this state of its
files. Otherwise the clip is scored first and its digest learnt on the way, so that each byte is fetched once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from avbench.clips import Clip, RemoteFile, clip_digest
from avbench.errors import EnvironmentProblem, MediaError
from avbench.files import temporary_folder
from avbench.media import Limits
from avbench.remote.fetch import TooLargeError, current_identity, fetch
from avbench.results.lines import cut_torn_line
from avbench.run.content import ChangedError, Content, look, open_file, unreadable
from avbench.threads import map_in_threads

NAME = "digests.jsonl"
"""File of a run folder with the digests of remote files."""
_THREADS = 16
_LONGEST_NAME = 200
_SUFFIX = 16


@dataclass(frozen=True)
class FileDigest:
    """Digest of one remote file in one state. `file` stands for its address, which may hold a signature."""

    file: str
    identity: str
    sha256: str


class RemoteDigests:
    """Digests of remote files that runs into a folder have learnt."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._known: dict[tuple[str, str], bytes] = {}
        self._files: set[str] = set()
        for line in read_digests(folder):
            self._known[line.file, line.identity] = bytes.fromhex(line.sha256)
            self._files.add(line.file)

    def contents(self, clips: Sequence[Clip]) -> Iterator[Content]:
        """The contents of remote clips, in order, as far as they are known before they are fetched.

        A sound file may be local. Of files that no listing has told of, servers are asked for the state, side by side.
        """
        return map_in_threads(self._content, clips, _THREADS)

    def _content(self, clip: Clip) -> Content:
        digests = []
        for path, remote in _files(clip):
            digest = self._digest(remote) if remote is not None else _local_digest(path)
            if digest is None:
                return Content(unreadable(clip), known=False)
            digests.append(digest)
        return Content(clip_digest(digests))

    def _digest(self, file: RemoteFile) -> bytes | None:
        key = _key(file)
        return self._known.get((key, current_identity(file))) if key in self._files else None

    def add(self, digests: Iterable[FileDigest]) -> None:
        """Remember these, on disk as well.

        Raises:
            EnvironmentProblem: the folder cannot be written.
        """
        new = [each for each in digests if each.identity and (each.file, each.identity) not in self._known]
        if not new:
            return
        try:
            cut_torn_line(self._path)
            with self._path.open("ab") as file:
                file.write(b"".join(json.dumps(asdict(each)).encode() + b"\n" for each in new))
        except OSError as error:
            raise EnvironmentProblem(f"cannot append to {self._path}: {error.strerror or error}") from error
        self._known |= {(each.file, each.identity): bytes.fromhex(each.sha256) for each in new}


@contextmanager
def local_copy(clip: Clip, content: Content, limits: Limits, spool: Path) -> Iterator[LocalCopy]:
    """The clip with files of this machine, in place of remote ones copies that last as long as the context.

    Args:
        clip: the clip.
        content: what is known of its content.
        limits: what it may cost.
        spool: folder for the copies.

    Raises:
        MediaError: a file cannot be fetched, is too large, or holds something else than `content` says.
        EnvironmentProblem: a package is missing, or the disk is full.
    """
    if not clip.is_remote:
        yield LocalCopy(clip, content)
        return
    with temporary_folder(spool, prefix="fetched-") as folder:
        digests, learnt, paths = [], list[FileDigest](), list[Path]()
        for number, (path, remote) in enumerate(_files(clip)):
            digest, local = _local_digest(path), path
            if remote is not None:
                local = _copy_path(folder / str(number), path)
                digest, learned = _fetch(remote, local, limits, "sound" if number else "video")
                learnt.append(learned)
            digests.append(digest)
            paths.append(local)
        sha256 = unreadable(clip) if None in digests else clip_digest(filter(None, digests))
        if content.known and sha256 != content.sha256:
            raise ChangedError("the remote files changed after their digest was taken; run the same command again")
        copy = replace(clip, video=paths[0], audio=paths[1] if clip.audio else None)
        yield LocalCopy(copy, Content(sha256, look(copy)), tuple(learnt))


@dataclass(frozen=True)
class LocalCopy:
    """A clip with files of this machine, its content, and what was learnt about remote files."""

    clip: Clip
    content: Content
    learnt: tuple[FileDigest, ...] = ()


def _fetch(remote: RemoteFile, target: Path, limits: Limits, what: str) -> tuple[bytes, FileDigest]:
    try:
        fetched = fetch(remote, target, limits.fetched_bytes)
    except TooLargeError as error:
        limits.check("fetched_bytes", error.size, str(error))
        raise
    except MediaError as error:
        raise MediaError(f"the {what} file {error}") from error
    return fetched.sha256, FileDigest(_key(remote), fetched.identity, fetched.sha256.hex())


def _files(clip: Clip) -> list[tuple[Path, RemoteFile | None]]:
    sound = [] if clip.audio is None else [(clip.audio, clip.remote_audio)]
    return [(clip.video, clip.remote_video), *sound]


def _copy_path(folder: Path, path: Path) -> Path:
    """Where the copy goes: under the file's own name, which reasons may mention, unless that is too long."""
    folder.mkdir()
    return folder / (path.name if len(os.fsencode(path.name)) <= _LONGEST_NAME else f"clip{path.suffix[:_SUFFIX]}")


def _local_digest(path: Path) -> bytes | None:
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def _key(file: RemoteFile) -> str:
    return hashlib.sha256(f"{file.url} {file.start} {file.size}".encode()).hexdigest()[:32]


def read_digests(folder: Path) -> Iterator[FileDigest]:
    """What runs into a folder have learnt of remote files."""
    try:
        lines = (folder / NAME).read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            digest = FileDigest(**json.loads(line))
            bytes.fromhex(digest.sha256)
        except (TypeError, ValueError):  # torn by a kill, or of another version: the file is fetched again
            continue
        yield digest
