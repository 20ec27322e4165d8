"""What a run is: nested frozen dataclasses, read from recipes (TOML) and overrides; unknown keys are errors."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from omninft_train.advantages import AdvantageOptions
from omninft_train.errors import UsageProblem
from omninft_train.losses import LossOptions
from omninft_train.regions import RegionOptions
from omninft_train.reward_specs import RewardSpec
from omninft_train.rollout import Guidance
from omninft_train.surgery import SurgeryRule, check_rule

Preset = Literal["release", "paper"]
RECIPES = ("vanilla", "gdpo", "omninft-routing", "omninft-routing-surgery", "omninft")
BACKBONES = ("miniature", "ltx2")


@dataclass(frozen=True)
class RunSection:
    """Length of a run and what it leaves behind.

    Attributes:
        seed: of everything that is drawn.
        steps: outer steps, one optimiser step each.
        save_every: steps between checkpoints.
        keep_checkpoints: how many stay.
        probe_every: steps between measurements of gradient norms by depth; 0 for never.
        mirror: "package.module:name" of a function of the run's folder whose result is told every logged step.
    """

    seed: int = 0
    steps: int = 600
    save_every: int = 25
    keep_checkpoints: int = 2
    probe_every: int = 0
    mirror: str | None = None


@dataclass(frozen=True)
class BackboneSection:
    """The generator.

    Attributes:
        kind: "miniature" or "ltx2".
        path: folder or hub id of a diffusers LTX-2 pipeline; for the miniature, folder of its pretraining.
        dtype: number format of the frozen weights.
        height, width, frames, fps: of the clips; the miniature has its own.
        gradient_checkpointing: recompute activations in the backward pass.
        compile: compile each block.
        cache: folder of prompt embeddings.
        negative_prompt: what guidance leads away from; None for the backbone's own.
    """

    kind: Literal["miniature", "ltx2"] = "ltx2"
    path: str = ""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    height: int = 512
    width: int = 768
    frames: int = 121
    fps: float = 24.0
    gradient_checkpointing: bool = True
    compile: bool = False
    cache: str = ""
    negative_prompt: str | None = None


@dataclass(frozen=True)
class PolicySection:
    """Which parameters are trained: adapters on a frozen network, or all of them."""

    parameters: Literal["lora", "full"] = "lora"
    rank: int = 32
    alpha: int = 64


@dataclass(frozen=True)
class PromptSection:
    """Where prompts come from and how many rollouts a step has: `groups` prompts, `group_size` rollouts of each."""

    path: str = ""
    groups: int = 4
    group_size: int = 8
    class_key: str | None = None
    class_weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def rollouts(self) -> int:
        """Rollouts of a step, over all processes."""
        return self.groups * self.group_size


@dataclass(frozen=True)
class SamplingSection:
    """How rollouts are sampled.

    Attributes:
        steps: Euler steps; the levels are LTX-2's, anchored at 4,096 tokens.
        batch: rollouts per forward pass.
        guidance: see `Guidance`.
    """

    steps: int = 20
    batch: int = 1
    guidance: Guidance = field(default_factory=Guidance)


@dataclass(frozen=True)
class LevelSection:
    """Noise levels that the update trains on: the first, noisiest ones, or a random subset for each rollout."""

    choice: Literal["first", "random"] = "first"
    fraction: float = 0.4


@dataclass(frozen=True)
class SurgerySection:
    """Layer-wise gradient surgery.

    Attributes:
        enabled: whether gradients are scaled at all.
        preset: "release", "paper", "paper-keep10" or "deep"; stretched to networks that do not have 48 blocks.
        rules: blocks and shares in place of those of the preset.
        where, direction: in place of those of the preset.
    """

    enabled: bool = False
    preset: Literal["release", "paper", "paper-keep10", "deep"] = "release"
    rules: tuple[SurgeryRule, ...] = ()
    where: Literal["context", "kv"] | None = None
    direction: Literal["a2v", "v2a"] | None = None


@dataclass(frozen=True)
class RegionSection:
    """Region-wise loss weights.

    Attributes:
        enabled: whether video tokens are weighted.
        first_block: attention is collected from this block on; a fraction below 1 is a share of the depth.
        window: share of the sampling steps, first and last, that are collected.
        passes: "conditional" or "all" (as the release).
        rope: with rotary embedding; the release leaves it out.
        weights: form and size of the weights.
    """

    enabled: bool = False
    first_block: float = 0.0
    window: tuple[float, float] = (0.5, 0.9)
    passes: Literal["conditional", "all"] = "conditional"
    rope: bool = True
    weights: RegionOptions = field(default_factory=RegionOptions)


@dataclass(frozen=True)
class OldSection:
    """How the old policy follows: see `old_keep`."""

    decay: Literal[0, 1, 2] = 1


@dataclass(frozen=True)
class OptimizerSection:
    """AdamW.

    Attributes:
        batch: pairs of rollout and noise level per forward pass; changes no result.
        max_norm: gradients are scaled down to this norm.
    """

    lr: float = 3e-5
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    eps: float = 1e-8
    max_norm: float = 1.0
    batch: int = 1


@dataclass(frozen=True)
class RewardSection:
    """Rewards and where they run.

    Attributes:
        reward: the rewards themselves.
        backend: "local", in this process, or "ray", on actors.
        device: where their networks run.
        weights: "checkpoints", or a test mode of avbench ("keyed-random", "keyed-random-reduced").
        accepted: licences of weights that the user accepts, as `avbench models accept` names them.
        weights_dir: folder that holds checkpoints already.
        precision: of their networks.
        max_failed_fraction: more invalid values than this stop the run.
    """

    reward: tuple[RewardSpec, ...] = ()
    backend: Literal["local", "ray"] = "local"
    device: str = "cpu"
    weights: Literal["checkpoints", "keyed-random", "keyed-random-reduced"] = "checkpoints"
    weights_dir: str | None = None
    accepted: tuple[str, ...] = ()
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    max_failed_fraction: float = 0.25


@dataclass(frozen=True)
class Config:
    """Everything about a run; stored with every checkpoint."""

    preset: Preset = "release"
    run: RunSection = field(default_factory=RunSection)
    backbone: BackboneSection = field(default_factory=BackboneSection)
    policy: PolicySection = field(default_factory=PolicySection)
    prompts: PromptSection = field(default_factory=PromptSection)
    sampling: SamplingSection = field(default_factory=SamplingSection)
    advantages: AdvantageOptions = field(default_factory=AdvantageOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    levels: LevelSection = field(default_factory=LevelSection)
    surgery: SurgerySection = field(default_factory=SurgerySection)
    regions: RegionSection = field(default_factory=RegionSection)
    old: OldSection = field(default_factory=OldSection)
    optimizer: OptimizerSection = field(default_factory=OptimizerSection)
    rewards: RewardSection = field(default_factory=RewardSection)


def load(recipe: str | Path, backbone: str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe.

    Layers, later ones win: defaults, the preset's file, the backbone's, the recipe, the overrides.

    Args:
        recipe: name of a shipped recipe, or a TOML file, which may name the one that it builds on by `recipe = "..."`.
        backbone: "miniature" or "ltx2"; None for the file's `backbone.kind`, or "miniature".
        overrides: "section.key=value", with TOML values; a bare word is a string.

    Raises:
        UsageProblem: an unknown key or value, or sizes that do not fit.
    """
    own = _own_file(recipe)
    named = own.pop("recipe", None)
    if not isinstance(named, str | None):
        raise UsageProblem(f"recipe = {named!r}: expected one of {', '.join(map(repr, RECIPES))}.")
    backbone = backbone or _kind(own) or "miniature"
    changes = [_parse_override(text) for text in overrides]
    layers = [_shipped(f"backbones/{backbone}.toml", BACKBONES, backbone)]
    if named is not None:
        layers.append(_shipped(f"{named}.toml", RECIPES, named))
    layers += [own, *changes]
    preset = next((layer["preset"] for layer in reversed(layers) if "preset" in layer), "release")
    if preset == "paper":
        layers.insert(0, tomllib.loads(_recipe_file("presets/paper.toml")))
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    config: Config = build(Config, merged, "")
    if config.backbone.kind != backbone:
        raise UsageProblem(
            f"backbone.kind = '{config.backbone.kind}', but the recipe is laid out for '{backbone}': use --backbone."
        )
    check(config)
    return config


