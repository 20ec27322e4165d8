"""Set metrics: which rows they give, whose features they compare, and that one that fails costs nothing but its row."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Category, Clip, Frames, Prompt, Run, load_run, score_clips
from avbench.encoders import Backbone, ClipInput, Encoder
from avbench.errors import EnvironmentProblem, UsageError
from avbench.media import Linspace
from avbench.metrics import Score
from avbench.metrics import base as registry_module
from avbench.metrics.base import set_scorer
from avbench.report.html import write_report
from avbench.results import RunFolder, ScoreRow
from avbench.results.schema import set_digest
from avbench.run.earlier import EarlierRows
from avbench.run.jobs import RunContext, Stopped
from avbench.run.make_reference import make_reference, reference_suite
from avbench.run.options import RunOptions
from avbench.run.reference_sets import ReferenceSet, load_reference, save_reference
from avbench.run.rows import ALL
from avbench.run.set_metrics import SetInputs, scopes, score_sets
from avbench.sources import Source

Features = NDArray[np.float32]


def colours(network: Any, clips: list[ClipInput]) -> list[Features]:
    return [clip.views[0].mean(axis=(0, 1, 2), dtype=np.float32) for clip in clips]


NETWORK = Backbone("colours", lambda context: "colours", packages=(), deferred=False)
COLOURS = Encoder("colours", 1, NETWORK, colours, (Frames(Linspace(2)),))


def distance(fake: Features, real: Features) -> Score:
    """Distance of mean colours."""
    return Score.ok(np.abs(fake.mean(axis=0) - real.mean(axis=0)).sum(), n_fake=len(fake))


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Registers a set metric for one test, as a package of one's own would."""
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module.registry()))

    def add(name: str, function: Callable[[Features, Features], Any] = distance, encoder: Encoder = COLOURS) -> str:
        set_scorer(
            name, encoder=encoder, unit="1", higher_is_better=False, range=(0.0, 1e9), source="test", needs=("video",)
        )(function)  # fmt: skip
        return name

    return add


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Four clips in two categories."""
    root = tmp_path_factory.mktemp("clips")
    made = []
    for seed in range(4):
        path = write_clip(
            root / f"c{seed}.mp4", draw_frames(seed, seconds=0.5, size=(48, 64)), draw_sound(seed, seconds=0.5)
        )
        labels = (Category("Kind", "odd" if seed % 2 else "even"),)
        made.append(Clip(path.stem, path, prompt=Prompt("a ball", prompt_id=str(seed)), categories=labels))
    return made


def reference_file(path: Path, rows: int = 4, columns: int = 3) -> Path:
    features = {"colours:1": np.zeros((rows, columns), np.float32)}
    save_reference(path, ReferenceSet(features, "drawn", tuple(map(str, range(rows)))))
    return path


def by_scope(run: Run, metric: str) -> dict[str, Any]:
    rows = run.scores[run.scores["metric"] == metric].to_dict("records")
    return {str(row["scope"]): row for row in rows}


def test_a_metric_of_another_package_is_compared_with_the_features_of_its_own_encoder(
    clips: list[Clip], tmp_path: Path, register: Callable[..., str]
) -> None:
    name = register("colour_distance")
    source = Source(tmp_path, "clips", tuple(clips), "as given")
    kept = make_reference(
        source, tmp_path / "real.npz", tmp_path / "work", suite=reference_suite([name]), options=RunOptions()
    )
    assert kept == 4
    assert load_reference(tmp_path / "real.npz").rows(COLOURS).shape == (4, 3)
    run = score_clips(clips, tmp_path / "run", metrics=[name], options=RunOptions(reference=tmp_path / "real.npz"))
    rows = by_scope(run, name)
    assert set(rows) == {"all", "Kind/even", "Kind/odd"}
    assert [row["value"] for row in rows.values()] == [0.0, 0.0, 0.0]  # the clips against themselves
    fewer = score_clips(
        clips[:3], tmp_path / "run", metrics=[name], options=RunOptions(reference=tmp_path / "real.npz")
    )
    assert by_scope(fewer, name)["all"]["value"] > 0


def test_a_run_with_an_earlier_reference_set_has_its_distances_again(
    clips: list[Clip], tmp_path: Path, register: Callable[..., str]
) -> None:
    name, seen = register("colour_distance"), []
    for height in (0.0, 1.0, 0.0, 0.0):
        features = {"colours:1": np.full((4, 3), height, np.float32)}
        save_reference(tmp_path / "real.npz", ReferenceSet(features, "drawn", tuple("0123")))
        run = score_clips(clips, tmp_path / "run", metrics=[name], options=RunOptions(reference=tmp_path / "real.npz"))
        lines = (tmp_path / "run" / "scores.jsonl").read_text().splitlines()
        seen.append(({scope: row["value"] for scope, row in by_scope(run, name).items()}, len(lines)))
    assert seen[2][0] == seen[0][0] != seen[1][0]
    assert [count for _, count in seen] == [3, 6, 9, 9]


def test_only_set_metrics_have_reference_sets() -> None:
    assert reference_suite().metrics == ("fvd", "fad")
    assert reference_suite(mode="compat").metrics == ("fvd_compat", "fad_compat")
    with pytest.raises(UsageError, match="loudness judges single clips"):
        reference_suite(["fvd", "loudness"])


def raising(fake: Features, real: Features) -> Score:
    """Fails."""
    raise ZeroDivisionError("no such distance")


def nothing(fake: Features, real: Features) -> Any:
    """Returns nothing."""


def leaving(fake: Features, real: Features) -> Score:
    """Wants to end the process."""
    sys.exit(1)


def unwritable(fake: Features, real: Features) -> Score:
    """Has a detail that is no JSON."""
    return Score.ok(1.0, rows=fake)


def not_finite(fake: Features, real: Features) -> Score:
    """Gives NaN."""
    return Score.ok(float("nan"))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (raising, "ZeroDivisionError: no such distance"),
        (leaving, "SystemExit: 1"),
        (nothing, "TypeError: it returned NoneType, expected a Score"),
        (unwritable, "TypeError: Object of type ndarray is not JSON serializable"),
        (not_finite, "ValueError: a score with status 'ok' cannot hold the value nan"),
    ],
)
def test_a_set_metric_that_fails_costs_its_own_rows(
    clips: list[Clip], tmp_path: Path, register: Callable[..., str], function: Any, reason: str
) -> None:
    bad, good = register("bad", function), register("good")
    options = RunOptions(reference=reference_file(tmp_path / "real.npz"))
    run = score_clips(clips, tmp_path / "run", metrics=[bad, "loudness", good], options=options)
    rows = by_scope(run, bad)
    assert {(row["status"], row["reason"]) for row in rows.values()} == {("error", reason)}
    assert set(rows) == {"all", "Kind/even", "Kind/odd"}
    assert {row["status"] for row in by_scope(run, good).values()} == {"ok"}
    assert set(run.scores.loc[run.scores["metric"] == "loudness", "status"]) == {"ok"}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    (entry,) = [entry for entry in summary["overall"] if entry["metric"] == bad]
    assert (entry["mean"], entry["reasons"]) == (None, {reason: 1})
    assert reason.split(":")[0] in write_report(load_run(tmp_path / "run")).read_text()


def test_errors_of_sets_are_computed_again_when_asked(
    clips: list[Clip], tmp_path: Path, register: Callable[..., str]
) -> None:
    calls = []

    def fails_at_first(fake: Features, real: Features) -> Score:
        """Distance of mean colours."""
        calls.append(len(fake))
        if len(calls) <= 3:
            raise RuntimeError("not yet")
        return distance(fake, real)

    name, reference = register("late", fails_at_first), reference_file(tmp_path / "real.npz")
    for retry, statuses in ((False, {"error"}), (False, {"error"}), (True, {"ok"})):
        options = RunOptions(reference=reference, retry_errors=retry)
        run = score_clips(clips, tmp_path / "run", metrics=[name], options=options)
        assert {row["status"] for row in by_scope(run, name).values()} == statuses
    assert calls == [4, 2, 2, 4, 2, 2]


def test_a_distance_stays_where_a_part_of_the_clips_has_none(
    clips: list[Clip], tmp_path: Path, register: Callable[..., str]
) -> None:
    def whole(fake: Features, real: Features) -> Score:
        """Distance that asks for many clips."""
        if len(fake) < 8:
            raise ValueError("8 clips are needed")
        return distance(fake, real)

    options = RunOptions(reference=reference_file(tmp_path / "real.npz"))
    many = [Clip(f"c{number}", clip.video, prompt=Prompt(f"text {number}")) for number, clip in enumerate(clips * 2)]
    name = register("whole", whole)
    (row,) = by_scope(score_clips(many, tmp_path / "run", metrics=[name], options=options), name).values()
    assert row["status"] == "ok"
    assert json.loads(row["detail"])["no_interval"] == "undefined for a part of the prompts"


def test_what_is_missing_is_said_once(clips: list[Clip], tmp_path: Path, register: Callable[..., str]) -> None:
    name = register("colour_distance")
    run = score_clips(clips, tmp_path / "none", metrics=[name])
    (row,) = by_scope(run, name).values()
    assert (row["status"], row["scope"]) == ("skipped", "all")
    assert "no reference set" in row["reason"]
    pair = ReferenceSet.of_pair(np.zeros((2, 400), np.float32), np.zeros((2, 1024), np.float32), "fixed", "real")
    save_reference(tmp_path / "pair.npz", pair)
    run = score_clips(clips, tmp_path / "pair", metrics=[name], options=RunOptions(reference=tmp_path / "pair.npz"))
    (row,) = by_scope(run, name).values()
    assert row["reason"].startswith("real holds features of audioclip:1, i3d:1, the metric compares those of colours:1")


def test_features_of_another_width_are_an_error_and_not_dropped(
    clips: list[Clip], tmp_path: Path, register: Callable[..., str]
) -> None:
    name = register("colour_distance")
    options = RunOptions(reference=reference_file(tmp_path / "real.npz", columns=5))
    rows = by_scope(score_clips(clips, tmp_path / "run", metrics=[name], options=options), name)
    assert {row["reason"] for row in rows.values()} == {
        "features of clips have 3 columns, those of the reference set 5"
    }


def test_an_encoder_with_several_vectors_per_clip_is_no_encoder_of_sets(
    clips: list[Clip], tmp_path: Path, register: Callable[..., str]
) -> None:
    several = Encoder("frames", 1, NETWORK, lambda network, clips: [np.zeros((2, 3))] * len(clips), COLOURS.views)
    name = register("wide", encoder=several)
    options = RunOptions(reference=reference_file(tmp_path / "real.npz"))
    (row,) = by_scope(score_clips(clips, tmp_path / "run", metrics=[name], options=options), name).values()
    assert "encoder frames gives an array of shape (2, 3); a set metric compares one vector per clip" in row["reason"]
    source = Source(tmp_path, "clips", tuple(clips), "as given")
    with pytest.raises(EnvironmentProblem, match="one vector per clip"):
        make_reference(
            source, tmp_path / "x.npz", tmp_path / "work", suite=reference_suite([name]), options=RunOptions()
        )


def test_rows_of_an_earlier_run_serve_until_the_set_or_its_features_change(
    clips: list[Clip], tmp_path: Path, register: Callable[..., str]
) -> None:
    (scorer,) = registry_module.get_scorers([register("colour_distance")])
    shas = {clip.clip_id: str(index) * 64 for index, clip in enumerate(clips)}
    context = RunContext("run", "custom", "1")
    reference = load_reference(reference_file(tmp_path / "real.npz"))

    def rows_for(members: list[Clip], earlier: list[ScoreRow], fresh: bool = False) -> list[ScoreRow]:
        sets = SetInputs(folder, members, shas, context, reference, {}, Stopped())
        return score_sets(sets, [scorer], EarlierRows.of_rows(earlier), fresh=fresh)

    with RunFolder(tmp_path / "run") as folder:
        for index, sha in enumerate(shas.values()):
            folder.put_feature(COLOURS.feature_space(context.setup), sha, np.full(3, index, np.float32))
        first = rows_for(clips, [])
        assert [row.scope for row in first] == list(scopes(clips)) == [ALL, "Kind/even", "Kind/odd"]
        assert first[0].value == pytest.approx(3 * 1.5)
        assert first[0].clip_sha256 == set_digest(shas.values())
        assert rows_for(clips, first) == []
        assert rows_for(clips, first, fresh=True) == []  # computed again, and the same
        folder.put_feature(COLOURS.feature_space(context.setup), shas["c0"], np.full(3, 9, np.float32))
        assert [row.scope for row in rows_for(clips, first, fresh=True)] == [ALL, "Kind/even"]
        assert [row.scope for row in rows_for(clips[:3], first)] == [ALL, "Kind/odd"]  # the even ones are the same
