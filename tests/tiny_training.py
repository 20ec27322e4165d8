"""A whole training run small enough for a test: a miniature of two narrow blocks, four rollouts, two steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from omninft_train.config import Config
from omninft_train.miniature.backbone import Size
from omninft_train.miniature.pretrain import PretrainOptions, pretrained
from omninft_train.recipe import load
from omninft_train.training import checkpoint
from omninft_train.training.assemble import assemble
from omninft_train.training.distributed import World
from omninft_train.training.state import Training
from omninft_train.training.tracking import read_metrics
from omninft_train.training.trainer import train

SMALL = (
    "run.steps=2",
    "run.save_every=1",
    "run.probe_every=0",
    "prompts.groups=2",
    "prompts.group_size=3",
    "sampling.steps=4",
    "sampling.batch=6",
    "levels.fraction=0.5",
    "optimizer.batch=12",
    "optimizer.lr=1e-3",
    "regions.weights.warmup_steps=1",
)


def tiny_weights(folder: Path, world: str = "miniature") -> Path:
    """A pretraining of one step."""
    return pretrained(folder, PretrainOptions(steps=1, batch=2, size=Size(2, 2, 16, 16), world=world))


def tiny_config(weights: Path, *changes: str, recipe: str = "omninft", world: str = "miniature") -> Config:
    """A recipe at small size, with changes."""
    return load(recipe, world, tiny_changes(weights, *changes))


def tiny_changes(weights: Path, *changes: str) -> list[str]:
    """Overrides of a recipe that make it small, and further ones."""
    return [f'backbone.path="{weights}"', *SMALL, *changes]


def make(config: Config, out: Path) -> Training:
    """What the loop works with."""
    return assemble(config, out, World())


def run(config: Config, out: Path) -> dict[str, Tensor]:
    """Train; the tensors of the last checkpoint, as "part/name"."""
    train(make(config, out))
    return tensors(out)


def tensors(out: Path) -> dict[str, Tensor]:
    """The tensors of a run's last checkpoint."""
    folder = checkpoint.latest(out)
    assert folder is not None
    return {
        f"{path.stem}/{name}": tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def log(out: Path) -> list[dict[str, Any]]:
    """What was logged, without times."""
    return [{k: v for k, v in row.items() if "second" not in k} for row in read_metrics(out)]


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor], names: Sequence[str] = ()) -> None:
    """Bit by bit."""
    assert found.keys() == wanted.keys()
    odd = [name for name in names or wanted if not torch.equal(found[name], wanted[name])]
    assert not odd, odd[:5]


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor], atol: float = 2e-5) -> None:
    """Parameters up to rounding; Adam's first steps divide by gradients, so tiny ones are amplified."""
    for name, tensor in wanted.items():
        if not name.startswith("optimizer/"):
            torch.testing.assert_close(found[name], tensor, atol=atol, rtol=0, msg=name)