def _kind(own: Mapping[str, Any]) -> str | None:
    section = own.get("backbone")
    kind = section.get("kind") if isinstance(section, Mapping) else None
    return None if kind is None else str(kind)


def check(config: Config, world: int = 1) -> None:
    """Whether sizes fit each other.

    Raises:
        UsageProblem: with the equation.
    """
    prompts, sampling = config.prompts, config.sampling
    counts = {
        "prompts.groups": prompts.groups,
        "prompts.group_size": prompts.group_size,
        "sampling.steps": sampling.steps,
        "sampling.batch": sampling.batch,
        "optimizer.batch": config.optimizer.batch,
        "run.steps": config.run.steps,
        "run.save_every": config.run.save_every,
        "run.keep_checkpoints": config.run.keep_checkpoints,
        "policy.rank": config.policy.rank,
    }
    for name, value in counts.items():
        if value < 1:
            raise UsageProblem(f"{name} = {value}: must be at least 1.")
    above = {
        "optimizer.lr": config.optimizer.lr,
        "optimizer.max_norm": config.optimizer.max_norm,
        "loss.beta": config.loss.beta,
        "loss.advantage_clip": config.loss.advantage_clip,
        "regions.weights.maximum": config.regions.weights.maximum,
    }
    for name, number in above.items():
        if not number > 0:
            raise UsageProblem(f"{name} = {number:g}: must be above 0.")
    if not 0 <= config.rewards.max_failed_fraction <= 1:
        raise UsageProblem(f"rewards.max_failed_fraction = {config.rewards.max_failed_fraction:g}: must be in [0, 1].")
    if prompts.group_size == 1:
        raise UsageProblem("prompts.group_size = 1: a group of one has no advantage; at least 2 are needed.")
    for rule in config.surgery.rules:
        check_rule(rule)
    if prompts.rollouts % world:
        raise UsageProblem(
            f"prompts.groups {prompts.groups} x prompts.group_size {prompts.group_size} = {prompts.rollouts} rollouts "
            f"is not divisible by {world} processes. Change one of the three."
        )
    if not 0 < config.levels.fraction <= 1 or int(config.levels.fraction * sampling.steps) < 1:
        raise UsageProblem(
            f"levels.fraction {config.levels.fraction} x sampling.steps {sampling.steps} = "
            f"{config.levels.fraction * sampling.steps:g}: no noise level to train on; at least 1 is needed."
        )
    first, last = config.regions.window
    if not 0 <= first <= last <= 1:
        raise UsageProblem(f"regions.window = [{first}, {last}]: needs 0 <= first <= last <= 1.")


