"""Noise floors: measured from repeated runs, written, read, and held against the runs that they are used for."""

from __future__ import annotations

import tomllib
from functools import partial

import numpy as np
import pytest

from avbench.check import Policy, calibrate, compare_runs, load_noise, write_noise
from avbench.errors import UsageError


def repeated(make_run, folder, shared=0.0, count=4, **changes):
    """Runs of one checkpoint; `shared` is noise that all clips of a run have in common."""
    rng = np.random.default_rng(0)
    prompt = rng.normal(size=30)
    return [
        make_run(
            folder / f"repeat{number}",
            {"av_align": prompt + rng.normal(0, 0.1, 30) + shared * rng.normal(), "loudness": prompt},
            **changes,
        )
        for number in range(count)
    ]


@pytest.fixture
def repeats(make_run, tmp_path):
    """See `repeated`."""
    return partial(repeated, make_run, tmp_path)


@pytest.fixture(scope="module")
def written(make_run, tmp_path_factory):
    """What a file of floors holds."""
    folder = tmp_path_factory.mktemp("written")
    write_noise(calibrate(repeated(make_run, folder)), folder / "noise.toml")
    return (folder / "noise.toml").read_text()


def test_what_is_written_is_read_back(repeats, tmp_path):
    noise = calibrate(repeats())
    write_noise(noise, tmp_path / "noise.toml")
    back = load_noise(tmp_path / "noise.toml")
    assert (back.metric, back.runs, back.prompts_digest) == (noise.metric, noise.runs, noise.prompts_digest)
    floor = back.metric["av_align"]
    assert (floor.kind, floor.runs, floor.prompts, floor.source) == ("clip", 4, 30, "clips")
    assert floor.clip_sd == pytest.approx(0.1 * np.sqrt(2), rel=0.15)


def test_the_scatter_of_clips_shrinks_with_prompts_and_that_of_runs_does_not(repeats):
    clips = calibrate(repeats()).metric["av_align"]
    assert clips.floor_at(120) == pytest.approx(clips.floor / 2)
    runs = calibrate(repeats(shared=1.0)).metric["av_align"]
    assert (runs.source, runs.floor_at(120)) == ("runs", runs.floor)


def test_within_the_floor_nothing_is_worse(repeats, make_run, tmp_path):
    folders = repeats(shared=0.3)
    write_noise(calibrate(folders), tmp_path / "noise.toml")
    scores = load_scores(folders[0])
    shifted = make_run(tmp_path / "shifted", {"av_align": scores - 0.4, "loudness": scores})
    assert compare_runs(shifted, folders[0]).names("worse") == ["av_align"]
    finding = compare_runs(shifted, folders[0], Policy(noise=tmp_path / "noise.toml")).findings[0]
    assert (finding.verdict, finding.reason) == ("undecided", "within the noise floor of repeated runs")


def load_scores(folder):
    from avbench import load_run

    scores = load_run(folder).scores
    return scores.loc[scores["metric"] == "av_align", "value"].to_numpy()


def test_one_run_or_the_same_twice_is_refused(repeats):
    folders = repeats()
    with pytest.raises(UsageError, match="at least 2 runs"):
        calibrate(folders[:1])
    with pytest.raises(UsageError, match="the same run"):
        calibrate([folders[0], folders[1], folders[0]])


def test_runs_that_cannot_be_compared_are_refused(repeats, make_run, tmp_path):
    other = make_run(tmp_path / "other", {"av_align": np.zeros(30), "loudness": np.zeros(30)}, info={"protocol": "x"})
    with pytest.raises(UsageError, match="protocol x, and none there"):
        calibrate([*repeats(), other])
    fewer = make_run(tmp_path / "fewer", {"av_align": np.zeros(29), "loudness": np.zeros(29)})
    with pytest.raises(UsageError, match="'p29' sample 0"):
        calibrate([*repeats(), fewer])


def test_the_same_files_are_noted(repeats):
    noise = calibrate(repeats(clips={"clip_sha256": "one"}))
    assert any("the same files" in note for note in noise.notes)


def test_a_metric_without_scores_has_no_floor(repeats, make_run, tmp_path):
    one, two = (make_run(tmp_path / name, {"av_align": np.full(9, np.nan), "loudness": np.ones(9)}) for name in "ab")
    noise = calibrate([one, two])
    assert list(noise.metric) == ["loudness"]
    assert any("av_align" in note for note in noise.notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": {"av_align": {"metric_version": 2}}}, "calibrated with version 1, and .* has 2"),
        ({"rows": {"av_align": {"weights_digest": "w"}}}, "calibrated with weights digest none, and .* has w"),
        ({"info": {"protocol": "javisbench-4s"}}, "calibrated with protocol none"),
    ],
)
def test_floors_of_another_computation_are_refused(repeats, make_run, tmp_path, changes, words):
    write_noise(calibrate(repeats()), tmp_path / "noise.toml")
    runs = [make_run(tmp_path / name, {"av_align": np.arange(30.0)}, **changes) for name in "ab"]
    with pytest.raises(UsageError, match=words):
        compare_runs(*runs, Policy(noise=tmp_path / "noise.toml"))


def test_a_metric_without_a_floor_is_noted(repeats, make_run, tmp_path):
    write_noise(calibrate(repeats()), tmp_path / "noise.toml")
    runs = [make_run(tmp_path / name, {"desync": np.arange(30.0)}) for name in "ab"]
    notes = compare_runs(*runs, Policy(noise=tmp_path / "noise.toml")).notes
    assert any("no noise floor" in note and "desync" in note for note in notes)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema_version = 1", "schema_version = 9", "schema_version = 9"),
        ("schema_version = 1", "", "missing schema_version"),
        ('protocol = ""', "protocol = 3", "line 4: protocol = 3: expected a text"),
        ("runs = 4", "runs = 1", r"metric.av_align.runs = 1: expected a whole number of at least 2"),
        ('kind = "clip"', 'kind = "film"', 'metric.av_align.kind = "film": expected one of "clip", "set"'),
        ("floor = 0", "floor = -0", r"metric.av_align.floor = -0\.\d+: expected a number of at least 0"),
        ("floor = 0", "flor = 0", "unknown key 'metric.av_align.flor'. Did you mean floor"),
        ("prompts = 30", "prompts = true", "metric.av_align.prompts = true: expected a whole number of at least 1"),
        ("schema_version = 1", "schema_version 1", "line 2"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(written, tmp_path, old, new, words):
    path = tmp_path / "noise.toml"
    assert old in written
    path.write_text(written.replace(old, new, 1))
    with pytest.raises(UsageError, match=words) as caught:
        load_noise(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_with_quotes_and_newlines_stay_toml(repeats, tmp_path):
    noise = calibrate(repeats())
    strange = {'a."b"\n=': noise.metric["av_align"]}
    path = tmp_path / "noise.toml"
    write_noise(type(noise)("d", "", ('run "1"\\',), strange, ("é\n",)), path)
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    assert list(content["metric"]) == list(strange)
    assert content["runs"] == ['run "1"\\']
    assert dict(load_noise(path).metric) == strange
