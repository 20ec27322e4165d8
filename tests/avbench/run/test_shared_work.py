"""What several metrics share is done once: counted on real runs over reduced networks, never inferred from time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
import soundfile
from synthetic import SOUND_RATE, draw_frames, draw_sound, write_clip

from avbench import Clip, Prompt, score_clips
from avbench.encoders import Backbone, LoadContext, WeightsConfig
from avbench.metrics.base import get_scorers
from avbench.run.options import RunOptions
from avbench.suites import get_suite

pytestmark = pytest.mark.long

torch = pytest.importorskip("torch")

SETUP = WeightsConfig("keyed-random-reduced")
OPENS = dict.fromkeys(["clip_0.mp4", "clip_1.mp4", "clip_2.mp4", "clip_2.wav", "clip_3.mp4"], 1)
# Metric values of one clip may differ in the last bits with the size of the batch that it is embedded in.
LAST_BITS = {"rtol": 1e-5, "atol": 2e-6}

# Places in each network whose calls are counted by the length of their first input.
PARTS = {
    "imagebind": {part: f"modality_trunks.{part}.blocks.0" for part in ("vision", "audio", "text")},
    "synchformer": {"vision": "vfeat_extractor", "audio": "afeat_extractor"},
    "clip_vit_b32": {"vision": "visual", "text": "token_embedding"},
    "clap_htsat_unfused": {"audio": "audio_model", "text": "text_model"},
    "audiobox_aesthetics": {"audio": "wavlm_model"},
    "videoalign": {"conversation": "model"},
}


@dataclass(frozen=True)
class Shape:
    """Length, frame size, and whether the sound lies in a WAV file."""

    seconds: float
    height: int
    width: int
    sidecar: bool = False


@dataclass
class Counts:
    """Opens of each media file, loads of each network, and items that entered each part of a network."""

    opens: Counter[str] = field(default_factory=Counter)
    loads: Counter[str] = field(default_factory=Counter)
    items: Counter[tuple[str, str]] = field(default_factory=Counter)

    def entered(self, network: str) -> dict[str, int]:
        """Items by part of one network."""
        return {part: count for (name, part), count in self.items.items() if name == network}


@dataclass
class Ran:
    """A finished run: its score table by clip and metric, and what it cost."""

    table: pd.DataFrame
    counts: Counts


def metrics_of(suite: str) -> list[str]:
    """Metrics of a suite that judge single clips."""
    return [scorer.name for scorer in get_scorers(get_suite(suite).metrics) if scorer.level == "clip"]


@contextmanager
def counting(metrics: Sequence[str]) -> Iterator[Counts]:
    """Count opens, loads and forwards meanwhile, in this process."""
    counts, open_container = Counts(), av.open

    def counted_open(file: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(file, str):
            counts.opens[Path(file).name] += 1
        return open_container(file, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(av, "open", counted_open)
        for backbone in dict.fromkeys(b for scorer in get_scorers(metrics) for b in scorer.backbones):
            # A frozen value: its attribute can be replaced in its dictionary only.
            patch.setitem(vars(backbone), "load", _counted_load(backbone, counts))
        yield counts


def _counted_load(backbone: Backbone, counts: Counts) -> Any:
    load = backbone.load

    def counted(context: LoadContext) -> Any:
        counts.loads[backbone.name] += 1
        network = load(context)
        # Some networks come with their tokenizer.
        module = next(m for m in (network, *vars(network).values()) if isinstance(m, torch.nn.Module))
        for part, place in PARTS.get(backbone.name, {}).items():
            hook = _counting_hook(counts, (backbone.name, part))
            module.get_submodule(place).register_forward_pre_hook(hook, with_kwargs=True)
        return network

    return counted


def _counting_hook(counts: Counts, key: tuple[str, str]) -> Any:
    def hook(_module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        counts.items[key] += len([*inputs, *named.values()][0])

    return hook


def run(clips: Sequence[Clip], out: Path, suite: str = "omninft-tables", **options: Any) -> Ran:
    """Score clips with the per-clip metrics of a suite into a new run folder."""
    metrics = metrics_of(suite)
    with counting(metrics) as counts:
        scores = score_clips(clips, out, metrics=metrics, options=RunOptions(setup=SETUP, **options)).scores
    assert set(scores["status"]) == {"ok"}, scores[scores["status"] != "ok"]["reason"].tolist()
    return Ran(scores.set_index(["clip_id", "metric"]).sort_index(), counts)


def assert_same_scores(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal clips, metrics, texts and digests; values and numbers in the details up to the last bits."""
    facts = ["status", "reason", "clip_sha256", "params_digest", "weights_digest", "metric_version"]
    pd.testing.assert_frame_equal(found[facts], expected[facts])
    np.testing.assert_allclose(found["value"], expected["value"], **LAST_BITS)


def draw(folder: Path, name: str, shape: Shape) -> Clip:
    """A drawn clip at 24 fps, no two frames of it alike."""
    seed = sum(name.encode())
    video, sidecar = folder / f"{name}.mp4", folder / f"{name}.wav" if shape.sidecar else None
    frames = draw_frames(seed, seconds=shape.seconds, size=(shape.height, shape.width))
    sound = draw_sound(seed, seconds=shape.seconds)
    write_clip(video, frames, None if sidecar else sound)
    if sidecar is not None:
        soundfile.write(sidecar, sound[0], SOUND_RATE)
    return Clip(name, video, sidecar, prompt=Prompt(text=f"{name} disc bounces", audio_text=f"{name} click"))


