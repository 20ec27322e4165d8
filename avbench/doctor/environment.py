"""Versions and machine: what a run records and what `avbench doctor` shows."""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from avbench.files import below_or_name
from avbench.remote.addresses import without_secrets

CORE_PACKAGES = (
    "avbench", "av", "numpy", "scipy", "pandas", "pyarrow", "opencv-python-headless", "soxr", "pyloudnorm",
)  # fmt: skip
OPTIONAL_PACKAGES = (
    "onnxruntime", "silero-vad", "speechmos", "ctranslate2", "tokenizers", "jiwer", "whisper-normalizer", "distillmos",
    "webrtcvad-wheels", "torch", "torchvision", "transformers", "open-clip-torch", "pillow", "diffusers",
)  # fmt: skip


def package_version(name: str) -> str | None:
    """Installed version of a distribution, None when absent."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def describe_environment() -> dict[str, str]:
    """Versions that can move a number, and the platform."""
    import av

    versions = {name: package_version(name) for name in CORE_PACKAGES + OPTIONAL_PACKAGES}
    libraries = {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()}
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{name: number for name, number in versions.items() if number},
        **{name: number for name, number in libraries.items() if name in ("libavcodec", "libswscale")},
    }


_PATH = re.compile(r"[/~\\]|[A-Za-z]:[/\\]|\.\.([/\\]|$)")


def describe_command(arguments: Sequence[str]) -> str:
    """The command line without paths of the machine and without the signatures of links.

    A path outside of the current folder is its name alone.

    Args:
        arguments: of the command, without the program.
    """
    return shlex.join(["avbench", *(_without_folders(without_secrets(each)) for each in arguments)])


def _without_folders(argument: str) -> str:
    option, sign, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    if not _PATH.match(value):
        return argument
    name = below_or_name(Path(value).expanduser(), Path.cwd())
    return f"{option}{sign}{name}"
