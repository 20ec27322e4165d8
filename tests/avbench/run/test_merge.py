"""Shards of a run, merged: the same tables as those of one run over all clips, or one line of why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Category, Clip, Frames, Prompt, load_run
from avbench.encoders import Backbone, Encoder
from avbench.errors import UsageError
from avbench.media import Linspace
from avbench.metrics import Score
from avbench.metrics import base as registry_module
from avbench.metrics.base import scorer, set_scorer
from avbench.metrics.derived import derived_scorer
from avbench.remote.run_folders import upload_run
from avbench.run.merge import merge_runs
from avbench.run.options import RunOptions
from avbench.run.protocol import PROTOCOLS
from avbench.run.reference_sets import ReferenceSet, save_reference
from avbench.run.remote_clips import FileDigest, RemoteDigests
from avbench.run.runner import run_source
from avbench.shards import Shard, deal, parse_shard
from avbench.sources import Source
from avbench.suites import Suite

SUITE = Suite("merged", "", ("brightness", "loudness", "distance", "total"))
SAME = ["scope", "clip_id", "clip_sha256", "metric", "value", "status", "reason", "detail", "metric_version",
        "params_digest", "weights_digest", "model", "prompt_id", "sample_index", "suite", "suite_version"]  # fmt: skip


@pytest.fixture(autouse=True)
def metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric of clips, one of sets with an encoder, and one that follows from others."""
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module.registry()))
    facts: dict[str, Any] = {"unit": "1", "higher_is_better": True, "range": (0.0, 1e9), "source": "test"}
    view = Frames(Linspace(2))

    def brightness(media: Any, prompt: Any, store: Any) -> Score:
        return Score.ok(float(media.view(view).mean()), prompt=prompt.text or "")

    def colours(network: Any, clips: Any) -> list[NDArray[np.float32]]:
        return [clip.views[0].mean(axis=(0, 1, 2), dtype=np.float32) for clip in clips]

    network = Backbone("colours", lambda context: "colours", packages=(), deferred=False)
    encoder = Encoder("colours", 1, network, colours, (view,))
    scorer("brightness", needs=("video",), family="test", views=(view,), **facts)(brightness)
    set_scorer("distance", encoder=encoder, needs=("video",), **facts)(
        lambda fake, real: Score.ok(float(np.abs(fake.mean(axis=0) - real.mean(axis=0)).sum()))
    )
    derived_scorer("total", inputs=("brightness",), family="test", **facts)(
        lambda clips: Score.ok(
            sum(c.scores["brightness"].value or 0.0 for c in clips) + sum(c.frames or 0 for c in clips)
        )
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Seven clips of two models and categories: two of one content, and one that cannot be read."""
    root = tmp_path_factory.mktemp("clips")
    clips = []
    for seed in range(7):
        path = root / f"c{seed}.mp4"
        if seed == 4:
            shutil.copy(root / "c0.mp4", path)
        elif seed == 5:
            path.write_bytes(b"no video")
        else:
            write_clip(path, draw_frames(seed, seconds=0.5, size=(48, 64)), draw_sound(seed, seconds=0.5))
        labels = (Category("Kind", "odd" if seed % 2 else "even"), Category("Size", "small"))
        prompt = Prompt(f"a ball {seed % 3}", audio_text="" if seed == 1 else None, prompt_id=str(seed % 3))
        model = "b" if seed > 4 else "a"
        clips.append(Clip(path.stem, path, prompt=prompt, categories=labels, model=model, sample_index=seed // 3))
    return Source(root, "manifest", tuple(clips), "as listed", ("a note",))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    save_reference(tmp_path / "reference.npz", ReferenceSet({"colours:1": features}, "drawn", tuple("0123")))
    return tmp_path / "reference.npz"


@pytest.fixture
def shards(source: Source, tmp_path: Path) -> Callable[..., list[Path]]:
    """Scores shards of the source, and says where."""

    def score(count: int, options: RunOptions | None = None, suite: Suite = SUITE) -> list[Path]:
        paths = [tmp_path / f"shard-{index}" for index in range(1, count + 1)]
        for index, path in enumerate(paths, 1):
            run_source(source.take(Shard(index, count)), suite, path, options or RunOptions())
        return paths

    return score


def table(path: Path) -> str:
    return str(load_run(path).scores[SAME].to_json(orient="records", double_precision=15))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the rows of a run's score table."""
    from avbench.results import RunFolder, ScoreRow
    from avbench.results.parquet import to_rows

    rows = [change(row) for row in to_rows(load_run(path).scores, ScoreRow)]
    with RunFolder(path) as folder:
        folder.write_table("scores.parquet", ScoreRow, rows)


@pytest.mark.parametrize(("count", "protocol"), [(3, ""), pytest.param(9, "javisbench-4s", marks=pytest.mark.long)])
def test_the_merged_run_is_the_run_over_all_clips(
    source: Source, shards: Callable[..., list[Path]], reference: Path, tmp_path: Path, count: int, protocol: str
) -> None:
    """Also with more shards than clips."""
    options = RunOptions(protocol=PROTOCOLS[protocol]) if protocol else RunOptions()
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    run_source(source, SUITE, whole, replace(options, reference=reference))
    outcome = merge_runs(list(reversed(shards(count, options))), merged, reference=reference)
    assert table(merged) == table(whole)
    assert (merged / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()
    for name in ("clips", "categories"):
        assert getattr(load_run(merged), name).equals(getattr(load_run(whole), name))
    assert outcome.failed == ("c5",) and outcome.n_clips == 7
    ids = set(load_run(merged).scores["run_id"])
    assert ids == {load_run(merged).info["run_id"]} and load_run(merged).info["n_clips"] == 7
    assert load_run(merged).info["notes"][0] == "a note"
    # It goes on as every run does: nothing is left to do.
    again = run_source(source, SUITE, merged, replace(options, reference=reference))
    assert again.computed == 0


def test_shards_do_not_depend_on_the_order_and_differ_by_one_clip(source: Source) -> None:
    turned = replace(source, clips=source.clips[::-1])
    for index in (1, 2, 3):
        ids = {clip.clip_id for clip in source.take(Shard(index, 3)).clips}
        assert ids == {clip.clip_id for clip in turned.take(Shard(index, 3)).clips}
        assert len(ids) in (2, 3)
    assert sorted(p for i in (1, 2, 3) for p in deal(source.clips, Shard(i, 3)).positions) == list(range(7))
    # Machines with another version of avbench have to deal in the same way.
    assert [deal(source.clips, Shard(i, 3)).positions for i in (1, 2, 3)] == [
        (1, 3, 4), (0, 2), (5, 6)
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/4/5"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)


def test_no_shard_of_none_is_suggested() -> None:
    with pytest.raises(UsageError, match="at least 1") as error:
        parse_shard("1/0")
    assert "0/0" not in str(error.value)


def test_a_shard_that_is_there_twice_counts_once(shards: Callable[..., list[Path]], tmp_path: Path) -> None:
    paths = shards(2)
    merge_runs(paths, tmp_path / "once")
    shutil.copytree(paths[0], tmp_path / "copy")
    edit(tmp_path / "copy", lambda row: replace(row, seconds=9.0))  # it took longer there, and that is all
    merge_runs([*paths, tmp_path / "copy"], tmp_path / "twice")
    assert table(tmp_path / "twice") == table(tmp_path / "once")


def test_shards_in_object_storage_are_merged_as_local_ones_are(
    shards: Callable[..., list[Path]], reference: Path, tmp_path: Path
) -> None:
    """With features; and what a merged run takes over of remote clips."""
    files = pytest.importorskip("fsspec").filesystem("memory")
    paths = shards(2)
    RemoteDigests(paths[0]).add([FileDigest("a", "state", "0" * 64)])
    addresses = [f"memory://{tmp_path.name}/{path.name}" for path in paths]
    for path, address in zip(paths, addresses, strict=True):
        upload_run(path, address)
    for found, name in ((paths, "local"), ([paths[0], addresses[1]], "mixed"), (addresses, "remote")):
        merge_runs(found, tmp_path / name, reference=reference)
    assert table(tmp_path / "remote") == table(tmp_path / "mixed") == table(tmp_path / "local")
    assert (tmp_path / "remote" / "digests.jsonl").read_bytes() == (tmp_path / "local" / "digests.jsonl").read_bytes()
    files.rm(f"memory://{tmp_path.name}/shard-2/shard.json")
    with pytest.raises(UsageError, match=f"{addresses[1]} is no shard"):
        merge_runs(addresses, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    files.rm(f"memory://{tmp_path.name}", recursive=True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"value": 1.25}, "value .* and 1.25"),
        ({"detail": '{"x": 1}'}, "detail"),
        ({"params_digest": "0" * 16}, "digests"),
        ({"weights_digest": "0" * 16}, "different weights"),
        ({"metric_version": 2}, "different version"),
    ],
)
def test_contradictions_are_refused_by_name(
    shards: Callable[..., list[Path]], tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    paths = shards(2)
    copy = Path(shutil.copytree(paths[0], tmp_path / "copy"))
    edit(copy, lambda row: replace(row, **changed) if row.metric == "brightness" and row.status == "ok" else row)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=said) as caught:
        merge_runs([*paths, copy], tmp_path / "merged")
    assert "brightness" in str(caught.value) and str(copy) in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before  # nothing is half written


def test_different_contents_of_a_clip_and_different_features_are_refused(
    source: Source, shards: Callable[..., list[Path]], tmp_path: Path
) -> None:
    paths = shards(2)
    copy = Path(shutil.copytree(paths[0], tmp_path / "copy"))
    first = next((copy / "features").glob("*/*.npy"))
    np.save(first, np.load(first) + 1)
    with pytest.raises(UsageError, match="features of distance of clip c"):
        merge_runs([*paths, copy], tmp_path / "merged")
    other = source.take(Shard(1, 2)).clips[0]
    root = Path(shutil.copytree(source.root, tmp_path / "other"))
    (root / other.video.name).write_bytes(b"other bytes")
    moved = replace(source, clips=tuple(replace(clip, video=root / clip.video.name) for clip in source.clips))
    run_source(moved.take(Shard(1, 2)), SUITE, tmp_path / "moved", RunOptions())
    with pytest.raises(UsageError, match=f"different contents of clip {other.clip_id}"):
        merge_runs([*paths, tmp_path / "moved"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.long
def test_what_cannot_be_merged_is_refused(
    source: Source, shards: Callable[..., list[Path]], reference: Path, tmp_path: Path
) -> None:
    one, two = shards(2)
    out = tmp_path / "merged"

    def refuse(said: str, *paths: Path, to: Path = out) -> None:
        with pytest.raises(UsageError, match=said) as caught:
            merge_runs(paths, to)
        assert "\n" not in str(caught.value)
        assert not out.exists() and not list(tmp_path.glob(".*merge*"))

    refuse("shard 2/2 is missing", one)
    refuse("is not a run folder", one, tmp_path / "nothing")
    refuse("is there already", one, two, to=one)
    part = source.take(Shard(2, 2))
    run_source(part, Suite("other", "", ("loudness",)), tmp_path / "suite", RunOptions())
    refuse("suite merged and other", one, tmp_path / "suite")
    run_source(part, SUITE, tmp_path / "cut", RunOptions(protocol=PROTOCOLS["javisbench-4s"]))
    refuse("protocol none and javisbench-4s", one, tmp_path / "cut")
    run_source(source.take(Shard(2, 3)), SUITE, tmp_path / "third", RunOptions())
    refuse("number of shards 2 and 3", one, tmp_path / "third")
    fewer = replace(source, clips=source.clips[1:])
    run_source(fewer.take(Shard(2, 2)), SUITE, tmp_path / "fewer", RunOptions())
    refuse("source [0-9a-f]+ and [0-9a-f]+", one, tmp_path / "fewer")
    run_source(part, SUITE, tmp_path / "compared", RunOptions(reference=reference))
    refuse("--reference", one, tmp_path / "compared")
    run_source(source, SUITE, tmp_path / "whole", RunOptions())
    refuse("is no shard", one, tmp_path / "whole")
    for name in ("scores", "clips", "categories"):
        (two / f"{name}.parquet").unlink()
    refuse("unfinished run", one, two)
    record = json.loads((one / "shard.json").read_text())
    broken: Any
    for broken in ({**record, "part": None}, record | {"networks": {"distance": {"weights_digest": "../x"}}}, []):
        (one / "shard.json").write_text(json.dumps(broken))
        refuse("shard.json", one)


def test_a_folder_of_one_shard_takes_no_other_and_takes_all(
    source: Source, shards: Callable[..., list[Path]], tmp_path: Path
) -> None:
    one, two = shards(2)
    before = (one / "scores.jsonl").read_bytes(), (one / "shard.json").stat().st_mtime_ns
    with pytest.raises(UsageError, match="begun as shard 1/2, and 2/2 is asked for"):
        run_source(source.take(Shard(2, 2)), SUITE, one, RunOptions())
    assert run_source(source.take(Shard(1, 2)), SUITE, one, RunOptions()).computed == 0
    assert before == ((one / "scores.jsonl").read_bytes(), (one / "shard.json").stat().st_mtime_ns)
    run_source(source, SUITE, one, RunOptions())
    assert not (one / "shard.json").exists()
    with pytest.raises(UsageError, match="is no shard"):
        merge_runs([one, two], tmp_path / "merged")


def test_tables_of_an_earlier_source_are_unfinished(
    source: Source, shards: Callable[..., list[Path]], tmp_path: Path
) -> None:
    """The source changed, and the run over it was killed before its tables."""
    one, two = shards(2)
    changed = replace(source, clips=tuple(replace(clip, model="c") for clip in source.clips))
    for index, path in ((1, one), (2, two)):
        tables = {name: (path / name).read_bytes() for name in ("clips.parquet", "scores.parquet")}
        run_source(changed.take(Shard(index, 2)), SUITE, path, RunOptions())
        for name, content in tables.items():
            (path / name).write_bytes(content)
    with pytest.raises(UsageError, match=r"shard-1 is an unfinished run"):
        merge_runs([one, two], tmp_path / "merged")


@pytest.mark.long
def test_a_metric_that_could_not_run_on_one_machine_gives_way_to_one_that_could(
    source: Source, shards: Callable[..., list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = shards(2)
    run_source(source, SUITE, tmp_path / "whole", RunOptions())
    with monkeypatch.context() as patch:
        entry = registry_module._REGISTRY["brightness"]
        patch.setitem(registry_module._REGISTRY, "brightness", replace(entry, packages=("no_such_package",)))
        run_source(source.take(Shard(1, 2)), SUITE, tmp_path / "poor", RunOptions())
        lacking = merge_runs([tmp_path / "poor", paths[1]], tmp_path / "lacking")
    assert lacking.unavailable == len(source.take(Shard(1, 2)).clips)
    for order in ([tmp_path / "poor", *paths], [*paths, tmp_path / "poor"]):
        merge_runs(order, tmp_path / "merged")
        assert table(tmp_path / "merged") == table(tmp_path / "whole")
        shutil.rmtree(tmp_path / "merged")
