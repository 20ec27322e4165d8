"""The checks behind `avbench doctor`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avbench.doctor.environment import describe_environment, package_version
from avbench.encoders import WeightsConfig
from avbench.files import home_folder
from avbench.metrics.base import broken_packages, registry


@dataclass(frozen=True)
class Finding:
    """One observation about this machine; `cure` is empty when nothing is wrong."""

    level: Literal["ok", "note", "broken"]
    what: str
    found: str
    cure: str = ""


def diagnose() -> list[Finding]:
    """All findings, in reading order. Never raises for what it finds."""
    return [*_versions(), *_torch(), *_gpu(), _cache(), *_metrics()]


def _versions() -> Iterator[Finding]:
    versions = describe_environment()
    yield Finding("ok", "Python", f"{versions['python']} on {versions['platform']}")
    yield Finding("ok", "FFmpeg inside PyAV", f"libavcodec {versions.get('libavcodec', '?')}, PyAV {versions['av']}")
    core = {k: v for k, v in versions.items() if k not in ("python", "platform", "libavcodec", "libswscale", "av")}
    yield Finding("ok", "packages", ", ".join(f"{name} {number}" for name, number in core.items()))


def _torch() -> Iterator[Finding]:
    """Import the pair in a process of its own: a mismatch can abort the interpreter."""
    if package_version("torch") is None:
        yield Finding("note", "torch", "not installed; metrics with networks need it", "pip install 'avbench[models]'")
        return
    pair = ["torch", "torchvision"] if package_version("torchvision") is not None else ["torch"]
    problem = _import_problem(pair)  # at once: each process imports torch for seconds
    if problem and len(pair) > 1:
        alone = _import_problem(pair[:1])
        pair, problem = (pair[:1], alone) if alone else (pair, problem)
    for names in (pair[:length] for length in range(1, len(pair) + 1)):
        label = " with ".join(f"{name} {package_version(name)}" for name in names)
        if problem and names == pair:
            cure = "install a matching pair, for example: pip install -c constraints.txt torch torchvision"
            yield Finding("broken", " and ".join(names), f"{label}: {problem}", cure)
            return
        yield Finding("ok", " and ".join(names), label)
    if package_version("torchaudio") is not None:
        yield Finding(
            "note", "torchaudio", f"{package_version('torchaudio')}: avbench does not use it, and a version that does "
            "not match torch breaks transformers", "pip uninstall torchaudio",
        )  # fmt: skip


def _import_problem(names: list[str]) -> str:
    """The last line that a process writes which imports these packages and fails; empty where it does not."""
    code = f"import {', '.join(names)}"
    try:
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)  # noqa: S603
    except subprocess.TimeoutExpired:
        return "the import took more than 120 s"
    if not child.returncode:
        return ""
    return next(reversed(child.stderr.strip().splitlines()), f"exit code {child.returncode}")


def _gpu() -> Iterator[Finding]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield Finding("ok", "GPU", "none found; everything runs on the CPU")
        return
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        child = subprocess.run(query, capture_output=True, text=True, timeout=30)  # noqa: S603
    except subprocess.TimeoutExpired:
        yield Finding("note", "GPU", "nvidia-smi does not answer", "check the driver")
        return
    if child.returncode or not child.stdout.strip():
        yield Finding("note", "GPU", "nvidia-smi finds no device", "check the driver; the CPU is used meanwhile")
    else:
        yield Finding("ok", "GPU", "; ".join(child.stdout.strip().splitlines()))


def _cache() -> Finding:
    folder = Path(os.environ.get("HF_HOME") or home_folder() / ".cache" / "huggingface")
    existing = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(existing).free / 2**30
    state = f"{folder}, {free:.0f} GiB free"
    if not os.access(existing, os.W_OK):
        return Finding("note", "cache folder", f"{state}, not writable", "set HF_HOME to a folder that you can write")
    return Finding("ok", "cache folder", state)


def _metrics() -> Iterator[Finding]:
    scorers = registry()
    missing = {name: reason for name, entry in scorers.items() if (reason := entry.unavailable(WeightsConfig()))}
    yield Finding("ok", "metrics", f"{len(scorers) - len(missing)} of {len(scorers)} can run here")
    for reason in dict.fromkeys(missing.values()):
        names = ", ".join(name for name, why in missing.items() if why == reason)
        problem, _, cure = reason.partition("; ")
        yield Finding("note", names, problem, cure)
    for package, reason in broken_packages().items():
        yield Finding(
            "note", f"metrics of {package}", f"cannot be loaded: {reason}", f"reinstall {package}, or remove it"
        )
