"""Recipes: every one loads, prints as TOML that loads as the same, and what is wrong is named."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from flattened import flat
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.config import build
from avbench.toml import Origin
from omninft_train.cli import options
from omninft_train.config import Config
from omninft_train.config_checks import check
from omninft_train.errors import UsageError
from omninft_train.method.advantages import AdvantageOptions
from omninft_train.method.losses import LossOptions
from omninft_train.method.surgery import SurgeryRule
from omninft_train.recipe import load, to_toml
from omninft_train.recipes import BACKBONES, RECIPES, VARIANTS
from omninft_train.rewards.spec import RewardSpec

PRESETS = ("release", "release-exact", "paper")


def file(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def reloaded(text: str, folder: Path, overrides: tuple[str, ...] = ()) -> Config:
    return load(file(folder, text), None, overrides)


@pytest.mark.parametrize(("recipe", "backbone", "preset"), list(product(RECIPES, BACKBONES, PRESETS)))
def test_every_recipe_loads_and_prints_as_itself(recipe: str, backbone: str, preset: str, tmp_path: Path):
    config = load(recipe, backbone, [f"preset={preset}"])
    assert (config.preset, config.backbone.kind) == (preset, backbone)
    assert reloaded(to_toml(config), tmp_path) == config
    assert (
        build(Config, dataclasses.asdict(config), Origin("meta.json")) == config
    )  # as it comes back from a checkpoint


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_was_printed_is_printed_alike(backbone: str, tmp_path: Path):
    text = to_toml(load("omninft", backbone))
    assert to_toml(reloaded(text, tmp_path)) == text


@pytest.mark.parametrize(
    ("recipe", "mode", "surgery", "regions"),
    [
        ("vanilla", "scalar", False, False),
        ("gdpo", "gdpo", False, False),
        ("omninft-routing", "routed", False, False),
        ("omninft-routing-surgery", "routed", True, False),
        ("omninft", "routed", True, True),
    ],
)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_recipes_switch_on_one_mechanism_after_the_other(recipe, mode, surgery, regions, backbone):
    config = load(recipe, backbone)
    assert (config.advantages.mode, config.surgery.enabled, config.regions.enabled) == (mode, surgery, regions)
    # Nothing else differs, so that runs of two recipes can be compared.
    off = ["surgery.enabled=false", "regions.enabled=false", "advantages.mode=gdpo"]
    assert load(recipe, backbone, off) == load("gdpo", backbone)


def test_help_names_every_recipe_and_backbone_that_is_shipped():
    folder = files("omninft_train") / "recipes"
    for names, where, option in (
        (RECIPES, folder, options.Recipe),
        ((*BACKBONES, *VARIANTS), folder / "backbones", options.BackboneName),
    ):
        assert {f"{name}.toml" for name in names} == {p.name for p in where.iterdir() if p.name.endswith(".toml")}
        text = typing.get_args(option)[1].help
        assert set(names) <= set(re.split("[,;] ", text)), text


@pytest.mark.parametrize("backbone", BACKBONES)
def test_recipes_of_other_methods_set_what_these_tell(backbone: str):
    plain, nft, marble, arr = (
        flat(dataclasses.asdict(load(recipe, backbone))) for recipe in ("vanilla", "diffusionnft", "marble", "arr")
    )
    assert {key: value for key, value in arr.items() if plain[key] != value} == {
        "advantages.mode": "routed", "advantages.std": "group", "arr.enabled": True, "loss.branches": "sum",
        "loss.clip_over_beta": False, "loss.kl_space": "velocity", "loss.space": "velocity",
    }  # fmt: skip
    levels = {"levels.choice": "random"} if backbone == "ltx2" else {}
    objective = {"loss.beta": 0.1, "loss.kl_space": "velocity"}
    assert {key: value for key, value in nft.items() if plain[key] != value} == {
        "levels.fraction": 0.99, **levels, **objective
    }  # fmt: skip
    assert {key: value for key, value in marble.items() if plain[key] != value} == {
        "advantages.mode": "gdpo", "loss.beta": 0.1, "marble.enabled": True
    }  # fmt: skip


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_the_paper_says_instead(backbone: str):
    release, exact, paper = (
        flat(dataclasses.asdict(load("omninft", backbone, [f"preset={preset}"]))) for preset in PRESETS
    )
    changed = {key: value for key, value in paper.items() if release[key] != value}
    # The miniature's file has a first block and a warm-up of its own, which win over the preset's.
    regions = {"regions.first_block": pytest.approx(10 / 48, abs=1e-3), "regions.weights.warmup_steps": 0}
    assert changed == {
        "preset": "paper",
        "advantages.std": "group",
        "advantages.per": "modality",
        "loss.kl_space": "velocity",
        "surgery.preset": "paper",
        "regions.window": (0.5, 1.0),
        "regions.weights.form": "minmax",
        "regions.weights.maximum": 2.5,
        **(regions if backbone == "ltx2" else {}),
    }
    assert int(paper["regions.first_block"] * 48) == (10 if backbone == "ltx2" else 24)
    assert {key: value for key, value in exact.items() if release[key] != value} == {
        "preset": "release-exact",
        "loss.adaptive_weight_grad": True,
        "regions.rope": False,
        "regions.passes": "all",
    }


def test_layers_win_in_their_order(tmp_path: Path):
    text = 'recipe = "gdpo"\npreset = "paper"\n[advantages]\nstd = "batch"\n[run]\nsteps = 7\nseed = 1\n'
    config = reloaded(text, tmp_path, ("run.seed=2", "run.seed=3"))
    # The file wins over the preset, which otherwise holds.
    assert config.advantages == AdvantageOptions(mode="gdpo", std="batch", per="modality")
    assert config.loss.kl_space == "velocity"
    assert (config.run.steps, config.run.seed) == (7, 3)
    assert config.run.probe_every == load("gdpo").run.probe_every  # of the backbone
    assert reloaded(text, tmp_path, ("preset=release",)).loss.kl_space == LossOptions().kl_space


def test_an_own_file_without_a_recipe_builds_on_defaults(tmp_path: Path):
    config = reloaded("[run]\nsteps = 3\n", tmp_path)
    assert config.run.steps == 3 and config.backbone.kind == "miniature"
    assert config.advantages == AdvantageOptions()


def test_an_own_file_names_its_backbone(tmp_path: Path):
    text = 'recipe = "omninft"\n[backbone]\nkind = "ltx2"\n'
    config = reloaded(text, tmp_path)
    assert config == load("omninft", "ltx2")
    with pytest.raises(UsageError, match=r"backbone\.kind = 'ltx2', but the recipe is laid out for 'miniature'"):
        load(file(tmp_path, text), "miniature")
    with pytest.raises(UsageError, match="Name the backbone"):
        load("omninft", None, ["backbone.kind=ltx2"])


def test_lists_of_an_own_file_replace_those_of_the_backbone(tmp_path: Path):
    text = '[[rewards.reward]]\nscorer = "clap"\nweight = 2\nroute = "audio"\nclamp = [0, 1]\n'
    assert reloaded(text, tmp_path).rewards.reward == (RewardSpec("clap", 2.0, "audio", clamp=(0.0, 1.0)),)
    rules = '[[surgery.rules]]\nblocks = "0-3"\nkeep = 0\n\n[[surgery.rules]]\nblocks = ">2"\nkeep = 0.5\n'
    assert reloaded(rules, tmp_path).surgery.rules == (SurgeryRule("0-3", 0.0), SurgeryRule(">2", 0.5))


# --set


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("run.steps=5", "run.steps", 5),
        (" run.steps = 5 ", "run.steps", 5),
        ("optimizer.lr=3e-5", "optimizer.lr", 3e-5),
        ("optimizer.lr=1", "optimizer.lr", 1.0),
        ("surgery.enabled=true", "surgery.enabled", True),
        ("backbone.path=/data/a b=c/model", "backbone.path", "/data/a b=c/model"),
        ('backbone.path="3"', "backbone.path", "3"),
        ("backbone.path=", "backbone.path", ""),
        ("run.mirror=package.module:name", "run.mirror", "package.module:name"),
        ("optimizer.betas=[0.5, 0]", "optimizer.betas", (0.5, 0.0)),
        ("prompts.class_weights={dog = 1, 'the cat' = 2}", "prompts.class_weights", {"dog": 1.0, "the cat": 2.0}),
        ("prompts.class_weights.dog=3", "prompts.class_weights", {"dog": 3.0}),
        ("sampling.guidance.stg_blocks=[1, 2]", "sampling.guidance.stg_blocks", (1, 2)),
        ("rewards.reward=[{scorer='a', weight=1, route='both'}]", "rewards.reward", (RewardSpec("a", 1.0, "both"),)),
    ],
)
def test_overrides_are_toml_and_bare_words(text: str, path: str, value: object):
    found: Any = load("gdpo", None, [text])
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value and type(found) is type(value)


WRONG = {
    "run.stepz=5": "unknown key 'run.stepz'. Did you mean steps?",
    "rum.steps=5": "unknown key 'rum'. Did you mean run?",
    "recipe=gdpo": "unknown key 'recipe'.",
    "xyz=1": "unknown key 'xyz'. Known: preset, run,",
    "run=5": "run = 5: expected a table.",
    "run.steps.more=5": "run.steps = {more = 5}: expected a whole number of at least 1.",
    "run.steps=many": 'run.steps = "many": expected a whole number of at least 1.',
    "run.steps=5.0": "run.steps = 5.0: expected a whole number of at least 1.",
    "run.steps=true": "run.steps = true: expected a whole number of at least 1.",
    "optimizer.lr=true": "optimizer.lr = true: expected a number above 0.",
    "optimizer.betas=0.9": "optimizer.betas = 0.9: expected a list of 2 numbers.",
    "optimizer.betas=[0.9]": "optimizer.betas = [0.9]: expected a list of 2 numbers.",
    "optimizer.betas=[0.9, 'x']": 'optimizer.betas[1] = "x": expected a number of at least 0 and below 1.',
    "surgery.enabled=1": "surgery.enabled = 1: expected true or false.",
    "surgery.preset=deeper": 'surgery.preset = "deeper": expected one of "release", "paper", "paper-keep10".',
    "preset=papers": 'preset = "papers": expected one of "release", "release-exact", "paper".',
    "run.shard=true": 'run.shard = true: expected one of "none", "node", "all".',
    "prompts.class_weights=3": "prompts.class_weights = 3: expected a table.",
    "prompts.class_weights.dog=big": 'prompts.class_weights.dog = "big": expected a number of at least 0.',
    "prompts.class_weights.dog=-1": "prompts.class_weights.dog = -1: expected a number of at least 0.",
    "prompts.class_weights.dog=nan": "prompts.class_weights.dog = nan: expected a number of at least 0.",
    "prompts.class_weights={dog = 0, cat = 0}": "prompts.class_weights: all are 0.",
    "regions.weights.form=top": 'regions.weights.form = "top": expected one of',
    "rewards.reward=clap": 'rewards.reward = "clap": expected a list of tables.',
    "rewards.reward=[3]": "rewards.reward[0] = 3: expected a table.",
    "rewards.reward=[{scorer='a', route='both'}]": "missing rewards.reward[0].weight.",
    "rewards.reward=[{weight=1}]": "missing rewards.reward[0].scorer, rewards.reward[0].route.",
    "rewards.reward=[{scorer='a', weight=1, route='left'}]": 'rewards.reward[0].route = "left": expected one of',
    "rewards.reward=[{scorer='a', weight=1, rout='both'}]": "'rewards.reward[0].rout'. Did you mean route?",
    "surgery.rules=[{blocks='0'}]": "missing surgery.rules[0].keep.",
    "run.steps": "--set run.steps: expected section.key=value.",
    "=5": "unknown key '\"\"'.",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named(text: str):
    with pytest.raises(UsageError) as caught:
        load("gdpo", None, [text])
    assert WRONG[text] in str(caught.value)
    assert "\n" not in str(caught.value)


SIZES = {
    "prompts.groups=0": "prompts.groups = 0: expected a whole number of at least 1.",
    "prompts.group_size=-1": "prompts.group_size = -1: expected a whole number of at least 1.",
    "sampling.steps=0": "sampling.steps = 0: expected a whole number of at least 1.",
    "sampling.batch=0": "sampling.batch = 0: expected a whole number of at least 1.",
    "optimizer.batch=0": "optimizer.batch = 0: expected a whole number of at least 1.",
    "run.save_every=0": "run.save_every = 0: expected a whole number of at least 1.",
    "levels.fraction=0": "levels.fraction 0.0 x sampling.steps 12 = 0: no noise level to train on",
    "levels.fraction=0.08": "levels.fraction 0.08 x sampling.steps 12 = 0.96: no noise level to train on",
    "levels.fraction=1.5": "levels.fraction 1.5 x sampling.steps 12 = 18",
    "levels.fraction=nan": "levels.fraction nan",
    "regions.window=[0.9, 0.5]": "regions.window = [0.9, 0.5]: needs 0 <= first <= last <= 1, and first below 1.",
    "regions.window=[0.0, 1.5]": "needs 0 <= first <= last <= 1",
    "regions.window=[1, 1]": "regions.window = [1.0, 1.0]: needs",
}


@pytest.mark.parametrize("text", SIZES)
def test_sizes_that_do_not_fit_are_told_with_their_equation(text: str):
    with pytest.raises(UsageError) as caught:
        load("gdpo", "miniature", [text])
    assert SIZES[text] in str(caught.value)


def test_rollouts_are_shared_evenly_by_processes():
    config = load("gdpo", None, ["prompts.groups=6", "prompts.group_size=4"])
    for world in (1, 2, 3, 4, 8, 24):
        check(config, world)
    with pytest.raises(UsageError) as caught:
        check(config, 5)
    assert "prompts.groups 6 x prompts.group_size 4 = 24 rollouts is not divisible by 5 processes" in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "near"), [("omninft-route", "omninft-routing"), ("GDPO", "gdpo"), ("xyz", None), ("gdp", "gdpo")]
)
def test_an_unknown_recipe_is_told_with_those_that_there_are(recipe: str, near: str | None, tmp_path: Path):
    for name in (recipe, file(tmp_path, f'recipe = "{recipe}"')):
        with pytest.raises(UsageError, match=f"unknown recipe or backbone '{recipe}'") as caught:
            load(name)
        assert (f"Did you mean {near}" if near else ", ".join(RECIPES)) in str(caught.value)


def test_an_unknown_backbone_is_told_with_those_that_there_are(tmp_path: Path):
    for call in (lambda: load("gdpo", "ltx"), lambda: reloaded('[backbone]\nkind = "ltx"', tmp_path)):
        with pytest.raises(
            UsageError, match=r"unknown recipe or backbone 'ltx'\. Did you mean ltx2, ltx2\.5, ltx2\.3\?"
        ):
            call()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[run\nsteps = 3", "not a TOML file"),
        (b"steps = ", "not a TOML file"),
        (b"\xff\xfe", "not a TOML file"),
        (b"steps = " + b"[" * 100_000, "not a TOML file"),
        (b"steps = " + b"9" * 5000, "not a TOML file"),
        (b"run = 3", "run = 3: expected a table."),
        (b"backbone = 3", "backbone = 3: expected a table."),
        (b"[run]\nstep = 3", "unknown key 'run.step'. Did you mean steps?"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(content: bytes, told: str, tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"cannot read .*missing\.toml: "):
        load(tmp_path / "missing.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match=r"cannot read .*folder\.toml: "):
        load(str(tmp_path / "folder.toml"))


@pytest.mark.parametrize("value", ["3", "true", "[]", "{}", "''"])
def test_a_recipe_that_is_no_name_is_refused(value: str, tmp_path: Path):
    with pytest.raises(UsageError, match="recipe"):
        reloaded(f"recipe = {value}", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "optimizer.max_norm=inf",
        "backbone.path='\U0001f3b5'",
        "prompts.class_weights={'baby cry' = 1}",
        "prompts.class_weights={'a.b' = 1, '\"' = 2, '' = 3, 'é' = 4}",
    ],
)
def test_what_toml_writes_otherwise_than_json_is_printed_as_itself(text: str, tmp_path: Path):
    config = load("gdpo", None, [text])
    assert reloaded(to_toml(config), tmp_path) == config


# Whatever values a configuration has, it is printed so that it loads as itself.

ABOVE_ZERO = st.floats(0, allow_nan=False, allow_infinity=False, exclude_min=True)
NOT_NEGATIVE = st.floats(0, allow_nan=False, allow_infinity=False)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# What must hold for other keys, or that no recipe could be told apart by.
FIXED: dict[str, st.SearchStrategy[Any]] = {
    "prompts.groups": st.integers(1, 100),
    "run.steps": st.integers(1, 10**6),
    "run.keep_checkpoints": st.integers(1, 10),
    "run.eval_every": st.integers(0, 100),
    "evaluation.samples": st.integers(1, 100),
    "evaluation.steps": st.none() | st.integers(1, 100),
    "policy.rank": st.integers(1, 256),
    "policy.init": st.just(""),  # goes with adapters only, as what is next
    "backbone.quantize": st.just("none"),
    "backbone.dtype": st.just("float32"),
    "loss.beta": ABOVE_ZERO,
    "loss.advantage_clip": ABOVE_ZERO,
    "loss.kl_coef": NOT_NEGATIVE,
    "loss.video_weight": ABOVE_ZERO,
    "loss.audio_weight": NOT_NEGATIVE,
    "advantages.eps": ABOVE_ZERO,
    "optimizer.betas": st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2),
    "regions.weights.maximum": st.floats(1, 1e9),
    "regions.weights.warmup_steps": st.integers(0, 1000),
    "sampling.guidance.video": FINITE,
    "sampling.guidance.audio": FINITE,
    "sampling.guidance.stg": FINITE,
    "rewards.backend": st.just("local"),  # goes with offload
    "rewards.overlap": st.none() | st.just(False),  # on, it goes with no offload
    "rewards.max_failed_fraction": st.floats(0, 1),
    "marble.enabled": st.just(False),  # it goes with one mode of advantages only
    "marble.every": st.integers(1, 100),
    "marble.warmup_steps": st.integers(0, 100),
    "marble.smoothing": st.floats(0, 1),
    "arr.enabled": st.just(False),
    "arr.kappa": st.floats(0, 1),
    "arr.smoothing": st.floats(0, 1),
    "arr.warmup_steps": st.integers(0, 100),
    "arr.every": st.integers(1, 100),
    "surgery.rules": st.lists(
        st.builds(SurgeryRule, st.sampled_from(["0", "1-10", ">20", "<3", "0.0-0.25"]), st.floats(0, 1)), max_size=3
    ).map(tuple),
    "prompts.group_size": st.integers(2, 100),
    "prompts.class_weights": st.dictionaries(TEXTS, ABOVE_ZERO, max_size=3),
    "sampling.steps": st.integers(20, 100),
    "sampling.batch": st.integers(1, 100),
    "optimizer.batch": st.integers(1, 100),
    "run.save_every": st.integers(1, 100),
    "levels.fraction": st.floats(0.05, 1.0),
    "regions.window": st.tuples(st.floats(0, 0.5), st.floats(0.5, 1)),
    "rewards.reward": st.lists(
        st.builds(
            RewardSpec,
            TEXTS,
            FINITE,
            st.sampled_from(["video", "audio", "both"]),
            FINITE,
            st.none() | st.tuples(st.floats(-1e9, 0), st.floats(1, 1e9)),
        ),
        max_size=3,
    ).map(tuple),
}


def values(kind: Any, where: str = "") -> st.SearchStrategy[Any]:
    """Values of a type as the configuration is made of."""
    if where in FIXED:
        return FIXED[where]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return {int: st.integers(1, 10**6), float: st.floats(1, 1e9)}[arguments[0]]  # in the range of each
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        parts = {
            f.name: values(hints[f.name], f"{where}.{f.name}" if where else f.name) for f in dataclasses.fields(kind)
        }
        return st.builds(kind, **parts)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if part is type(None) else values(part) for part in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    return {int: st.integers(-(2**63), 2**63 - 1), float: NUMBERS, str: TEXTS, bool: st.booleans()}[kind]


@settings(max_examples=60, deadline=None)
@given(values(Config))
def test_every_configuration_prints_as_itself(tmp_path_factory: pytest.TempPathFactory, config: Config):
    text = to_toml(config)
    folder = tmp_path_factory.mktemp("toml")
    assert reloaded(text, folder) == config
    tomllib.loads(text)


APART = {*FIXED, "backbone.kind", "surgery.rules"}
LEAVES = sorted(key for key in flat(dataclasses.asdict(load("omninft"))) if key not in APART)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_key_can_be_set_and_printed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    key = data.draw(st.sampled_from(LEAVES))
    kind: Any = Config
    for part in key.split("."):
        kind = typing.get_type_hints(kind, include_extras=True)[part]
    value = data.draw(values(kind).filter(lambda found: found is not None))
    section, _, name = key.rpartition(".")
    within = to_toml(one(key, value)).partition(f"[{section}]\n")[2] if section else to_toml(one(key, value))
    printed = next(line for line in within.split("\n") if line.startswith(f"{name} ="))
    config = load("omninft", None, [f"{key}={printed.partition('=')[2]}"])
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value
    assert reloaded(to_toml(config), tmp_path_factory.mktemp("toml")) == config


def one(key: str, value: Any) -> Config:
    """The default configuration with one value changed."""
    *parts, last = key.split(".")
    objects: list[Any] = [Config()]
    for part in parts:
        objects.append(getattr(objects[-1], part))
    changed = dataclasses.replace(objects.pop(), **{last: value})
    for part in reversed(parts):
        changed = dataclasses.replace(objects.pop(), **{part: changed})
    return changed
