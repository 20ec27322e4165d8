"""Forks a process for each `avbench` command it is asked for: loading modules takes most of the time of short ones.

Reads a line of JSON for each command (`arguments`, `cwd`, `env`, and the files `stdout` and `stderr`) and writes its
exit code. It starts no thread and runs no command itself, so that each begins as a new interpreter does, with modules
loaded.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn

import cv2  # noqa: F401
import numpy as np  # noqa: F401
import pandas as pd  # noqa: F401
import pyarrow.parquet  # noqa: F401
import scipy.signal  # noqa: F401

import avbench.api
import avbench.cli
import avbench.doctor
import avbench.report.html  # noqa: F401
from avbench.__main__ import main
from avbench.metrics.base import registry

with contextlib.suppress(ImportError):  # the light core has no torch
    import torch  # noqa: F401

_MOST_SECONDS = 300


def serve() -> None:
    """Run commands until stdin ends."""
    registry()  # imports all metrics
    for line in sys.stdin:
        order = json.loads(line)
        if (child := os.fork()) == 0:
            _take_over(order)
            _run()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _take_over(order: dict[str, Any]) -> None:
    """Make this process the one that was asked for."""
    signal.alarm(_MOST_SECONDS)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    for number, name in enumerate((os.devnull, order["stdout"], order["stderr"])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["avbench", *order["arguments"]]


def _run() -> NoReturn:
    """Run the command and end as an interpreter does, but without giving memory back, which takes two seconds."""
    code: object = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    serve()
