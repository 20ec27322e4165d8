"""One of two joined processes that compare what they would train; called by test_agreement."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from omninft_train.config import Config, RunSection
from omninft_train.errors import AvbenchError
from omninft_train.training.agreement import agree, check_conditions, last_checkpoint
from omninft_train.training.distributed import World


class Cache:
    """Of a backbone: prompts that it cannot find."""

    def __init__(self, lost: list[str]) -> None:
        self.lost = lost

    def missing(self, prompts: Sequence[str]) -> list[str]:
        return self.lost


def main(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    world, config, own = World(rank, 2), Config(), folder / f"node-{rank}"
    other = replace(config, run=RunSection(steps=600 + rank))
    found: dict[str, object] = {
        "agreed": outcome(lambda: agree(config, folder / "shared", world)),
        "configurations": outcome(lambda: agree(other, folder / "shared", world)),
        "unshared": outcome(lambda: agree(config, own / "unshared", world)),
        "cached": outcome(lambda: check_conditions(Cache(["rain"] * rank), [], world)),
        "all cached": outcome(lambda: check_conditions(Cache([]), [], world)),
        "file": outcome(lambda: agree(config, folder / "file", world)),
        **{
            name: outcome(lambda n=name: last_checkpoint(own / n, world))
            for name in ("same", "newer", "behind", "another", "empty")
        },
    }
    total = torch.tensor([1.0 + rank])
    world.sum([total])
    rows = torch.tensor([[float(index)] for index in world.mine(6)])
    found |= {"rows": world.gather_rows(rows).flatten().tolist(), "sum": total.item()}
    (folder / f"found-{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def outcome(call: Callable[[], Path | None]) -> str:
    try:
        result = call()
    except AvbenchError as error:
        return f"exit code {error.exit_code}: {error}"
    return str(result.name if result else result)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