def _own_file(recipe: str | Path) -> dict[str, Any]:
    path = Path(recipe)
    if path.suffix != ".toml":
        return {"recipe": str(recipe)}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path}: not a TOML file ({error}).") from error


def _shipped(name: str, known: Sequence[str], asked: str) -> dict[str, Any]:
    if asked not in known:
        raise UsageProblem(
            f"unknown recipe or backbone '{asked}'.{_suggestion(asked, known)} Known: {', '.join(known)}."
        )
    return tomllib.loads(_recipe_file(name))


def _recipe_file(name: str) -> str:
    return files("omninft_train").joinpath("recipes", *name.split("/")).read_text(encoding="utf-8")


def _parse_override(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    if not separator:
        raise UsageProblem(f"--set {text}: expected section.key=value.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def build(kind: Any, data: Any, where: str) -> Any:
    """A value of a type, a dataclass for one, from what TOML or JSON holds.

    Raises:
        UsageProblem: an unknown key, a missing one, or a value of another type; `where` is named.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, data, where)
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in arguments:
            return None
        return build(next(option for option in arguments if option is not type(None)), data, where)
    if origin is Literal:
        if data not in arguments or isinstance(data, bool) != isinstance(arguments[0], bool):
            raise UsageProblem(f"{where} = {data!r}: expected one of {', '.join(map(repr, arguments))}.")
        return data
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise UsageProblem(f"{where} = {data!r}: expected a list.")
        inner = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else list(arguments)
        if len(inner) != len(data):
            raise UsageProblem(f"{where} = {data!r}: expected {len(inner)} values.")
        return tuple(build(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(inner, data, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise UsageProblem(f"{where} = {data!r}: expected a table.")
        return {str(key): build(arguments[1], value, f"{where}.{key}") for key, value in data.items()}
    return _build_plain(kind, data, where)


def _build_plain(kind: Any, data: Any, where: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise UsageProblem(f"{where} = {data!r}: expected {kind.__name__}.")
    return data


def _build_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise UsageProblem(f"{where or 'recipe'} = {data!r}: expected a table.")
    hints = typing.get_type_hints(kind)
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    for key in data:
        if key not in known:
            name = f"{where}.{key}" if where else key
            raise UsageProblem(f"unknown key '{name}'.{_suggestion(key, list(known))} Known: {', '.join(known)}.")
    missing = [
        name
        for name, entry in known.items()
        if name not in data and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageProblem(f"{where or 'recipe'}: missing {', '.join(missing)}.")
    return kind(**{key: build(hints[key], value, f"{where}.{key}" if where else key) for key, value in data.items()})


def _suggestion(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def to_toml(config: Config) -> str:
    """The resolved configuration as a TOML file that `load` reads back."""
    lines: list[str] = []
    _write_table(dataclasses.asdict(config), "", lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(table: Mapping[str, Any], name: str, lines: list[str]) -> None:
    nested = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    arrays = {k: v for k, v in table.items() if isinstance(v, (list, tuple)) and v and isinstance(v[0], Mapping)}
    plain = {k: v for k, v in table.items() if k not in nested and k not in arrays and v is not None}
    if name:
        lines += ["", f"[{name}]"]
    lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in nested.items():
        if value:
            _write_table(value, f"{name}.{key}" if name else key, lines)
    for key, values in arrays.items():
        for value in values:
            lines += ["", f"[[{name}.{key}]]"]
            lines += [f"{inner} = {_toml_value(v)}" for inner, v in value.items() if v is not None]


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(part) for part in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    # Strings, numbers and booleans are written alike, but TOML has no pairs of surrogates and escapes one more.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
