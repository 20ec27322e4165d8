"""Shards that differ in where their clips lie and in how they were bounded: refused, or merged with a note."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from avbench import load_run
from avbench.errors import UsageError
from avbench.media import Limits
from avbench.run.merge import merge_runs
from avbench.run.options import RunOptions
from avbench.run.runner import run_source
from avbench.shards import Shard
from avbench.sources import Source, load_source
from avbench.suites import Suite

LOUD = Suite("loud", "", ("loudness",))


@pytest.fixture(scope="module")
def source(small_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Two clips."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(small_clip, folder / name)
    return load_source(folder)


@pytest.fixture(scope="module")
def two_shards(source: Source, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One run folder for each of them; they are only read."""
    folder = tmp_path_factory.mktemp("shards")
    paths = [folder / "shard-1", folder / "shard-2"]
    for index, path in enumerate(paths, 1):
        run_source(source.take(Shard(index, 2)), LOUD, path, RunOptions())
    return paths


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("step-1/clips", "step-2/clips"), "note"),
        (("clips", "."), "note"),
        (("clips", "s3://bucket/clips"), "note"),
        (("clips", None), "nothing"),
        (("step-1", "step-2"), "refusal"),
        (("s3://bucket/step-1/clips", "s3://bucket/step-2/clips"), "refusal"),
    ],
)
def test_clips_of_equal_names_in_two_places(
    two_shards: list[Path], tmp_path: Path, names: tuple[str, str | None], said: str
) -> None:
    paths = [Path(shutil.copytree(path, tmp_path / path.name)) for path in two_shards]
    for path, name in zip(paths, names, strict=True):
        info = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(info | {"source": name}))
    if said == "refusal":
        with pytest.raises(UsageError, match=f"shard-1 and .*shard-2 .* different sources, {names[0]} and {names[1]}"):
            merge_runs(paths, tmp_path / "merged")
        return
    merge_runs(paths, tmp_path / "merged")
    notes = [note for note in load_run(tmp_path / "merged").info["notes"] if "different sources" in note]
    assert notes == ([f"shards name different sources: {', '.join(sorted(map(str, names)))}"] if said == "note" else [])


def test_limits_that_differ_are_noted(two_shards: list[Path], source: Source, tmp_path: Path) -> None:
    options = RunOptions(limits=Limits(pixels=5000, seconds=math.inf))
    run_source(source.take(Shard(2, 2)), LOUD, tmp_path / "bounded", options)
    assert load_run(tmp_path / "bounded").info["limits"] == ["pixels=5000", "seconds=none"]
    merge_runs([two_shards[0], tmp_path / "bounded"], tmp_path / "merged")
    note = "shards were scored with different limits (--limit): none; pixels=5000, seconds=none"
    assert note in load_run(tmp_path / "merged").info["notes"]
