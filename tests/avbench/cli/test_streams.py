"""Standard streams that are closed, full, broken or of another encoding: they decide nothing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from avbench import score_clips

REPOSITORY = Path(__file__).parents[3]


@contextmanager
def opened(stream: str) -> Iterator[dict[str, Any]]:
    """Arguments of a child process whose stdout is in this state."""
    if stream == "full":
        with Path("/dev/full").open("w") as full:
            yield {"stdout": full, "stderr": subprocess.PIPE}
    elif stream == "read-only":
        with Path(os.devnull).open() as null:
            yield {"stdout": null, "stderr": subprocess.PIPE}
    elif stream == "broken":
        reader, writer = os.pipe()
        os.close(reader)
        yield {"stdout": writer, "stderr": subprocess.PIPE}
        os.close(writer)
    else:
        descriptors = (1, 2) if stream == "both closed" else (1,)
        yield {"stderr": subprocess.PIPE, "preexec_fn": lambda: [os.close(descriptor) for descriptor in descriptors]}


def run(
    *arguments: object, stream: str = "", program: str = "avbench", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", program, *map(str, arguments)]
    options: dict[str, Any] = {"env": {**os.environ, **environment}, "timeout": 300}
    if not stream:
        return subprocess.run(command, capture_output=True, **options)
    with opened(stream) as streams:
        return subprocess.run(command, **streams, **options)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, small_clip: Path) -> Path:
    """Clips with names and prompts of many scripts."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "ünï–日本.mp4").write_bytes(small_clip.read_bytes())
    entry = {"video": "ünï–日本.mp4", "prompt_av": "Ein Hund – größer als 犬 \U0001f415", "model": "Modèle ↑"}
    (folder / "manifest.jsonl").write_text(json.dumps(entry) + "\n")
    return folder


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """Two equal runs, a and b."""
    folder = tmp_path_factory.mktemp("runs")
    for name in "ab":
        score_clips(clips, folder / name, metrics=["av_align", "sharpness"])
    return folder


def is_clean(done: subprocess.CompletedProcess[bytes]) -> bool:
    return not any(word in (done.stderr or b"") for word in (b"Traceback", b"Exception ignored", b"UnicodeEncodeError"))


