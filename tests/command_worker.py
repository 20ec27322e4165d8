"""Forks processes that run commands of the trainer, as torchrun starts them. Tests call `run_together`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from joined_worker import environment, free_port, torchrun_variables
from torch.multiprocessing import start_processes

from omninft_train import generate
from omninft_train.cli import app
from omninft_train.errors import UsageError
from omninft_train.training import assemble  # noqa: F401 - imported once, before processes are forked


def run_together(commands: Sequence[Sequence[object]], folders: Sequence[Path]) -> list[list[Mapping[str, Any]]]:
    """Let processes run commands, each process in a working folder of its own, which may be the same.

    Returns:
        For each command and process "sampled", the sizes of the batches that it sampled, and "error", a message or "".
        After an error no further command is run.
    """
    plan = {"commands": [[str(one) for one in command] for command in commands], "folders": list(map(str, folders))}
    plan["ports"] = [free_port() for _ in commands]
    result = folders[0] / "result"
    result.mkdir()
    (result / "plan.json").write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, __file__, str(result)], env=environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    ranks, numbers = range(len(folders)), range(len(commands))
    return [[json.loads((result / f"{number}-{rank}.json").read_text()) for rank in ranks] for number in numbers]


def _run(rank: int, result: Path, plan: Mapping[str, Any]) -> None:
    """One process."""
    torch.set_num_threads(1)
    size, sizes, real = len(plan["folders"]), [], generate.sample

    def sample(policy: Any, role: Any, noise: Any, *arguments: Any, **options: Any) -> Any:
        sizes.append(len(noise))
        return real(policy, role, noise, *arguments, **options)

    generate.sample = sample
    os.chdir(plan["folders"][rank])
    for number, (command, port) in enumerate(zip(plan["commands"], plan["ports"], strict=True)):
        os.environ.update(torchrun_variables(rank, size, size, port))
        sizes.clear()
        error = ""
        try:
            app(command, standalone_mode=False)
        except (UsageError, SystemExit) as caught:
            error = str(caught)
        (result / f"{number}-{rank}.json").write_text(json.dumps({"sampled": sizes, "error": error}))
        if error:
            os._exit(0)  # without meeting the others again


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    content = json.loads((folder / "plan.json").read_text())
    start_processes(_run, (folder, content), nprocs=len(content["folders"]), start_method="fork")
