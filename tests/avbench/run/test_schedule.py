"""The order of clips and networks in one process, seen from the results of `score_jobs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Clip, Waveform
from avbench.encoders import Backbone, Encoder, EncoderStore
from avbench.errors import EnvironmentProblem
from avbench.metrics import Score
from avbench.metrics import base as registry_module
from avbench.metrics.base import scorer
from avbench.run.content import read_content
from avbench.run.jobs import ClipJob, ClipResult, RunContext, Stopped, steps_of
from avbench.run.schedule import SpoolLimit, score_jobs

VIEW = Waveform(rate=8000)
CONTEXT = RunContext("run", "custom", "1")
Log = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Three clips and a file that is none."""
    root = tmp_path_factory.mktemp("clips")
    made = []
    for seed in range(3):
        path = write_clip(
            root / f"c{seed}.mp4", draw_frames(seed, seconds=0.5, size=(48, 64)), draw_sound(seed, seconds=0.5)
        )
        made.append(Clip(path.stem, path))
    (root / "broken.mp4").write_bytes(b"no video")
    return [*made, Clip("broken", root / "broken.mp4")]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """`light` needs no network; `one`, `two` and `both` wait for large ones. What the networks do is logged."""
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module.registry()))
    events: Log = []

    def network(name: str) -> Encoder:
        def load(context: Any) -> str:
            events.append(("load", name))
            return name

        def run(_: Any, inputs: Any) -> list[Any]:
            events.append(("run", (name, len(inputs))))
            return [item.views[0].mean(axis=1) for item in inputs]

        return Encoder(name, 1, Backbone(name, load, packages=()), run, (VIEW,))

    first, second = network("first"), network("second")
    register("light")
    register("one", first)
    register("two", second)
    register("both", first, second)
    yield events


def register(name: str, *encoders: Encoder) -> None:
    def judge(media: Any, prompt: Any, store: EncoderStore) -> Score:
        """Mean of the sound."""
        values = [store.embed(encoder, media)[0] for encoder in encoders]
        return Score.ok(float(np.mean(values)) if values else 0.0)

    scorer(
        name, unit="1", higher_is_better=True, range=(-1.0, 1.0), source="test", needs=("audio",), encoders=encoders
    )(judge)  # fmt: skip


def jobs_for(clips: list[Clip], *metrics: str) -> list[ClipJob]:
    return [ClipJob(clip, read_content(clip), metrics, CONTEXT) for clip in clips]


def run(jobs: list[ClipJob], *, stopped: Stopped | None = None, spool: SpoolLimit | None = None) -> list[ClipResult]:
    store = EncoderStore(max_resident=1)
    return list(score_jobs(jobs, store, spool or SpoolLimit(), stopped or Stopped()))


def shape(results: list[ClipResult]) -> list[tuple[str, tuple[str, ...], bool, bool]]:
    return [(r.clip_row.clip_id, tuple(row.metric for row in r.rows), r.first, r.last) for r in results]


def test_clips_are_opened_in_order_and_networks_run_one_after_the_other(clips: list[Clip], log: Log) -> None:
    jobs = jobs_for(clips[:3], "light", "one", "two", "both")
    results = run(jobs)
    names = ("c0", "c1", "c2")
    assert shape(results) == [
        *((name, ("light",), True, False) for name in names),
        *((name, ("one",), False, False) for name in names),
        *((name, ("two", "both"), False, True) for name in names),
    ]
    assert log == [("load", "first"), ("run", ("first", 3)), ("load", "second"), ("run", ("second", 3))]
    assert [steps_of(job) for job in jobs] == [3, 3, 3]


def test_networks_are_brought_in_as_soon_as_inputs_exceed_their_limit(clips: list[Clip], log: Log) -> None:
    results = run(jobs_for(clips[:3], "one"), spool=SpoolLimit(max_bytes=0))
    assert [r.clip_row.clip_id for r in results] == ["c0", "c0", "c1", "c1", "c2", "c2"]
    assert log == [("load", "first"), *[("run", ("first", 1))] * 3]


def test_a_clip_that_cannot_be_read_has_all_its_rows_at_once(clips: list[Clip], log: Log) -> None:
    results = run(jobs_for([clips[3], clips[0]], "light", "one"))
    assert shape(results)[0] == ("broken", ("light", "one"), True, True)
    assert {row.status for row in results[0].rows} == {"error"}
    assert [row.status for result in results[1:] for row in result.rows] == ["ok", "ok"]


def test_a_result_is_there_before_the_next_clip_is_opened(clips: list[Clip], log: Log) -> None:
    opened: list[str] = []

    def watch(job: ClipJob | None) -> None:
        if job is not None and job.clip.clip_id not in opened:
            opened.append(job.clip.clip_id)

    results = score_jobs(jobs_for(clips[:3], "light"), EncoderStore(), SpoolLimit(), Stopped(), watch)
    for index, _ in enumerate(results):
        assert opened == ["c0", "c1", "c2"][: index + 1]


def test_a_metric_that_stopped_is_not_asked_for(clips: list[Clip], log: Log) -> None:
    stopped = Stopped({"one": "no memory"})
    results = run(jobs_for(clips[:2], "light", "one"), stopped=stopped)
    assert shape(results) == [("c0", ("light",), True, True), ("c1", ("light",), True, True)]
    assert log == []


def test_a_network_that_cannot_run_stops_its_metrics_and_no_other(
    clips: list[Clip], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(context: Any) -> None:
        raise EnvironmentProblem("no such device")

    register("lame", Encoder("lame", 1, Backbone("lame", load, packages=()), lambda network, clips: [], (VIEW,)))
    stopped = Stopped()
    results = run(jobs_for(clips[:3], "lame", "two"), stopped=stopped)
    assert stopped.reasons() == {"lame": "stopped: EnvironmentProblem: no such device"}
    assert [row.metric for result in results for row in result.rows] == ["two"] * 3
    assert [result.last for result in results][-3:] == [True] * 3
    assert results[-1].stopped == stopped.reasons()  # how a parent process learns of it


@pytest.mark.parametrize("results", [1, 4])
def test_closing_leaves_no_inputs_behind(clips: list[Clip], log: Log, tmp_path: Path, results: int) -> None:
    stream = score_jobs(jobs_for(clips[:3], "one"), EncoderStore(), SpoolLimit(tmp_path), Stopped())
    for _ in range(results):
        next(stream)
    assert len(list(tmp_path.iterdir())) == 1
    assert isinstance(stream, Iterator) and hasattr(stream, "close")
    stream.close()
    assert list(tmp_path.iterdir()) == []