@pytest.mark.parametrize(("stream", "encoding"), [("", "gbk"), ("broken", "latin-1")])
def test_a_comparison_has_the_same_verdict_wherever_it_is_printed(scored, stream, encoding):
    done = run("check", scored / "a", "-b", scored / "b", stream=stream, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    if not stream:
        assert "no regression found" in done.stdout.decode(encoding)


@pytest.mark.parametrize(
    ("arguments", "stream", "code"),
    [
        (["ls", "quick"], "full", 0),
        pytest.param(["clips", "CLIPS"], "both closed", 0, marks=pytest.mark.long),
        (["clips", "CLIPS", "--json"], "broken", 0),
        pytest.param(["report", "RUN", "-o", "PAGE"], "closed", 0, marks=pytest.mark.long),
        pytest.param(
            ["prompts", "show", "vbench", "--limit", "2", "--format", "csv"], "read-only", 0, marks=pytest.mark.long
        ),
        (["clips", "nöwhere\x1b[31m"], "both closed", 2),
        pytest.param(["scor"], "both closed", 2, marks=pytest.mark.long),
        pytest.param(["--help"], "full", 0, marks=pytest.mark.long),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_every_kind_of_output_leaves_the_exit_code_alone(scored, clips, tmp_path, arguments, stream, code):
    names = {"CLIPS": str(clips), "RUN": str(scored / "a"), "PAGE": str(tmp_path / "page.html")}
    arguments = [names.get(argument, argument) for argument in arguments]
    ascii_only, elsewhere = run(*arguments, PYTHONIOENCODING="ascii"), run(*arguments, stream=stream)
    assert (ascii_only.returncode, elsewhere.returncode) == (code, code), (ascii_only.stderr, elsewhere.stderr)
    assert is_clean(ascii_only) and is_clean(elsewhere), (ascii_only.stderr, elsewhere.stderr)
    if "--json" in arguments:
        assert json.loads(ascii_only.stdout.decode("ascii"))["models"] == ["Modèle ↑"]


@pytest.mark.parametrize("stderr", ["full", "closed"])
def test_an_error_keeps_its_exit_code_when_it_cannot_be_said(tmp_path, stderr):
    with opened(stderr) as streams:
        streams = {"stderr": streams["stdout"]} if "stdout" in streams else {"preexec_fn": lambda: os.close(2)}
        command = [sys.executable, "-m", "avbench", "clips", str(tmp_path / "nowhere")]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=300, **streams)
    assert done.returncode == 2
    assert done.stdout == b""


def test_lost_output_is_said_once():
    assert run("ls", "quick", stream="full").stderr.decode().count("stdout could not be written") == 1


@pytest.mark.long
def test_no_file_of_a_run_takes_the_place_of_a_closed_stream(clips, tmp_path):
    done = run(
        "score", clips, "-o", tmp_path / "run", "-m", "sharpness,silence_share", "--workers", 2, stream="both closed"
    )
    assert done.returncode == 0
    for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines():
        json.loads(line)


def test_what_a_terminal_lacks_is_replaced_and_columns_stay_in_line(scored):
    done = run("check", scored / "a", "-b", scored / "b", PYTHONIOENCODING="ascii")
    lines = [line.strip() for line in done.stdout.decode("ascii").splitlines()]
    rows = [line for line in lines if line.startswith(("av_align ", "sharpness "))]
    assert len(rows) == 2, lines
    assert "^" in rows[0] and len({len(row.rsplit(maxsplit=1)[0]) for row in rows}) == 1, rows


def test_names_that_a_terminal_lacks_can_still_be_told_apart(clips):
    done = run("clips", clips, PYTHONIOENCODING="latin-1")
    assert "ünï-\\u65e5\\u672c.mp4" in done.stdout.decode("latin-1")


@pytest.mark.long
def test_piped_tables_are_not_wrapped():
    environment = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-m", "avbench", "ls", "--json"]
    longest = max(
        (facts["summary"] for facts in json.loads(subprocess.check_output(command))["metrics"].values()), key=len
    )
    done = subprocess.run(command[:-1], capture_output=True, text=True, env=environment)
    assert longest in done.stdout
    assert done.stdout.splitlines()[-1].startswith("↑ higher is better, ↓ lower is better, · neither")


def test_data_on_a_pipe_is_what_a_file_would_hold(tmp_path):
    name = ("prompts", "show", "vbench", "--limit", "5", "--format", "csv")
    run(*name, "--out", tmp_path / "list.csv")
    assert run(*name, PYTHONIOENCODING="ascii").stdout == (tmp_path / "list.csv").read_bytes()


def on_a_terminal(*arguments: object, **environment: str) -> tuple[int, str]:
    """Exit code and output of a command whose streams are a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "avbench", *map(str, arguments)]
    child = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", **environment}, close_fds=True
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    return child.wait(timeout=300), b"".join(parts).decode("latin-1")


def test_a_terminal_of_few_signs_shows_progress_and_tables(clips, tmp_path):
    code, shown = on_a_terminal("score", clips, "-o", tmp_path, "-m", "silence_share", PYTHONIOENCODING="ascii")
    assert code == 0, shown
    assert "Traceback" not in shown
    assert "1 of 1" in shown


FAULTS = """
import sys
from avbench.cli import app, main
@app.command("fault")
def fault(kind: str) -> None:
    if kind == "loop":
        fault(kind)
    raise {"key": KeyError("name\\x1b[31m"), "pipe": BrokenPipeError(32, "Broken pipe"), "end": EOFError(),
           "memory": MemoryError(), "interrupt": KeyboardInterrupt(), "exit": SystemExit(5),
           "text": SystemExit("bye"), "one": SystemExit(1)}[kind]
main()
"""


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("key", 70),
        ("pipe", 70),
        ("end", 70),
        ("loop", 70),
        ("memory", 4),
        ("interrupt", 130),
        ("exit", 5),
        ("text", 70),
        ("one", 70),
    ],
)
def test_no_fault_of_ours_looks_like_a_regression(tmp_path, kind, code):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", FAULTS, "fault", kind]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == (0 if kind == "exit" else 1)
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr
    if code == 70:
        (file,) = tmp_path.glob("avbench-*.txt")
        assert str(file) in done.stderr and "report" in done.stderr
        text = file.read_text()
        assert "Traceback" in text
        assert text.startswith("avbench fault ") and f"Python {sys.version.split()[0]}" in text
        assert "avbench doctor --json" in done.stderr


@pytest.mark.parametrize("program", ["avbench", "omninft_train"])
@pytest.mark.parametrize(
    ("broken", "code", "message"),
    [
        ("raise ImportError(\"No module named 'typer'\", name='typer')", 4, "cannot start, No module named 'typer'"),
        ("raise RuntimeError('odd')", 70, "internal error, RuntimeError: odd"),
    ],
)
def test_a_package_that_cannot_be_imported_is_no_regression(tmp_path, broken, code, message, program):
    (tmp_path / "typer.py").write_text(f"{broken}\n")
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
    command = [sys.executable, "-m", program, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert message in done.stderr
    assert len(list(tmp_path.glob(f"{program.replace('_', '-')}-*.txt"))) == (code == 70)


def test_verbose_shows_the_traceback_and_no_control_characters(tmp_path):
    command = [sys.executable, "-c", FAULTS, "--verbose", "fault", "key"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 70
    assert "Traceback" in done.stderr and "\x1b" not in done.stderr
