"""Runs with networks: stopping, resuming, protocols, set metrics, test weights. Networks are small stand-ins."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Category, Clip, Prompt, Waveform, score_clips, scorer
from avbench.encoders import Backbone, Encoder, WeightsConfig
from avbench.errors import EnvironmentProblem, UsageError
from avbench.metrics import Score
from avbench.metrics import base as registry_module
from avbench.run.options import RunOptions
from avbench.run.protocol import PROTOCOLS
from avbench.run.reference_sets import ReferenceSet, save_reference
from avbench.sources import Source
from avbench.suites import Suite

VIEW = Waveform(rate=8000)
METADATA = {"unit": "1", "higher_is_better": True, "range": (-1e9, 1e9), "source": "test", "needs": ["audio"]}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Five drawn clips with prompts and two categories."""
    root = tmp_path_factory.mktemp("clips")
    found = []
    for seed in range(5):
        path = root / f"c{seed}.mp4"
        write_clip(path, draw_frames(seed, seconds=1.5, size=(48, 64)), draw_sound(seed, seconds=1.5))
        label = Category("Sound Type", "Speech sounds" if seed % 2 else "Ambient sounds")
        found.append(Clip(path.stem, path, prompt=Prompt("a ball", prompt_id=str(seed)), categories=(label,)))
    return found


@pytest.fixture
def network(monkeypatch):
    """Registers a metric `mean_<name>` on a network of its own; what happens to it is logged."""
    registry_module.registry()
    log = []

    def make(name, run=None, load=None):
        def load_network(context):
            log.append(("load", name))
            return (load or (lambda context: name))(context)

        def forward(network, inputs):
            log.append(("run", name, len(inputs)))
            return (run or (lambda inputs: [x.views[0].mean(axis=1) for x in inputs]))(inputs)

        encoder = Encoder(name, 1, Backbone(name, load_network, packages=()), forward, (VIEW,))

        def mean(media, prompt, store):
            """Mean of the sound."""
            return Score.ok(float(store.embed(encoder, media)[0]))

        entry = scorer(f"mean_{name}", family="test", encoders=(encoder,), **METADATA)(mean)
        monkeypatch.setitem(registry_module._REGISTRY, f"mean_{name}", entry)
        return f"mean_{name}"

    before = dict(registry_module._REGISTRY)
    yield make, log
    registry_module._REGISTRY.clear()
    registry_module._REGISTRY.update(before)


def test_each_network_is_loaded_once_even_when_only_one_fits(clips, tmp_path, network):
    make, log = network
    names = [make("one"), make("two"), make("three")]
    run = score_clips(clips, tmp_path, metrics=names, options=RunOptions(max_resident=1))
    assert set(run.scores["status"]) == {"ok"}
    assert [entry for entry in log if entry[0] == "load"] == [("load", "one"), ("load", "two"), ("load", "three")]
    assert not list(tmp_path.glob(".spool-*"))


def test_little_room_gives_the_same_table(clips, tmp_path, network):
    make, log = network
    names = [make("one"), make("two")]
    wide = score_clips(clips, tmp_path / "a", metrics=names).scores
    narrow = score_clips(clips, tmp_path / "b", metrics=names, options=RunOptions(max_resident=1, spool_bytes=1)).scores
    drop = ["seconds", "run_id"]
    assert_frame_equal(wide.drop(columns=drop), narrow.drop(columns=drop), check_exact=True)
    assert log.count(("load", "one")) == 6  # once with room, then for each clip


def test_out_of_memory_stops_one_metric_and_the_others_go_on(clips, tmp_path, network):
    make, _ = network

    def too_large(context):
        raise RuntimeError("CUDA out of memory. Tried to allocate 3 GiB")

    names = [make("huge", load=too_large), make("small")]
    scores = score_clips(clips, tmp_path, metrics=names).scores
    huge, small = scores[scores.metric == "mean_huge"], scores[scores.metric == "mean_small"]
    assert set(small["status"]) == {"ok"}
    assert len(huge) == len(clips)
    assert huge["value"].isna().all()
    assert huge["reason"].str.contains("huge does not fit on cpu").all()


