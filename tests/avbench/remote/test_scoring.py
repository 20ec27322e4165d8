"""Remote clips score as local ones do; what fails is that clip's status."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tar_shards import archive

from avbench.api import score_clips
from avbench.clips import clip_digest
from avbench.media import Limits
from avbench.remote import fetch
from avbench.remote.fetch import Retries
from avbench.run.merge import merge_runs
from avbench.run.options import RunOptions
from avbench.shards import Shard
from avbench.sources import load_source

METRICS = ["loudness", "blockiness"]
SAME = ["clip_id", "metric", "value", "status", "reason", "clip_sha256", "detail", "prompt_id", "params_digest"]


@pytest.fixture
def folder(tmp_path: Path, small_clip: Path, golden_clips: Path) -> Path:
    """Two clips, one with a sound file beside it, and a manifest in a folder below."""
    made = tmp_path / "clips"
    (made / "a").mkdir(parents=True)
    shutil.copy(small_clip, made / "clip 2.mp4")
    shutil.copy(small_clip, made / "a" / "clip 10.mp4")
    sound = next(iter(sorted(golden_clips.glob("*.wav"))))
    shutil.copy(sound, made / "a" / "clip 10.wav")
    return made


def scores(source: Any, out: Path, **more: Any) -> pd.DataFrame:
    return score_clips(source, out, metrics=METRICS, **more).scores


def lines(run: Path) -> int:
    return len((run / "scores.jsonl").read_text().splitlines())


def test_equal_to_local(store, folder, tmp_path):
    (folder / "bad.mp4").write_bytes(b"no video")
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes((folder / "clip 2.mp4").read_bytes()[:9000])
    local = score_clips(folder, tmp_path / "local", metrics=METRICS)
    remote = score_clips(store.put(folder), tmp_path / "remote", metrics=METRICS)
    assert set(remote.scores["status"]) == {"ok", "error"}
    pd.testing.assert_frame_equal(local.scores[SAME], remote.scores[SAME])
    pd.testing.assert_frame_equal(local.clips, remote.clips)


def test_each_byte_is_read_once_and_not_again_on_resume(store, folder, tmp_path):
    url = store.put(folder)
    scores(url, tmp_path / "run")
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert {path.rpartition("/")[2]: count for path, count in store.reads.items()} == sizes
    before, rows = dict(store.reads), lines(tmp_path / "run")
    scores(url, tmp_path / "run")
    assert store.reads == before
    assert lines(tmp_path / "run") == rows


def test_what_a_manifest_names_is_not_read_again_on_resume(store, folder, tmp_path, golden_clips):
    url, manifest = store.put(folder), tmp_path / "list.csv"
    manifest.write_text(f"video,clip_id\n{url}/clip 2.mp4,a\n{url}/a/clip 10.mp4,b\n")
    source = load_source(manifest, allow_remote=True)
    first = scores(source, tmp_path / "run")
    assert (first["status"] == "ok").all()
    before = dict(store.reads)
    scores(source, tmp_path / "run")
    assert store.reads == before
    other = next(iter(sorted(golden_clips.glob("*.mp4"))))
    store.write("clips/clip 2.mp4", other.read_bytes())
    second = scores(source, tmp_path / "run")
    assert (first["clip_sha256"] != second["clip_sha256"]).tolist() == [True, True, False, False]


def test_merged_shards_are_not_read_again_on_resume(store, folder, tmp_path):
    source = load_source(store.put(folder))
    for index in (1, 2):
        scores(source.take(Shard(index, 2)), tmp_path / f"shard-{index}")
    merge_runs([tmp_path / "shard-1", tmp_path / "shard-2"], tmp_path / "run")
    before, rows = dict(store.reads), lines(tmp_path / "run")
    pd.testing.assert_frame_equal(scores(source, tmp_path / "run")[SAME], scores(folder, tmp_path / "local")[SAME])
    assert (store.reads, lines(tmp_path / "run")) == (before, rows)


def test_digests_of_a_run_that_was_killed_are_learnt_again(store, folder, tmp_path):
    url = store.put(folder)
    scores(url, tmp_path / "run")
    with (tmp_path / "run" / "digests.jsonl").open("r+b") as file:
        whole = file.read()
        file.truncate(len(whole) - 20)  # the last file of three is lost
    before = dict(store.reads)
    scores(url, tmp_path / "run")
    assert store.reads != before
    again = dict(store.reads)
    scores(url, tmp_path / "run")
    assert store.reads == again
    assert sorted((tmp_path / "run" / "digests.jsonl").read_bytes().splitlines()) == sorted(whole.splitlines())


def test_replaced_object_is_scored_again(store, folder, tmp_path, golden_clips):
    url = store.put(folder)
    first = scores(url, tmp_path / "run")
    other = next(iter(sorted(golden_clips.glob("*.mp4"))))
    store.write("clips/clip 2.mp4", other.read_bytes())
    second = scores(url, tmp_path / "run")
    chosen = "clip 2.mp4"
    assert set(first.loc[first.clip_id == chosen, "clip_sha256"]) != set(
        second.loc[second.clip_id == chosen, "clip_sha256"]
    )


def test_nothing_stays_on_the_disk(store, folder, tmp_path):
    scores(store.put(folder), tmp_path / "run")
    assert not [path for path in (tmp_path / "run").rglob("*") if path.suffix in (".mp4", ".wav")]


@pytest.mark.parametrize("fault", ["fail", "short", "empty", "slow"])
def test_bad_read_is_tried_again(store, folder, tmp_path, fault):
    url = store.put(folder)
    store.faults["clip 2.mp4"] = [fault, "ok"]
    assert (scores(url, tmp_path / "run")["status"] == "ok").all()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("fail", "reset by peer"), ("short", "the reading ended after"), ("slow", "no byte came for")],
)
def test_bad_reads_cost_one_clip(store, folder, tmp_path, monkeypatch, fault, reason):
    monkeypatch.setattr(fetch, "RETRIES", Retries(attempts=2, wait=0.01, stall=0.5))
    url = store.put(folder)
    store.faults["clip 2.mp4"] = [fault]
    table = scores(url, tmp_path / "run")
    bad = table[table.clip_id == "clip 2.mp4"]
    assert set(bad["status"]) == {"error"}
    assert bad["reason"].str.contains(reason).all()
    assert bad["reason"].str.contains("in 2 attempts").all()
    assert (table.loc[table.clip_id != "clip 2.mp4", "status"] == "ok").all()
    written = "".join(path.read_text() for path in (tmp_path / "run").glob("*.json*"))
    assert "secret" not in written
    store.faults.clear()  # the next run tries again
    assert (scores(url, tmp_path / "run")["status"] == "ok").all()


def test_what_fails_again_in_the_same_way_is_tried_and_not_written_again(store, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "RETRIES", Retries(attempts=2, wait=0.01, stall=0.5))
    url, run = store.put(folder), tmp_path / "run"
    store.faults["clip 2.mp4"] = ["fail"]
    metrics = [*METRICS, "aq"]  # of which the last cannot run here
    first = score_clips(url, run, metrics=metrics).scores
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for _ in range(3):
        store.faults["clip 2.mp4"] = ["fail"] * 3
        score_clips(url, run, metrics=metrics)
        assert store.faults["clip 2.mp4"] == ["fail"], "it was not tried"
        assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert len(first) == 2 * len(metrics)
    store.faults["clip 2.mp4"] = ["short"]  # another reason is news, once
    for _ in range(2):
        table = scores(url, run)
        tried = table[(table.clip_id == "clip 2.mp4") & table.metric.isin(METRICS)]
        assert tried["reason"].str.contains("the reading ended after").all()
    assert lines(run) == len(first) + len(METRICS)


def test_file_beyond_the_bound(store, folder, tmp_path):
    url = store.put(folder)
    options = RunOptions(limits=Limits(fetched_bytes=1000))
    table = scores(url, tmp_path / "run", options=options)
    assert table["reason"].str.contains("over the limit fetched_bytes=1000").all()
    assert not store.reads
    assert (scores(url, tmp_path / "run")["status"] == "ok").all()


def test_manifest_in_the_store(store, folder, tmp_path):
    (folder / "manifest.csv").write_text("video,text,model\nclip 2.mp4,A ball.,m\na/gone.mp4,A dog.,m\n")
    source = load_source(f"{store.put(folder)}/manifest.csv")
    local = load_source(folder / "manifest.csv")
    assert [(clip.clip_id, clip.prompt) for clip in source.clips] == [(c.clip_id, c.prompt) for c in local.clips]
    assert source.notes == local.notes
    table = scores(source, tmp_path / "run")
    assert dict(zip(table.clip_id, table.status, strict=True)) == {"clip 2.mp4": "ok", "a/gone.mp4": "error"}
    assert table.loc[table.status == "error", "reason"].str.contains("is not there").all()


@pytest.mark.parametrize("source", ["shards/s-{00..01}.tar", "shards"])
def test_tar_shards(store, small_clip, golden_clips, tmp_path, source):
    sound = next(iter(sorted(golden_clips.glob("*.wav")))).read_bytes()
    video = small_clip.read_bytes()
    first = {"0.mp4": video, "0.txt": b"A ball.\n", "0.wav": sound, "../x.mp4": video}
    second = {"1.json": json.dumps({"caption": "A dog.", "model": "m", "path": "/x"}).encode(), "1.mp4": video}
    store.write("shards/s-00.tar", archive(first))
    store.write("shards/s-01.tar", archive(second))
    loaded = load_source(f"{store.url}/{source}")
    assert [(clip.clip_id, clip.prompt.text, clip.model) for clip in loaded.clips] == [
        ("s-00.tar/0.mp4", "A ball.", None),
        ("s-01.tar/1.mp4", "A dog.", "m"),
    ]
    table = scores(loaded, tmp_path / "run")
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "0.mp4").write_bytes(video)
    (tmp_path / "local" / "0.wav").write_bytes(sound)
    (tmp_path / "local" / "1.mp4").write_bytes(video)
    local = scores(tmp_path / "local", tmp_path / "other")
    same = ["metric", "value", "status", "clip_sha256", "detail"]
    pd.testing.assert_frame_equal(table[same], local[same])


def sample(name: str, video: bytes) -> dict[str, bytes]:
    return {f"{name}.json": b'{"model": "m"}', f"{name}.mp4": video, f"{name}.txt": b"A ball."}


def test_requests_for_tar_shards(store, small_clip, tmp_path):
    video = small_clip.read_bytes() + bytes(2**16)  # more than is read ahead
    for shard in range(2):
        samples = [sample(f"{shard}-{number}", video) for number in range(10)]
        store.write(f"shards/{shard}.tar", archive({name: data for each in samples for name, data in each.items()}))
    source = load_source(f"{store.url}/shards")
    assert len(source.clips) == 20
    assert store.asked["ranges"] <= 20 + 2 * 2, "one for each clip, with its texts, and two for each shard"
    assert store.asked["looks"] <= 2 * 2
    store.asked.clear()
    assert (scores(source, tmp_path / "run")["status"] == "ok").all()
    assert store.asked == {"ranges": 20, "looks": 20}, "one for each clip, and whether it is still the same shard"


def test_texts_beyond_what_is_read_ahead(store, small_clip):
    words = "word " * 10_000
    members = {"0.txt": words.encode(), "0.mp4": small_clip.read_bytes(), "0.json": b'{"model": "m"}'}
    url = store.write("shards/s.tar", archive(members))
    (clip,) = load_source(url).clips
    assert (clip.prompt.text, clip.model) == (words.strip(), "m")


@pytest.mark.parametrize("kind", ["store", "web"])
def test_a_shard_that_is_replaced_after_it_was_listed(store, web, small_clip, tmp_path, monkeypatch, kind):
    """What lies where a clip was is never scored in its place."""
    monkeypatch.setattr(fetch, "RETRIES", Retries(attempts=2, wait=0.01, stall=5))
    video = small_clip.read_bytes()

    def write(content: bytes) -> str:
        if kind == "store":
            return store.write("shards/s.tar", content)
        (web.folder / "s.tar").write_bytes(content)
        os.utime(web.folder / "s.tar", (len(content), len(content)))  # the server states whole seconds
        return f"{web.url}/s.tar"

    url = write(archive({"0.mp4": video, "1.mp4": video}))
    assert (scores(load_source(url), tmp_path / "before")["status"] == "ok").all()
    source = load_source(url)
    write(archive({"9.mp4": video, "8.mp4": video, "7.mp4": video}))
    table = scores(source, tmp_path / "run")
    assert set(table["status"]) == {"error"}
    assert table["reason"].str.contains("it was replaced after it was listed").all()


def test_missing_metrics_have_rows(store, folder, tmp_path):
    url = store.put(folder)
    options = RunOptions()
    metrics = ["loudness", "aq"]
    remote = score_clips(url, tmp_path / "remote", metrics=metrics, options=options).scores
    local = score_clips(folder, tmp_path / "local", metrics=metrics, options=options).scores
    pd.testing.assert_frame_equal(local[SAME], remote[SAME])


def test_clip_digest_is_that_of_its_files(store, folder, tmp_path):
    import hashlib

    table = scores(store.put(folder), tmp_path / "run")
    files = [hashlib.sha256((folder / "a" / name).read_bytes()).digest() for name in ("clip 10.mp4", "clip 10.wav")]
    assert set(table.loc[table.clip_id == "a/clip 10.mp4", "clip_sha256"]) == {clip_digest(files)}
