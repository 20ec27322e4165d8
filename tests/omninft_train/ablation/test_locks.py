"""A drive that cannot lock files, as some network drives cannot, is named."""

from __future__ import annotations

import errno
import os

import pytest

from avbench.errors import EnvironmentProblem
from omninft_train.ablation.state import locked
from omninft_train.ablation.steps import Step

fcntl = pytest.importorskip("fcntl")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_an_ablation_on_a_drive_without_locks(code, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    step = Step.__new__(Step)
    object.__setattr__(step, "id", "train vanilla 0")
    with pytest.raises(EnvironmentProblem, match="cannot lock files"), locked(tmp_path, step):
        pytest.fail("not locked")