def test_a_network_that_fails_on_one_clip_costs_that_clip(clips, tmp_path, network):
    make, _ = network

    def picky(inputs):
        if any(x.views[0].shape[1] and abs(x.views[0]).max() == worst for x in inputs):
            raise ValueError("cannot hear this")
        return [x.views[0].mean(axis=1) for x in inputs]

    from avbench.media import decode_clip

    worst = max(float(abs(decode_clip(clip, "k", [VIEW]).view(VIEW)).max()) for clip in clips)
    scores = score_clips(clips, tmp_path, metrics=[make("picky", run=picky)]).scores
    assert sorted(scores["status"]) == ["error", "ok", "ok", "ok", "ok"]
    assert scores.loc[scores["status"] == "error", "reason"].item() == "ValueError: cannot hear this"


def test_nan_from_a_network_is_a_status(clips, tmp_path, network):
    make, _ = network
    name = make("shaky", run=lambda inputs: [np.array([np.nan]) for _ in inputs])
    scores = score_clips(clips, tmp_path, metrics=[name]).scores
    assert scores["value"].isna().all()
    assert set(scores["status"]) == {"error"}
    assert set(scores["reason"]) == {"non-finite: shaky gave NaN or infinite values"}


def test_a_stopped_run_goes_on_after_the_network_that_was_done(clips, tmp_path, network):
    make, log = network
    first = make("one")

    def interrupt(inputs):
        raise KeyboardInterrupt

    second = make("two", run=interrupt)
    with pytest.raises(KeyboardInterrupt):
        score_clips(clips, tmp_path, metrics=[first, second])
    assert len((tmp_path / "scores.jsonl").read_text().splitlines()) == len(clips)
    log.clear()
    scores = score_clips(clips, tmp_path, metrics=[first, make("two")]).scores
    assert set(scores["status"]) == {"ok"}
    assert ("load", "one") not in log


def test_without_checkpoints_every_learned_metric_says_what_to_get(clips, tmp_path):
    scores = score_clips(
        clips[:1], tmp_path, suite="javisbench", options=RunOptions(setup=WeightsConfig(weights_dir=tmp_path))
    )
    learned = scores.scores[scores.scores["metric"] != "av_align"]
    assert set(learned["status"]) == {"skipped"}
    assert learned["value"].isna().all()
    assert learned["reason"].str.contains("avbench models (?:pull|accept)|not installed").all()


def test_the_protocol_cuts_the_clip_and_is_part_of_the_key(clips, tmp_path, network):
    make, _ = network
    seen = []

    def measure(inputs):
        seen.extend(x.views[0].shape[1] for x in inputs)
        return [x.views[0].mean(axis=1) for x in inputs]

    name = make("one", run=measure)
    PROTOCOLS["one-second"] = type(PROTOCOLS["javisbench-4s"])("one-second", 1.0)
    try:
        whole = score_clips(clips[:1], tmp_path / "whole", metrics=[name])
        options = RunOptions(protocol=PROTOCOLS["one-second"])
        run = score_clips(clips[:1], tmp_path / "cut", metrics=[name], options=options)
        with pytest.raises(UsageError, match="begun with protocol none"):
            score_clips(clips[:1], tmp_path / "whole", metrics=[name], options=options)
    finally:
        del PROTOCOLS["one-second"]
    assert seen[0] > 11_000  # 1.5 s, and what AAC pads
    assert seen[1:] == [8000]
    assert set(whole.scores["params_digest"]).isdisjoint(run.scores["params_digest"])
    assert run.clips["duration"].item() == pytest.approx(1.0, abs=0.05)
    assert any("only the first 1 s" in note for note in run.info["notes"])


def test_precision_and_weights_are_part_of_the_key():
    from avbench.metrics.base import get_scorers

    clip_score = get_scorers(["clip_score"])[0]
    setups = [
        WeightsConfig("keyed-random"),
        WeightsConfig("keyed-random-reduced"),
        WeightsConfig("keyed-random", precision="bf16"),
    ]
    assert len({clip_score.weights_digest(setup) for setup in setups}) == 3


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("reference") / "real.npz"
    video, audio = (generator.standard_normal((6, columns)).astype(np.float32) for columns in (400, 1024))
    save_reference(path, ReferenceSet.of_pair(video, audio, "fixed", "made for the test", tuple("012345")))
    return path


