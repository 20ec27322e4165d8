"""Fixtures: real clips, golden clips and drawn clips."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
if "PYTEST_XDIST_WORKER" in os.environ:
    # Read when torch is first imported: two processes with a thread for each core get in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started in the background of a script, or by nohup, tests inherit that a signal is ignored, and would pass that on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if os.name != "nt" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Read when torch is first imported: on processors with AMX its bf16 kernels give NaN for the reduced AudioCLIP and move
# Audiobox by 0.3; the kernels without AMX agree with float32. Open: whether avbench should say so to users.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

from chromium import chromium
from hypothesis import settings
from synthetic import draw_frames, draw_sound, write_clip

# A deadline measures the machine: a slow example beside other work is no fault of the code.
# The default tests say the same of the same code every time; session `fuzz` looks for examples nobody has thought of.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, derandomize=False)
settings.load_profile("same")

REPOSITORY = Path(__file__).parent.parent
GOLDENS = Path(__file__).parent / "goldens" / "metrics"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Networks that a test makes without a seed are the same every time, whatever ran before."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def examples() -> Path:
    """Folder of the shipped clips."""
    return REPOSITORY / "examples" / "clips"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Any]:
    """Loads a golden by name."""
    return lambda name: json.loads((GOLDENS / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def golden_clips() -> Path:
    """Folder of the golden input clips (mp4 with wav)."""
    return GOLDENS / "inputs"


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn clip of 2.5 s, 64 x 48, with sound."""
    folder = tmp_path_factory.mktemp("small")
    frames = draw_frames(3, seconds=2.5, size=(48, 64))
    return write_clip(folder / "small.mp4", frames, draw_sound(3, seconds=2.5))


@pytest.fixture(scope="session")
def command_server() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A process that has the modules of the command line loaded, and forks one for each command; its environment."""
    command = [sys.executable, str(Path(__file__).parent / "command_server.py")]
    environment = dict(os.environ)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        yield server, environment
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture
def avbench(
    command_server: tuple[subprocess.Popen[str], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own."""
    server, loaded_with = command_server

    def run(
        *arguments: object, cwd: str | Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        environment = dict(os.environ) if env is None else env
        # What Python reads while it starts needs a new one.
        if os.name == "nt" or _for_python(environment) != _for_python(loaded_with):
            command = [sys.executable, "-m", "avbench", *words]
            return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, env=env)
        output = tmp_path_factory.mktemp("command")
        streams = [output / "stdout", output / "stderr"]
        order = {"arguments": words, "cwd": str(cwd or Path.cwd()), "env": environment}
        order |= {stream.name: str(stream) for stream in streams}
        assert server.stdin is not None and server.stdout is not None
        print(json.dumps(order), file=server.stdin, flush=True)
        answer = server.stdout.readline()
        assert answer, "the process that forks commands has ended"
        code = int(answer)
        return subprocess.CompletedProcess(words, code, *(stream.read_text(encoding="utf-8") for stream in streams))

    return run


def _for_python(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LC_", "LANG"))}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of pages: a process holds no second one of Playwright."""
    with chromium() as program:
        yield program
