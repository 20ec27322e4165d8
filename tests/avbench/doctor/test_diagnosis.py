"""What `avbench doctor` finds about torch, of packages that are stand-ins."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from avbench.doctor import diagnosis

ALONE, PAIR = "import torch", "import torch, torchvision"


@pytest.mark.parametrize(
    ("failing", "found"),
    [
        ((), [("ok", "torch"), ("ok", "torch and torchvision")]),
        ((PAIR,), [("ok", "torch"), ("broken", "torch and torchvision")]),
        ((ALONE, PAIR), [("broken", "torch")]),
    ],
    ids=["whole", "pair", "torch"],
)
@pytest.mark.parametrize(("stderr", "reason"), [("Traceback\nundefined symbol\n", "undefined symbol"), ("", "code -6")])
def test_the_package_that_cannot_be_imported_is_named(
    monkeypatch: pytest.MonkeyPatch, failing: tuple[str, ...], found: list[tuple[str, str]], stderr: str, reason: str
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, -6 if command[-1] in failing else 0, "", stderr)

    versions = {"torch": "2.9", "torchvision": "0.24"}
    monkeypatch.setattr(diagnosis, "package_version", versions.get)
    monkeypatch.setattr(diagnosis.subprocess, "run", run)
    monkeypatch.setattr(diagnosis.shutil, "which", lambda _: None)
    findings = [finding for finding in diagnosis.diagnose() if finding.what.startswith("torch")]
    assert [(finding.level, finding.what) for finding in findings] == found
    assert all(reason in finding.found for finding in findings if finding.level == "broken")
