"""24 broken clips among 24 good ones: the run finishes, names each, and the good ones do not notice."""

from __future__ import annotations

import csv
import json

import pytest
from broken_media import KINDS
from pandas.testing import assert_frame_equal
from synthetic import draw_frames, draw_sound, write_clip

from avbench import load_run

COMPARED = ["clip_id", "metric", "value", "status", "reason", "clip_sha256", "params_digest", "detail"]

COUNT = 24


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Good clips (8 contents, 3 names each), as many bad ones (12 kinds, twice), a manifest of all, one of the good."""
    root = tmp_path_factory.mktemp("corpus")
    contents = []
    for seed in range(8):
        frames = draw_frames(seed, seconds=2.2, size=(48, 64))
        contents.append(write_clip(root / f"seed{seed}.mp4", frames, draw_sound(seed, seconds=2.2)).read_bytes())
        (root / f"seed{seed}.mp4").unlink()
    good = []
    for index in range(COUNT):
        (root / f"good_{index:02}.mp4").write_bytes(contents[index % 8])
        good.append(f"good_{index:02}.mp4")
    kinds, bad = list(KINDS), []
    for index in range(COUNT):
        kind = kinds[index % len(kinds)]
        name = f"bad_{index:02}_{kind}.mp4"
        KINDS[kind](root / name, contents[index % 8])
        bad.append(name)
    mixed = [name for pair in zip(good, bad, strict=True) for name in pair]
    for manifest, names in (("all.csv", mixed), ("good.csv", good)):
        with (root / manifest).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["clip_id", "video"])
            writer.writerows([name, name] for name in names)
    return root


def rows(run):
    frame = load_run(run).scores
    return frame[frame["clip_id"].str.startswith("good")][COMPARED].reset_index(drop=True)


@pytest.mark.long
def test_as_many_broken_as_good(corpus, tmp_path, avbench):
    mixed = avbench("score", corpus / "all.csv", "-o", tmp_path / "mixed", "--json", "--workers", 2)
    assert mixed.returncode == 3, mixed.stderr
    assert "clips failed" in mixed.stderr
    clean = avbench("score", corpus / "good.csv", "-o", tmp_path / "clean", "--quiet")
    assert clean.returncode == 0, clean.stderr
    assert_frame_equal(rows(tmp_path / "mixed"), rows(tmp_path / "clean"), check_exact=True)

    run = load_run(tmp_path / "mixed")
    assert run.info["n_clips"] == 2 * COUNT
    bad = run.scores[~run.scores["clip_id"].str.startswith("good")]
    assert (bad["status"] != "ok").groupby(bad["clip_id"]).any().all()
    reasons = bad.loc[bad["status"] != "ok", "reason"]
    assert reasons.str.len().gt(8).all()
    assert bad.loc[bad["status"] != "ok", "value"].isna().all()
    errors = bad[bad["status"] == "error"]
    text = " ".join(errors["reason"])
    for words in ("empty", "not a readable media file", "file not found", "truncated"):
        assert words in text
    assert not errors["reason"].str.contains("Traceback").any()
    # Absent tracks are skips, damage is an error.
    mute = bad[bad["clip_id"].str.contains("no_sound")]
    assert set(mute["status"]) == {"ok", "skipped"}
    summary = json.loads(mixed.stdout)
    assert set(summary["failed_clips"]) == set(errors["clip_id"])
    assert all(entry["n"] == run.info["n_clips"] for entry in summary["overall"])