@pytest.fixture(scope="module")
def four_seconds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Clips of 4 s, each in a run of its own."""
    shapes = {"wide": Shape(4.0, 96, 128), "square": Shape(4.0, 96, 96), "sidecar": Shape(4.0, 112, 80, sidecar=True)}
    folder = tmp_path_factory.mktemp("four_seconds")
    return {name: run([draw(folder, name, shape)], folder / name) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Four short clips of different length and shape."""
    folder = tmp_path_factory.mktemp("clips")
    shapes = [Shape(1.0, 96, 128), Shape(2.2, 64, 64), Shape(0.8, 112, 80, sidecar=True), Shape(1.5, 64, 96)]
    return [draw(folder, f"clip_{number}", shape) for number, shape in enumerate(shapes)]


@pytest.fixture(scope="module")
def together(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All short clips in one run that keeps every network."""
    return run(clips, tmp_path_factory.mktemp("together"), max_resident=10)


@pytest.fixture(scope="module")
def alone(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    """Each short clip in a run of its own."""
    return [run([clip], tmp_path_factory.mktemp("alone")) for clip in clips]


def test_every_file_is_opened_once(four_seconds, together):
    assert four_seconds["wide"].counts.opens == {"wide.mp4": 1}
    assert four_seconds["sidecar"].counts.opens == {"sidecar.mp4": 1, "sidecar.wav": 1}
    assert together.counts.opens == OPENS


@pytest.mark.parametrize(("name", "pictures"), [("wide", 15 + 96), ("square", 5 + 96), ("sidecar", 15 + 96)])
def test_imagebind_sees_each_picture_once_and_reads_each_text_once(four_seconds, name, pictures):
    entered = four_seconds[name].counts.entered("imagebind")
    assert (entered["vision"], entered["text"]) == (pictures, 2)


def test_imagebind_hears_each_stretch_of_sound_once(four_seconds):
    # Of exactly 4 s the three clips of 2 s are three of the five windows. AAC ends a little later: then there is a
    # sixth window, and only the first and the last clip are windows.
    assert four_seconds["sidecar"].counts.entered("imagebind")["audio"] == 5
    assert four_seconds["wide"].counts.entered("imagebind")["audio"] == 3 + 6 - 2


def test_the_other_networks_embed_each_input_once(four_seconds):
    counts = four_seconds["sidecar"].counts
    assert counts.entered("synchformer") == {"vision": 11, "audio": 11}
    assert counts.entered("clip_vit_b32") == {"vision": 48, "text": 1}
    assert counts.entered("clap_htsat_unfused") == {"audio": 1, "text": 1}
    assert counts.entered("audiobox_aesthetics") == {"audio": 1}
    assert counts.entered("videoalign") == {"conversation": 1}


def test_clips_together_cost_what_they_cost_alone(together, alone):
    assert together.counts.items == sum((ran.counts.items for ran in alone), Counter())


def test_equal_frames_are_embedded_once(tmp_path):
    frames = np.repeat(draw_frames(5, seconds=2.0, size=(64, 96))[::12], 24, axis=0)  # 4 s, a new picture each second
    clip = Clip("still", write_clip(tmp_path / "still.mkv", frames, draw_sound(5, seconds=4.0), codec="ffv1"))
    with counting(["avh_score"]) as counts:
        score_clips([clip], tmp_path / "run", metrics=["avh_score"], options=RunOptions(setup=SETUP))
    assert counts.entered("imagebind")["vision"] == 4


def test_networks_are_loaded_once_per_run_and_residence_changes_no_score(clips, together, tmp_path):
    ran = run(clips, tmp_path, max_resident=1)
    networks = {b.name for scorer in get_scorers(metrics_of("omninft-tables")) for b in scorer.backbones}
    assert ran.counts.loads == together.counts.loads == dict.fromkeys(networks, 1)
    pd.testing.assert_series_equal(ran.table["value"], together.table["value"])


def test_scores_do_not_depend_on_which_clips_share_a_batch(together, alone):
    assert_same_scores(pd.concat([ran.table for ran in alone]).sort_index(), together.table)


def test_a_tiny_spool_changes_no_score_and_repeats_no_forward(clips, together, tmp_path):
    ran = run(clips, tmp_path, spool_bytes=1)
    assert_same_scores(ran.table, together.table)
    assert (ran.counts.items, ran.counts.opens) == (together.counts.items, together.counts.opens)
    assert not list(tmp_path.rglob("*.raw"))


def test_with_a_warm_cache_no_network_is_loaded_and_no_clip_is_opened(clips, together, tmp_path):
    cache = tmp_path / "cache"
    cold = run(clips, tmp_path / "cold", cache=cache)
    warm = run(clips, tmp_path / "warm", cache=cache)
    assert cold.counts.loads
    assert (warm.counts.loads, warm.counts.opens, warm.counts.items) == (Counter(), Counter(), Counter())
    pd.testing.assert_frame_equal(warm.table[["value", "detail"]], cold.table[["value", "detail"]])


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(clips, together, tmp_path):
    ran = run(clips, tmp_path, workers=2)
    assert not ran.counts.loads
    assert_same_scores(ran.table, together.table)


@pytest.mark.slow
def test_javisbench_opens_each_file_once_and_shares_its_networks(clips, together, tmp_path):
    ran = run(clips, tmp_path, suite="javisbench", max_resident=1)
    assert ran.counts.opens == OPENS
    assert set(ran.counts.loads.values()) == {1}
    assert ran.counts.entered("imagebind") == together.counts.entered("imagebind")
