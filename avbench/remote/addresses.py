"""Addresses of remote files: which are read, and how they are shown without what they keep secret."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

WEB = ("https", "http")
STORES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "hf": "huggingface-hub"}
"""Schemes of object storage, with the package that reads each."""
MEMORY = "memory"
"""Scheme of fsspec's file system in the memory of one process."""

SCHEMES = (*STORES, *WEB, MEMORY)

_ADDRESS = re.compile(rf"(?:{'|'.join(SCHEMES)})://", re.IGNORECASE)
_PATH_OF_ADDRESS = re.compile(rf"(?:{'|'.join(SCHEMES)}):/", re.IGNORECASE)
_IN_TEXT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/?#'\"@]*@)?([^\s?#'\"<>]*)(?:[?#][^\s'\"<>]*)?")

_STORE_SECRETS = re.compile(r"^([^:/]+://)[^/@]*:[^/@]*@|\?[\w.-]+=.*$", re.DOTALL)


def is_address(text: str) -> bool:
    """Whether a source or cell names a remote file or folder by an address that is read."""
    return _ADDRESS.match(text.strip()) is not None


def was_address(path: Path) -> bool:
    """Whether a path was made of an address: "s3:/bucket/x", with one slash."""
    return _PATH_OF_ADDRESS.match(str(path)) is not None


def scheme_of(url: str) -> str:
    """The scheme in lower case."""
    return url.partition("://")[0].strip().lower()


def without_secrets(text: str) -> str:
    """The text with each address in it cut before its query, and without user and password.

    Signed links carry their signature there.
    """
    return _IN_TEXT.sub(r"\1\2", text)


def shown(url: str) -> str:
    """The address as it may be printed and stored: without user and password, and without its query.

    In names of objects a question mark may stand for itself, and `container@account` names no user.
    """
    if scheme_of(url) in WEB:
        parts = urlsplit(url.strip())
        return f"{scheme_of(url)}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return _STORE_SECRETS.sub(r"\1", url.strip())


def as_path(url: str) -> Path:
    """A path that stands for the address in tables: the scheme as its first folder. Nothing is there."""
    scheme, _, rest = shown(url).partition("://")
    return Path(f"{scheme}:", *[part for part in rest.split("/") if part not in ("", ".", "..")])
