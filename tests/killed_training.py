"""Trains once without interruption and once for each phase with a kill -9 in it; called by test_trainer.

The phase "evaluate" and the run that it is compared with, "evaluated", also judge their policy while they train.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # forking needs a process without threads

from tiny_training import make, run, tiny_config  # noqa: E402

from omninft_train import judging  # noqa: E402
from omninft_train.training import checkpoint, trainer, update  # noqa: E402

PHASES: dict[str, tuple[Any, str]] = {
    "sample": (trainer, "sample_rollouts"),
    "score": (trainer, "score_rollouts"),
    "update": (update, "accumulate"),
    "save": (checkpoint, "_write"),
    "evaluate": (judging, "judge"),
}
# Into the second step; the second of three files; the second of the three batches of the second evaluation.
CALLS_BEFORE = {"sample": 1, "score": 1, "update": 1, "save": 4, "evaluate": 4}
EVALUATED = ("run.eval_every=1", "evaluation.samples=1", "evaluation.steps=2")


def main(weights: Path, out: Path) -> None:
    config = tiny_config(weights)
    make(config, out / "unused")  # imports what children would import one after another
    _child(lambda: run(config, out / "none"), expected=0)
    evaluated = tiny_config(weights, *EVALUATED)
    _child(lambda: run(evaluated, out / "evaluated"), expected=0)
    for phase, (module, name) in PHASES.items():
        chosen = evaluated if phase == "evaluate" else config
        _child(lambda m=module, n=name, p=phase, c=chosen: _killed(m, n, p, c, out), expected=-signal.SIGKILL)
        _child(lambda p=phase, c=chosen: run(c, out / p), expected=0)


def _killed(module: Any, name: str, phase: str, config: Any, out: Path) -> None:
    whole, calls = getattr(module, name), [0]

    def patched(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        found = whole(*arguments, **named)
        if calls[0] > CALLS_BEFORE[phase]:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(module, name, patched)
    run(config, out / phase)


def _child(work: Callable[[], object], expected: int) -> None:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found = os.waitstatus_to_exitcode(status)
    if found != expected:
        sys.exit(f"child ended with {found}, expected {expected}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
