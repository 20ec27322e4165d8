"""The miniature as a generator: the same network from the same seed, and what is said when there is nothing to load."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.miniature import backbone as module
from omninft_train.miniature.backbone import (
    META,
    WEIGHTS,
    MiniatureBackbone,
    Size,
    architecture_digest,
    build_transformer,
    weights_digest,
)
from omninft_train.miniature.codec import SOLO
from omninft_train.miniature.pretrain import PretrainOptions, pretrained
from omninft_train.miniature.render import render_scenes
from omninft_train.miniature.words import FEATURES, LENGTH, embed
from omninft_train.miniature.world import VERSION, draw_scene
from omninft_train.miniature.worlds import WORLDS
from omninft_train.models.latents import Latents
from omninft_train.models.policy import FullPolicy

TINY = Size(blocks=2, heads=2, video_width=32, audio_width=16)
GEOMETRY = SOLO.geometry
PROMPTS = ["a small red circle bounces slowly", "large blue square", "a small red circle bounces slowly"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a pretraining of a single step."""
    return pretrained(tmp_path_factory.mktemp("pretrainings"), PretrainOptions(steps=1, batch=2, size=TINY))


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def change_meta(folder: Path, **changes: object) -> None:
    meta = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(meta | changes))


def raise_version(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(WORLDS["miniature"], identity=VERSION + 1)
    monkeypatch.setattr(module, "WORLDS", {**WORLDS, "miniature": changed})


def velocity(backbone: MiniatureBackbone) -> Latents:
    policy = FullPolicy(backbone.transformer, backbone.geometry)
    noise = backbone.geometry.noise([1, 2, 3])
    return policy.velocity("reference", noise, torch.tensor([1.0, 0.5, 0.1]), backbone.condition(PROMPTS))


def test_this_version_of_the_world_means_what_it_meant():
    # Pretrained weights are refused by their version alone: where this fails, raise VERSION and take new figures.
    latents = SOLO.encode(render_scenes([draw_scene(seed) for seed in range(4)]))
    words = embed(["a small red circle bounces slowly"]).video
    found = [float(part.abs().mean()) for part in (latents.video, latents.audio, words)]
    assert (VERSION, found) == (1, pytest.approx([0.69542, 0.63412, 0.48876], rel=1e-3))


def test_a_seed_decides_the_weights_and_leaves_other_random_numbers_alone():
    state = torch.random.get_rng_state()
    first, again, other = (build_transformer(TINY, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_network_has_the_size_that_is_asked_for():
    transformer = build_transformer(Size(blocks=3, heads=2, video_width=32, audio_width=16), 0)
    assert len(transformer.transformer_blocks) == 3
    assert transformer.proj_in.weight.shape == (32, GEOMETRY.video_channels)
    assert transformer.audio_proj_in.weight.shape == (16, GEOMETRY.audio_channels)


@pytest.mark.parametrize(
    "wrong", [{"video_width": 100, "heads": 8}, {"audio_width": 6, "heads": 2}, {"video_width": 0}, {"audio_width": -8}]
)
def test_widths_that_heads_do_not_divide_are_refused(wrong: dict[str, int]):
    name = next(key for key in wrong if key.endswith("width"))
    with pytest.raises(UsageError, match=f"{name} = {wrong[name]}: must be a multiple of 2 x heads = "):
        Size(**wrong)


@pytest.mark.parametrize("wrong", [{"blocks": 0}, {"heads": 0}, {"heads": -4}])
def test_sizes_below_one_are_refused(wrong: dict[str, int]):
    with pytest.raises(UsageError, match="must be at least 1"):
        Size(**wrong)


def test_the_digest_of_an_architecture_follows_size_and_version(monkeypatch: pytest.MonkeyPatch):
    base = Size(blocks=2, heads=2, video_width=32, audio_width=16)
    changes = [{}, {"blocks": 3}, {"heads": 4}, {"video_width": 64}, {"audio_width": 32}]
    sizes = [replace(base, **change) for change in changes]
    digests = [architecture_digest(size) for size in sizes]
    assert len(set(digests)) == len(sizes)
    raise_version(monkeypatch)
    assert architecture_digest(base) not in digests


def test_conditioning_is_that_of_the_words_once_per_prompt(monkeypatch: pytest.MonkeyPatch):
    backbone = MiniatureBackbone.untrained(TINY)
    asked: list[str] = []

    def counted(prompts: list[str]):
        asked.extend(prompts)
        return embed(prompts)

    monkeypatch.setattr(backbone, "world", replace(backbone.world, embed=counted))
    condition = backbone.condition(PROMPTS)
    assert condition.video.shape == condition.audio.shape == (3, LENGTH, FEATURES)
    assert torch.equal(condition.video, embed(PROMPTS).video)
    backbone.condition(PROMPTS[:1])
    assert sorted(asked) == sorted(set(PROMPTS))
    assert backbone.negative().video.shape == (1, LENGTH, FEATURES)
    assert not backbone.negative().video.any()
    with pytest.raises(UsageError, match="no word 'purple'"):
        backbone.condition(["a purple circle"])


def test_prompts_change_velocities_of_their_own_rollout_alone():
    backbone = MiniatureBackbone.untrained(TINY)
    policy, noise, t = FullPolicy(backbone.transformer, GEOMETRY), GEOMETRY.noise([1, 2]), torch.tensor([0.7, 0.7])
    both = policy.velocity("reference", noise, t, backbone.condition(["red circle", "blue square"]))
    other = policy.velocity("reference", noise, t, backbone.condition(["red circle", "green square"]))
    assert both.video.shape == noise.video.shape and both.audio.shape == noise.audio.shape
    torch.testing.assert_close(both.video[0], other.video[0])
    assert (both.video[1] - other.video[1]).abs().max() > 1e-4
    assert (both.audio[1] - other.audio[1]).abs().max() > 1e-4


def test_the_streams_hear_and_see_each_other():
    backbone = MiniatureBackbone.untrained(TINY)
    policy, noise, t = FullPolicy(backbone.transformer, GEOMETRY), GEOMETRY.noise([1]), torch.tensor([0.7])
    condition = backbone.condition(["red circle"])
    plain = policy.velocity("reference", noise, t, condition)
    louder = policy.velocity("reference", Latents(noise.video, 2 * noise.audio), t, condition)
    brighter = policy.velocity("reference", Latents(2 * noise.video, noise.audio), t, condition)
    assert (plain.video - louder.video).abs().max() > 1e-5
    assert (plain.audio - brighter.audio).abs().max() > 1e-5


def test_latents_are_decoded_to_clips():
    backbone = MiniatureBackbone.untrained(TINY)
    clips = backbone.decode(SOLO.encode(render_scenes([draw_scene(1), draw_scene(2)])))
    assert len(clips) == 2 and backbone.kind == "miniature" and backbone.geometry == GEOMETRY


def test_a_pretraining_is_loaded_as_it_was_saved(trained: Path):
    first, again = MiniatureBackbone.load(trained), MiniatureBackbone.load(trained)
    assert first.digest == again.digest == PretrainOptions(steps=1, batch=2, size=TINY).digest
    assert not first.transformer.training
    one, other = velocity(first), velocity(again)
    assert torch.equal(one.video, other.video) and torch.equal(one.audio, other.audio)
    assert not torch.equal(velocity(first).video, velocity(MiniatureBackbone.untrained(TINY, seed=1)).video)


def test_a_folder_without_a_pretraining_is_named(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match="no pretrained miniature") as caught:
            MiniatureBackbone.load(folder)
        assert str(folder) in str(caught.value) and "backbone.path" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "", "[]", "3", "null", '{"digest": "x"}', '"architecture digest size"'])
def test_a_meta_file_of_something_else_is_refused(folder: Path, text: str):
    (folder / META).write_text(text)
    with pytest.raises(UsageError, match=META):
        MiniatureBackbone.load(folder)


@pytest.mark.parametrize("size", [None, {}, {"blocks": 3, "depth": 2}, {"blocks": "many"}, {"heads": 5}, [1, 2]])
def test_a_size_that_is_none_is_refused(folder: Path, size: object):
    change_meta(folder, size=size)
    with pytest.raises(UsageError):
        MiniatureBackbone.load(folder)


def test_weights_of_another_version_of_the_world_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    raise_version(monkeypatch)
    with pytest.raises(UsageError, match=r"another version of the miniature world .* Pretrain again"):
        MiniatureBackbone.load(folder)


def damage_missing(path: Path) -> None:
    path.unlink()


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_garbage(path: Path) -> None:
    path.write_bytes(b"not weights at all")


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_missing, damage_cut, damage_garbage, damage_empty])
def test_weights_that_cannot_be_read_are_a_problem_of_the_environment(folder: Path, damage):
    damage(folder / WEIGHTS)
    with pytest.raises(EnvironmentProblem, match=f"{WEIGHTS}: (cannot be read|is damaged) .* Pretrain again") as caught:
        MiniatureBackbone.load(folder)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_a_problem_of_the_environment(folder: Path):
    from safetensors.torch import save_file

    save_file(
        build_transformer(Size(blocks=1, heads=2, video_width=16, audio_width=16), 0).state_dict(), folder / WEIGHTS
    )
    with pytest.raises(EnvironmentProblem, match=f"{WEIGHTS}: is damaged"):
        MiniatureBackbone.load(folder)
    meta = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(meta | {"weights_sha256": weights_digest(folder)}))
    with pytest.raises(EnvironmentProblem, match=f"{WEIGHTS}: cannot be read"):
        MiniatureBackbone.load(folder)
