"""Join the Ray cluster that RAY_ADDRESS names, or start one here. The only module that imports Ray."""

from __future__ import annotations

import logging
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from avbench.errors import EnvironmentProblem, UsageError

_CONNECT_S = 10.0
_ANSWER_S = 60.0
_OBJECT_STORE = 256 * 2**20  # results are small and go to the driver at once

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class CallThread:
    """Runs calls one after the other in a thread that lasts as long as the process.

    Ray's waiting drops exceptions of signal handlers, which run in the main thread: that one waits in Python. A cluster
    that was started by a thread ends with it.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True, name="talks to Ray").start()

    def __call__(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """The function's result; raises what it raises."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args, **options))
            except BaseException as error:  # noqa: BLE001 - it goes to the caller
                future.set_exception(error)

        self._calls.put(run)
        return future.result()

    def _work(self) -> None:
        while True:
            self._calls.get()()


class Connection:
    """A cluster that was joined or started.

    Attributes:
        ray: the module.
        call: makes calls to it.

    Raises:
        UsageError: RAY_ADDRESS cannot be used.
        EnvironmentProblem: Ray is not installed, or no cluster answers or can be started.
    """

    def __init__(self) -> None:
        try:
            import ray
        except ImportError as error:
            raise EnvironmentProblem(
                "the Ray backend needs Ray, which is not installed: pip install 'avbench[ray]'. Without it, use the "
                "local backend (--backend local)."
            ) from error
        self.ray: Any = ray
        self.call = CallThread()
        self._own = not ray.is_initialized()
        if self._own:
            address = os.environ.get("RAY_ADDRESS") or "local"
            if address not in ("local", "auto"):
                _refuse_unreachable(address)
            try:
                self.call(_init, ray, address)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise _no_cluster(address, str(error)) from error

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._own:
            self.call(self.ray.shutdown)


def _init(ray: Any, address: str) -> None:
    here = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE} if address == "local" else {}
    ray.init(address=address, namespace="avbench", log_to_driver=False, logging_level=logging.ERROR, **here)


def _refuse_unreachable(address: str) -> None:
    """Find out whether a cluster answers: Ray itself ends the whole process where none does."""
    if "://" in address:
        raise UsageError(
            f"RAY_ADDRESS={address}: expected HOST:PORT of the cluster's head. Ray's client cannot stream results: run "
            "the command on a node of the cluster."
        )
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()):
        raise UsageError(f"RAY_ADDRESS={address}: expected HOST:PORT of the cluster's head")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_ANSWER_S, check=False)  # noqa: S603 - as above
    except subprocess.TimeoutExpired as error:
        raise _no_cluster(address, f"no answer within {_ANSWER_S:g} s") from error
    if done.returncode:
        raise _no_cluster(address, "what answers there is no Ray cluster, or does not know this user")


def _no_cluster(address: str, reason: str) -> EnvironmentProblem:
    line = (reason.strip().splitlines() or [""])[0].rstrip(".")
    if address == "local":
        return EnvironmentProblem(
            f"no Ray cluster can be started here: {line}. Use the local backend (--backend local)."
        )
    return EnvironmentProblem(
        f"no Ray cluster at {address}: {line}. Check RAY_ADDRESS, or use the local backend (--backend local)."
    )
