"""Published prompt lists for training: downloaded at a pinned commit, checked, and read once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from avbench.files import expand_home
from avbench.weights.download import download
from avbench.weights.schema import CheckpointFile
from omninft_train.errors import EnvironmentProblem, UsageError, near
from omninft_train.files import make_folder, rename
from omninft_train.prompts import load_prompts


@dataclass(frozen=True)
class PublishedList:
    """A prompt list of others.

    Attributes:
        file: its name here.
        url: address at a fixed commit.
        blob: the content's id in git: SHA-1 of "blob", its length in bytes, and itself.
        sha256: what is known of the content's SHA-256: how it begins and how it ends.
        count: number of prompts.
        class_key: key of a line that names its class.
        terms: what its publishers say about its use.
    """

    file: str
    url: str
    blob: str
    sha256: tuple[str, str]
    count: int
    class_key: str
    terms: str


# Known in full is the id under which git stores the file, the same from the first commit that has the list to the one
# named here. Of its SHA-256, as read at the later commit fb9237f6, only the ends are known.
PUBLISHED = {
    "vggsound-20k": PublishedList(
        "vggsound-20k.jsonl",
        "https://raw.githubusercontent.com/zghhui/OmniNFT/c03c3f29201543a903beb65ff32ff1a73ddfda90"
        "/dataset/vggsound/train_metadata_20k.jsonl",
        "592d51253a88a3116173a6ad5ec89dac71d22961",
        ("e2b3629e", "3db66"),
        19_487,
        "category",
        "research use only",
    )
}


@dataclass(frozen=True)
class PulledList:
    """A list that is here now.

    Attributes:
        path: its file.
        count: prompts in it.
        sha256: of the file.
        fresh: whether this call downloaded it.
    """

    entry: PublishedList
    path: Path
    count: int
    sha256: str
    fresh: bool


def lists_folder(given: Path | None = None) -> Path:
    """Folder of prompt lists: `given`, else $AVBENCH_PROMPTS, else one in the user's cache."""
    named = os.environ.get("AVBENCH_PROMPTS")
    if given or named:
        return given or expand_home(str(named))
    return expand_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "omninft-train" / "lists"


def pull_list(name: str, folder: Path) -> PulledList:
    """Download a published list unless it is here; what is here is checked all the same.

    Raises:
        UsageError: unknown name.
        EnvironmentProblem: no network, another content than the published one, or the folder cannot be written.
    """
    if name not in PUBLISHED:
        raise UsageError(f"unknown prompt list '{name}'. {near(name, PUBLISHED)}")
    entry = PUBLISHED[name]
    path = folder / entry.file
    fresh = not path.is_file()
    if fresh:
        make_folder(folder, "--prompts-dir")
        unchecked = path.with_name(f".{entry.file}.unchecked")
        _check(download(CheckpointFile(entry.file, url=entry.url), unchecked, lambda *_: None), entry)
        rename(unchecked, path)
    content = _check(path, entry)
    return PulledList(entry, path, len(load_prompts(path)), _sha256(content), fresh)


def _check(path: Path, entry: PublishedList) -> bytes:
    """The content of a file; one that is not the published list is deleted."""
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    sha256, (front, back) = _sha256(content), entry.sha256
    if blob != entry.blob or not (sha256.startswith(front) and sha256.endswith(back)):
        path.unlink()
        raise EnvironmentProblem(
            f"{path} is not the published list: git id {blob} and SHA-256 {sha256}, expected {entry.blob} and "
            f"{front}...{back}. It was deleted; try again. If that repeats, {entry.url} has another content: get the "
            "list from its publishers and name the file (prompts.path)."
        )
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
