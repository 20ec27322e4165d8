"""Three processes that train together, of which one fails in the middle of a step; called by test_failing.

Writes the exit code of each, and the seconds from the failure to the last end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # forking needs a process without threads

from joined_worker import free_port, torchrun_variables  # noqa: E402

from omninft_train import cli  # noqa: E402
from omninft_train.errors import UsageError  # noqa: E402
from omninft_train.training import assemble, trainer  # noqa: E402, F401 - imported once, for all

SIZE = 3


def main(plan: dict[str, Any]) -> None:
    port, began = free_port(), Path(plan["began"])
    children = [_fork(lambda rank=rank: _train(rank, port, plan)) for rank in range(SIZE)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    seconds = time.time() - began.stat().st_mtime
    Path(plan["result"]).write_text(json.dumps({"codes": codes, "seconds": seconds}))


def _fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except SystemExit as end:
            os._exit(end.code if isinstance(end.code, int) else 1)
        os._exit(0)
    return child


def _train(rank: int, port: int, plan: dict[str, Any]) -> None:
    os.environ.update(torchrun_variables(rank, SIZE, SIZE, port))
    whole = trainer.score_rollouts

    def fail(*arguments: Any) -> Any:
        if rank == plan["fails"]:
            Path(plan["began"]).touch()
            if plan["how"] == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise UsageError("the list of prompts is upside down.")
        if rank == 2:
            time.sleep(600)  # far from any collective operation
        return whole(*arguments)

    trainer.score_rollouts = fail
    sys.argv = ["omninft-train", *plan["arguments"]]
    cli.main()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
