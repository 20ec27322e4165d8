"""Reference sets: what is read, what is refused, and that features of two modes never meet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avbench.encoders.references import ReferenceSet, check_mode, load_reference, save_reference
from avbench.errors import UsageError


def _arrays(rows: int = 3) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(rows)
    return {
        "video": noise.normal(size=(rows, 400)).astype(np.float32),
        "audio": noise.normal(size=(rows, 1024)).astype(np.float32),
    }


def test_saved_is_loaded(tmp_path):
    reference = ReferenceSet(**_arrays(), mode="fixed", source="real clips", ids=("a", "b", "c"))
    save_reference(tmp_path / "new" / "set.npz", reference)
    loaded = load_reference(tmp_path / "new" / "set.npz")
    np.testing.assert_array_equal(loaded.video, reference.video)
    np.testing.assert_array_equal(loaded.audio, reference.audio)
    assert (loaded.mode, loaded.source, loaded.ids) == ("fixed", "real clips", ("a", "b", "c"))
    assert loaded.digest == reference.digest
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["set.npz"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "set.npz"
    save_reference(path, ReferenceSet(**_arrays(), mode="fixed"))
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        save_reference(path, ReferenceSet(**_arrays(4), mode="fixed"))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.npz"]


def test_plain_arrays_suffice_and_have_no_mode(tmp_path):
    np.savez(tmp_path / "set.npz", **_arrays())
    loaded = load_reference(tmp_path / "set.npz")
    assert (loaded.mode, loaded.source, loaded.ids) == (None, "set.npz", ())


def test_digest_follows_everything_that_changes_a_distance():
    reference = ReferenceSet(**_arrays(), mode="fixed")
    video = reference.video.copy()
    video[0, 0] += 1
    others = [
        replace(reference, video=video),
        replace(reference, mode="compat"),
        replace(reference, ids=("a", "b", "c")),
        ReferenceSet(**_arrays(4), mode="fixed"),
    ]
    assert len({reference.digest, *(other.digest for other in others)}) == 5
    assert replace(reference, source="elsewhere").digest == reference.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video": np.zeros((3, 512))}, r"'video' has shape \(3, 512\), expected \(N, 400\)"),
        ({"audio": np.zeros(1024)}, r"'audio' has shape \(1024,\), expected \(N, 1024\)"),
        ({"audio": np.zeros((0, 1024))}, "N of 1 or more"),
        ({"video": np.full((3, 400), np.nan)}, "NaN or infinity in 3 of 3 rows"),
        ({"audio": np.full((3, 1024), "x")}, "not numbers"),
        ({"mode": np.array("other")}, "'mode' is 'other', expected one of fixed, compat"),
        ({"ids": np.array(["a"])}, "'ids' names 1 rows, 'video' has 3"),
        ({"video": np.full((3, 400), {}, dtype=object)}, "not a .npz file of plain arrays"),
    ],
)
def test_bad_content_is_refused_by_name(tmp_path, change, message):
    np.savez(tmp_path / "set.npz", **(_arrays() | change))
    with pytest.raises(UsageError, match=message) as caught:
        load_reference(tmp_path / "set.npz")
    assert str(tmp_path / "set.npz") in str(caught.value)


def test_a_missing_array_is_named_with_what_is_there(tmp_path):
    np.savez(tmp_path / "set.npz", video=_arrays()["video"], sound=np.zeros(3))
    with pytest.raises(UsageError, match="array audio missing; the file holds sound, video"):
        load_reference(tmp_path / "set.npz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npz", None, "no such file"),
        ("set.csv", b"1,2", r"a \.npz or a \.pt file"),
        ("set.npz", b"PK\x03\x04 damaged", r"not a \.npz file"),
        ("set.npz", b"", r"not a \.npz file"),
    ],
)
def test_bad_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_reference(path)


def test_released_features_are_compat(tmp_path):
    torch = pytest.importorskip("torch")
    arrays = _arrays()
    torch.save({name: torch.from_numpy(rows) for name, rows in arrays.items()}, tmp_path / "cache.pt")
    loaded = load_reference(tmp_path / "cache.pt")
    assert loaded.mode == "compat"
    np.testing.assert_array_equal(loaded.audio, arrays["audio"])
    assert loaded.digest == ReferenceSet(**arrays, mode="compat").digest


class _Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_a_tensor_file_that_runs_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"video": _Hostile(tmp_path / "ran")}, tmp_path / "cache.pt")
    with pytest.raises(UsageError, match="not a file of plain tensors"):
        load_reference(tmp_path / "cache.pt")
    assert not (tmp_path / "ran").exists()


def test_modes_never_meet():
    fixed = ReferenceSet(**_arrays(), mode="fixed", source="mine.npz")
    compat = replace(fixed, mode="compat")
    unknown = replace(fixed, mode=None)
    check_mode(fixed, "fixed")
    check_mode(compat, "compat")
    with pytest.raises(UsageError, match=r"mine\.npz holds features of mode 'compat', the metric is of mode 'fixed'"):
        check_mode(compat, "fixed")
    with pytest.raises(UsageError, match="mode 'fixed', the metric is of mode 'compat'"):
        check_mode(fixed, "compat")
    for mode in ("fixed", "compat"):
        with pytest.raises(UsageError, match="does not say how its features were made"):
            check_mode(unknown, mode)
