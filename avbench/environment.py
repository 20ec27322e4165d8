"""Versions and machine: what a run records and what `avbench doctor` shows."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

CORE_PACKAGES = (
    "avbench", "av", "numpy", "scipy", "pandas", "pyarrow", "opencv-python-headless", "soxr", "pyloudnorm",
)  # fmt: skip
OPTIONAL_PACKAGES = (
    "onnxruntime", "silero-vad", "speechmos", "torch", "torchvision", "transformers", "diffusers",
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

    found = {name: package_version(name) for name in CORE_PACKAGES + OPTIONAL_PACKAGES}
    libraries = {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()}
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{name: number for name, number in found.items() if number},
        **{name: number for name, number in libraries.items() if name in ("libavcodec", "libswscale")},
    }
