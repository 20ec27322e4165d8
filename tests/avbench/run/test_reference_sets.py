"""Reference sets: what is read, what is refused, and that features of two modes never meet."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avbench.encoders import Backbone, Encoder
from avbench.encoders.networks.audioclip.encoders import AUDIOCLIP_COMPAT, AUDIOCLIP_FIXED
from avbench.encoders.networks.i3d.encoders import I3D_COMPAT, I3D_FIXED
from avbench.errors import EnvironmentProblem, UsageError
from avbench.run import reference_files
from avbench.run.reference_sets import ReferenceSet, load_reference, save_reference


def _arrays(rows: int = 3) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(rows)
    return {
        "video": noise.normal(size=(rows, 400)).astype(np.float32),
        "audio": noise.normal(size=(rows, 1024)).astype(np.float32),
    }


def test_saved_is_loaded(tmp_path):
    arrays = _arrays()
    reference = ReferenceSet.of_pair(**arrays, mode="fixed", source="real clips", ids=("a", "b", "c"))
    save_reference(tmp_path / "new" / "set.npz", reference)
    loaded = load_reference(tmp_path / "new" / "set.npz")
    np.testing.assert_array_equal(loaded.rows(I3D_FIXED), arrays["video"])
    np.testing.assert_array_equal(loaded.rows(AUDIOCLIP_FIXED), arrays["audio"])
    assert (loaded.mode, loaded.source, loaded.ids) == ("fixed", "real clips", ("a", "b", "c"))
    assert loaded.digest(I3D_FIXED) == reference.digest(I3D_FIXED)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["set.npz"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "set.npz"
    save_reference(path, ReferenceSet.of_pair(**_arrays(), mode="fixed"))
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(EnvironmentProblem, match=r"cannot write .*set\.npz: disk full"):
        save_reference(path, ReferenceSet.of_pair(**_arrays(4), mode="fixed"))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.npz"]


def test_plain_arrays_suffice_and_have_no_mode(tmp_path):
    np.savez(tmp_path / "set.npz", **_arrays())
    loaded = load_reference(tmp_path / "set.npz")
    assert (loaded.mode, loaded.source, loaded.ids) == (None, "set.npz", ())


def test_digest_follows_everything_that_changes_a_distance():
    arrays = _arrays()
    video = arrays["video"].copy()
    video[0, 0] += 1
    sets = [
        ReferenceSet.of_pair(**arrays, mode="fixed"),
        ReferenceSet.of_pair(**arrays | {"video": video}, mode="fixed"),
        ReferenceSet.of_pair(**arrays, mode="compat"),
        ReferenceSet.of_pair(**arrays, mode="fixed", ids=("a", "b", "c")),
        ReferenceSet.of_pair(**_arrays(4), mode="fixed"),
    ]
    assert len({reference.digest(I3D_FIXED) for reference in sets}) == 5
    assert replace(sets[0], source="elsewhere").digest(I3D_FIXED) == sets[0].digest(I3D_FIXED)


def test_the_digest_of_the_pair_is_that_of_earlier_versions():
    arrays = {name: np.full((2, columns), 0.5, np.float32) for name, columns in (("video", 400), ("audio", 1024))}
    reference = ReferenceSet.of_pair(**arrays, mode="fixed", ids=("a", "b"))
    assert reference.digest(I3D_FIXED) == reference.digest(AUDIOCLIP_FIXED) == "6a254c6c04bd1e58"
    more = replace(reference, features={**reference.features, "colours:1": np.ones((2, 3), np.float32)})
    assert more.digest(I3D_FIXED) == "6a254c6c04bd1e58"


COLOURS = Encoder("colours", 1, Backbone("colours", lambda context: None, packages=()), lambda network, clips: [])


def test_features_of_any_encoder_are_kept_under_its_name_and_version(tmp_path):
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    alone = ReferenceSet({"colours:1": rows}, "mine", ("a", "b", "c"))
    beside = replace(alone, features={**ReferenceSet.of_pair(**_arrays(), mode="compat").features, "colours:1": rows})
    for reference in (alone, beside):
        save_reference(tmp_path / "set.npz", reference)
        loaded = load_reference(tmp_path / "set.npz")
        assert set(loaded.features) == set(reference.features)
        np.testing.assert_array_equal(loaded.rows(COLOURS), rows)
        assert loaded.digest(COLOURS) == alone.digest(COLOURS)
        assert (loaded.source, loaded.ids, loaded.mode) == ("mine", ("a", "b", "c"), reference.mode)
    with pytest.raises(UsageError, match="mine holds features of colours:1, the metric compares those of colours:2"):
        alone.rows(replace(COLOURS, version=2))
    with pytest.raises(UsageError, match="mine holds features of colours:1, the metric compares those of i3d:1"):
        alone.rows(I3D_FIXED)
    other = replace(alone, features={"colours:1": rows + 1})
    assert other.digest(COLOURS) != alone.digest(COLOURS)


def test_features_of_any_encoder_are_checked(tmp_path):
    for rows, message in (
        (np.zeros(3), r"'colours:1' has shape \(3,\), expected \(N, D\)"),
        (np.full((2, 2), np.inf), "NaN or infinity in 2 of 2 rows"),
        (np.full((2, 2), "x"), "not numbers"),
    ):
        np.savez(tmp_path / "set.npz", **{"features/colours:1": rows})
        with pytest.raises(UsageError, match=message):
            load_reference(tmp_path / "set.npz")
    np.savez(tmp_path / "half.npz", **{"features/colours:1": np.zeros((2, 2)), "video": np.zeros((2, 400))})
    with pytest.raises(UsageError, match="array audio missing"):
        load_reference(tmp_path / "half.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video": np.zeros((3, 512))}, r"'video' has shape \(3, 512\), expected \(N, 400\)"),
        ({"audio": np.zeros(1024)}, r"'audio' has shape \(1024,\), expected \(N, 1024\)"),
        ({"audio": np.zeros((0, 1024))}, "N of 1 or more"),
        ({"video": np.full((3, 400), np.nan)}, "NaN or infinity in 3 of 3 rows"),
        ({"audio": np.full((3, 1024), "x")}, "not numbers"),
        ({"mode": np.array("other")}, "'mode' is 'other', expected one of fixed, compat"),
        ({"mode": np.array(["fixed"])}, "'mode' is an array of <U5; expected one text"),
        ({"ids": np.array(["a"])}, "'ids' names 1 rows, 'video' has 3"),
        ({"ids": np.array("abc")}, r"'ids' is an array of <U3 with shape \(\); expected one text per row"),
        ({"video": np.full((3, 400), 1e300)}, "NaN or infinity in 3 of 3 rows"),
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


def _npz(path: Path, compression: int = zipfile.ZIP_STORED, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)


def _npy(array: np.ndarray, shape: str = "") -> bytes:
    """An array as .npy, which claims to be of another shape where one is given."""
    file = io.BytesIO()
    np.save(file, array)
    data = file.getvalue()
    begin = data.index(b"\n")
    text = data[10:begin].decode()
    if shape:
        text = f"{text[: text.index('(')]}{shape}, }}".ljust(begin - 10)
    return data[:10] + text.encode() + data[begin:]


@pytest.mark.parametrize("shape", ["(1000000000, 400)", "(7, 400)", "(10**9, 400)"])
def test_an_array_that_claims_more_than_is_there_takes_no_memory(tmp_path, shape):
    arrays = _arrays()
    _npz(tmp_path / "set.npz", video=_npy(arrays["video"], shape), audio=_npy(arrays["audio"]))
    tracemalloc.start()
    with pytest.raises(UsageError, match=r"set\.npz: not a \.npz file of plain arrays") as caught:
        load_reference(tmp_path / "set.npz")
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_an_archive_that_inflates_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr(reference_files, "MAX_BYTES", 5 << 20)
    audio = _npy(np.zeros((1, 1024), np.float32))
    for rows in (np.zeros((4000, 400), np.float32), np.zeros((4000, 400), np.int8)):
        _npz(tmp_path / "set.npz", zipfile.ZIP_DEFLATED, video=_npy(rows), audio=audio)
        assert (tmp_path / "set.npz").stat().st_size < 20_000
        with pytest.raises(UsageError, match=r"set\.npz: its arrays take 6,404,096 bytes; up to 5,242,880 are read"):
            load_reference(tmp_path / "set.npz")


def test_other_arrays_of_the_archive_are_not_read(tmp_path):
    arrays = {name: _npy(rows) for name, rows in _arrays().items()}
    _npz(tmp_path / "set.npz", **arrays, more=_npy(np.zeros(3), "(10000000000,)"))
    assert [len(rows) for rows in load_reference(tmp_path / "set.npz").features.values()] == [3, 3]


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, **_arrays())
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UsageError, match="Bad CRC-32"):
        load_reference(path)


def test_no_memory_is_no_traceback(tmp_path, monkeypatch):
    np.savez(tmp_path / "set.npz", **_arrays())

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(reference_files, "_read_member", fail)
    with pytest.raises(EnvironmentProblem, match=r"set\.npz: not enough memory"):
        load_reference(tmp_path / "set.npz")


def _tensors(**changed: object) -> dict[str, object]:
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(rows) for name, rows in _arrays().items()} | changed


def test_tensors_that_claim_more_than_is_there(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "cache.pt"
    torch.save(_tensors(video=torch.zeros(1).expand(10**9, 400)), path)
    with pytest.raises(UsageError, match=r"its arrays take 1,600,000,012,288 bytes; up to 1,073,741,824 are read"):
        load_reference(path)
    torch.save(_tensors(), tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(path, "w") as short:
        for info in whole.infolist():
            data = whole.read(info)
            short.writestr(info.filename, data[:64] if info.filename.endswith("data/0") else data)
    with pytest.raises(UsageError, match="not a file of plain tensors"):
        load_reference(path)


@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_tensors_of_other_kinds(tmp_path, kind):
    torch = pytest.importorskip("torch")
    video = torch.zeros(3, 400)
    torch.save(_tensors(video=video.to_sparse() if kind == "sparse" else video.to("meta")), tmp_path / "cache.pt")
    with pytest.raises(UsageError, match="not a file of plain tensors"):
        load_reference(tmp_path / "cache.pt")


def test_trained_tensors_of_half_precision_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    video = torch.zeros(3, 400, dtype=torch.bfloat16, requires_grad=True)
    torch.save(_tensors(video=video), tmp_path / "cache.pt")
    assert load_reference(tmp_path / "cache.pt").rows(I3D_COMPAT).dtype == np.float32


def test_released_features_are_compat(tmp_path):
    torch = pytest.importorskip("torch")
    arrays = _arrays()
    torch.save({name: torch.from_numpy(rows) for name, rows in arrays.items()}, tmp_path / "cache.pt")
    loaded = load_reference(tmp_path / "cache.pt")
    assert loaded.mode == "compat"
    np.testing.assert_array_equal(loaded.rows(AUDIOCLIP_COMPAT), arrays["audio"])
    made = ReferenceSet.of_pair(**arrays, mode="compat")
    assert loaded.digest(AUDIOCLIP_COMPAT) == made.digest(AUDIOCLIP_COMPAT)


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
    fixed = ReferenceSet.of_pair(**_arrays(), mode="fixed", source="mine.npz")
    compat = ReferenceSet.of_pair(**_arrays(), mode="compat", source="mine.npz")
    unknown = ReferenceSet.of_pair(**_arrays(), mode=None, source="mine.npz")
    assert len(fixed.rows(I3D_FIXED)) == len(fixed.rows(AUDIOCLIP_FIXED)) == 3
    assert len(compat.rows(I3D_COMPAT)) == len(compat.rows(AUDIOCLIP_COMPAT)) == 3
    with pytest.raises(UsageError, match=r"mine\.npz holds features of mode 'compat', the metric is of mode 'fixed'"):
        compat.rows(I3D_FIXED)
    with pytest.raises(UsageError, match="mode 'fixed', the metric is of mode 'compat'"):
        fixed.rows(AUDIOCLIP_COMPAT)
    for encoder in (I3D_FIXED, AUDIOCLIP_COMPAT):
        with pytest.raises(UsageError, match="does not say how its features were made"):
            unknown.rows(encoder)