@pytest.mark.long
def test_set_metrics_have_one_row_for_all_clips_and_one_per_category(clips, tmp_path, reference):
    pytest.importorskip("torch")
    source = Source(tmp_path, "clips", tuple(clips), "as given")
    options = RunOptions(setup=WeightsConfig("keyed-random-reduced"), reference=reference)
    run = score_clips(source, tmp_path / "run", metrics=["fvd", "kvd", "fad", "fvd_compat"], options=options)
    rows = run.scores.set_index(["metric", "scope"])
    for metric in ("fvd", "kvd", "fad"):
        assert rows.loc[(metric, "all"), "status"] == "ok"
        assert rows.loc[(metric, "Sound Type/Ambient sounds"), "status"] == "ok"
        assert json.loads(rows.loc[(metric, "all"), "detail"])["clips"] == 5
    assert rows.loc[("fvd_compat", "all"), "status"] == "skipped"
    assert "mode" in rows.loc[("fvd_compat", "all"), "reason"]
    assert run.scores["clip_id"].isna().all()

    log = (tmp_path / "run" / "scores.jsonl").read_bytes()
    again = score_clips(source, tmp_path / "run", metrics=["fvd", "kvd", "fad", "fvd_compat"], options=options)
    assert (tmp_path / "run" / "scores.jsonl").read_bytes() == log
    assert_frame_equal(again.scores, run.scores)

    fewer = Source(tmp_path, "clips", tuple(clips[:3]), "as given")
    other = score_clips(fewer, tmp_path / "run", metrics=["fvd"], options=options).scores.set_index("scope")
    assert json.loads(other.loc["all", "detail"])["clips"] == 3
    assert other.loc["all", "value"] != rows.loc[("fvd", "all"), "value"]


def test_test_weights_are_marked_wherever_numbers_are_shown(clips, tmp_path, avbench):
    pytest.importorskip("torch")
    done = avbench(
        "score", clips[0].video.parent, "-o", tmp_path / "run", "-m", "aq", "--weights", "keyed-random-reduced",
        "--no-cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "TEST WEIGHTS" in done.stdout
    assert "TEST WEIGHTS" in (tmp_path / "run" / "report.html").read_text()
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["weights"] == "keyed-random-reduced"
    assert any("mean nothing" in note for note in info["notes"])


def test_two_transcribers_never_share_a_folder(clips, tmp_path):
    def score(transcriber, metric):
        setup = WeightsConfig(weights_dir=tmp_path, transcriber=transcriber)
        return score_clips(clips[:1], tmp_path, metrics=[metric], options=RunOptions(setup=setup))

    assert score("whisper_base", "wer").info["transcriber"] == "whisper_base"
    assert score("whisper_large_v3", "loudness").info["transcriber"] == "whisper_base"
    with pytest.raises(UsageError, match="begun with transcriber whisper_base, and whisper_large_v3 is asked for"):
        score("whisper_large_v3", "cer")


def test_real_and_test_weights_never_share_a_folder(clips, tmp_path):
    pytest.importorskip("torch")
    options = RunOptions(setup=WeightsConfig("keyed-random-reduced"))
    score_clips(clips[:1], tmp_path, metrics=["aq"], options=options)
    for metrics in (["loudness"], ["aq"]):
        with pytest.raises(UsageError, match="begun with weights keyed-random-reduced"):
            score_clips(clips[:1], tmp_path, metrics=metrics)


@pytest.mark.long
def test_a_reference_set_is_made_from_real_clips_and_used(clips, tmp_path, avbench):
    pytest.importorskip("torch")
    folder, weights = clips[0].video.parent, ("--weights", "keyed-random-reduced")
    made = avbench("reference", folder, "-o", tmp_path / "real.npz", "--run", tmp_path / "work", *weights)
    assert made.returncode == 0, made.stderr
    assert "features of 5 of 5 clips, mode fixed" in made.stdout
    command = ("score", folder, "-o", tmp_path / "run", "-m", "fvd,fad", "--reference", tmp_path / "real.npz", "--json")
    done = avbench(*command, "--no-cache", *weights)
    assert done.returncode == 0, done.stderr
    values = {entry["metric"]: entry["mean"] for entry in json.loads(done.stdout)["overall"]}
    # The clips against themselves: no distance, up to rounding of a root.
    assert values["fvd"] == pytest.approx(0.0, abs=1e-3)
    assert values["fad"] == pytest.approx(0.0, abs=1e-1)


def test_a_reference_cannot_be_made_without_weights(clips, tmp_path):
    from avbench.run.make_reference import make_reference, reference_suite

    source = Source(tmp_path, "clips", tuple(clips), "as given")
    with pytest.raises(EnvironmentProblem, match=r"weights missing|not installed"):
        make_reference(source, tmp_path / "r.npz", tmp_path / "run", suite=reference_suite(), options=RunOptions())


def test_a_suite_version_follows_its_modes():
    fixed, compat = Suite("s", "", ("clip_score",)), Suite("s", "", ("clip_score_compat",))
    assert fixed.version != compat.version
