"""Processes that train together, of which one fails, in the middle of a step or before it has joined; for test_failing.

Writes the exit code of each, and the seconds from the failure to the last end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # forking needs a process without threads

from joined_worker import free_port, torchrun_variables  # noqa: E402

from omninft_train import cli  # noqa: E402
from omninft_train.errors import UsageError  # noqa: E402
from omninft_train.training import assemble, meeting, trainer  # noqa: E402, F401 - imported once, for all

_STORE = """
import sys, time, torch.distributed as dist
store = dist.TCPStore("127.0.0.1", int(sys.argv[1]), is_master=True, wait_for_workers=False)
print("ready", flush=True)
time.sleep(600)
"""


def main(plan: dict[str, Any]) -> None:
    port, began = free_port(), Path(plan["began"])
    with _agent(port) if plan["agent"] else nullcontext() as agent:
        children = [_fork(lambda rank=rank: _join(rank, port, plan)) for rank in range(plan["size"])]
        codes = {plan["fails"]: _wait(children[plan["fails"]])}
        if plan["agent"] == "terminates":
            time.sleep(0.1)
            for child in (child for rank, child in enumerate(children) if rank not in codes):
                os.kill(child, signal.SIGTERM)
        if plan["agent"] == "is lost":
            os.kill(agent.pid, signal.SIGSTOP)
        codes |= {rank: _wait(child) for rank, child in enumerate(children) if rank not in codes}
        seconds = time.time() - began.stat().st_mtime
    result = {"codes": [codes[rank] for rank in range(plan["size"])], "seconds": seconds}
    Path(plan["result"]).write_text(json.dumps(result))


@contextmanager
def _agent(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps the store, as torchrun does."""
    with subprocess.Popen([sys.executable, "-c", _STORE, str(port)], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            agent.stdout.readline()
            os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
            yield agent
        finally:
            agent.kill()


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except SystemExit as end:
            os._exit(end.code if isinstance(end.code, int) else 1)
        os._exit(0)
    return child


def _join(rank: int, port: int, plan: dict[str, Any]) -> None:
    os.environ.update(torchrun_variables(rank, plan["size"], plan["size"], port))
    _train(rank, plan)


def _train(rank: int, plan: dict[str, Any]) -> None:
    how, fails = plan["how"], rank == plan["fails"]
    arguments = list(plan["arguments"])
    if how in ("absent", "recipe", "gpu") and fails:
        Path(plan["began"]).touch()
    if how == "absent":
        meeting.START = timedelta(seconds=3)
        if fails:
            sys.exit(1)
    if how == "recipe" and fails:
        arguments += ["--recipe", "not-on-this-node.toml"]
    if how == "gpu" and fails:
        torch.cuda.is_available = lambda: True
    _fail_in_a_step(rank, plan)
    sys.argv = ["omninft-train", *arguments]
    cli.main()


def _fail_in_a_step(rank: int, plan: dict[str, Any]) -> None:
    whole = trainer.score_rollouts

    def fail(*arguments: Any) -> Any:
        if rank == plan["fails"]:
            Path(plan["began"]).touch()
            if plan["how"] in ("killed", "killed far"):
                os.kill(os.getpid(), signal.SIGKILL)
            raise UsageError("the list of prompts is upside down.")
        if rank == 2 or plan["how"] == "killed far":
            time.sleep(600)  # far from any collective operation
        return whole(*arguments)

    trainer.score_rollouts = fail


if __name__ == "__main__":
    content = json.loads(Path(sys.argv[1]).read_text())
    if "RANK" in os.environ:  # torchrun has started it
        _train(int(os.environ["RANK"]), content)
    else:
        main(content)
