"""Drives that cannot lock files, as some network drives cannot, are named with the cure."""

from __future__ import annotations

import errno
import os

import pytest
from synthetic import draw_sound, write_clip

from avbench import Clip, score_clips
from avbench.errors import EnvironmentProblem

fcntl = pytest.importorskip("fcntl")

ERRORS = [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP]


@pytest.fixture(params=ERRORS, ids=[errno.errorcode[code] for code in ERRORS])
def no_locks(request, monkeypatch):
    """No file of this machine can be locked."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    return os.strerror(request.param)


def test_a_run_on_a_drive_without_locks(no_locks, tmp_path):
    clip = write_clip(tmp_path / "a.wav", None, draw_sound(0, seconds=0.5), audio_codec="pcm_s16le")
    with pytest.raises(EnvironmentProblem) as caught:
        score_clips([Clip("a", clip)], tmp_path / "run", metrics=["loudness"])
    assert "cannot lock files" in str(caught.value) and no_locks in str(caught.value)
    assert "local disk with --out" in str(caught.value)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_pull_to_a_drive_without_locks(no_locks, tmp_path):
    from avbench.files import locked

    with (
        pytest.raises(EnvironmentProblem, match="local disk with --weights-dir"),
        locked(tmp_path / "l", "--weights-dir"),
    ):
        pytest.fail("not locked")


def test_a_lock_is_free_again_after_its_holder(tmp_path):
    from filelock import Timeout

    from avbench.files import locked

    with locked(tmp_path / "l", "--out"), pytest.raises(Timeout), locked(tmp_path / "l", "--out"):
        pytest.fail("locked twice")
    with locked(tmp_path / "l", "--out"):
        pass
