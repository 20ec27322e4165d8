"""Sessions: demo, tests, lint, types, browser, speech, bench, slow. All but speech share one environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

RUN = Path("runs/demo")


def _install(session: nox.Session, extras: str = "test") -> None:
    session.install("-q", "-c", "constraints.txt", "-e", f".[{extras}]")


@nox.session
def demo(session: nox.Session) -> None:
    """Score the shipped clips and say where the report is."""
    _install(session, "")
    session.run("avbench", "score", "examples/clips/manifest.csv", "--out", str(RUN), "--by", "model")
    session.log(f"Open this page in a browser: {(RUN / 'report.html').resolve().as_uri()}")


@nox.session
def tests(session: nox.Session) -> None:
    """The default tests: under ten minutes on two cores."""
    _install(session)
    session.run("pytest", "-q", "-n", "2", "-m", "not slow and not speech and not browser", *session.posargs)


@nox.session(venv_backend="venv")
def dev(session: nox.Session) -> None:
    """An environment with everything that the sessions below need."""
    _install(session, "dev")


def _dev(session: nox.Session) -> None:
    """Install the development tools into this session's environment."""
    _install(session, "dev")


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint, and who may import whom."""
    _dev(session)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, on the public package."""
    _dev(session)
    session.run("mypy")


@nox.session
def browser(session: nox.Session) -> None:
    """Open the demo's report in headless Chromium and use it; saves the README's picture."""
    _dev(session)
    chromium = os.environ.get("AVBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        session.error("no Chromium found: install one (Debian: apt-get install chromium) or set AVBENCH_CHROMIUM")
    session.run("avbench", "score", "examples/clips/manifest.csv", "--out", str(RUN), "--quiet")
    session.run("avbench", "report", str(RUN))
    environment = {
        "AVBENCH_CHROMIUM": chromium,
        "AVBENCH_BROWSER_RUN": str(RUN.resolve()),
        "AVBENCH_SCREENSHOT": os.environ.get("AVBENCH_SCREENSHOT", str(Path("runs/report.png").resolve())),
    }
    session.run("pytest", "-q", "-m", "browser", *session.posargs, env=environment)


@nox.session
def speech(session: nox.Session) -> None:
    """Tests of the [speech] extra, in an environment of their own because silero-vad brings torch."""
    _install(session, "speech,test")
    session.run("pytest", "-q", "-m", "speech", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Ratios against baselines in the same process on the same clips; writes benchmarks/results/."""
    _dev(session)
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Tests that take minutes: long kill-and-resume series, real clips shifted over a grid."""
    _dev(session)
    session.run("pytest", "-q", "-m", "slow", *session.posargs)
