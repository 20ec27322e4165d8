"""Commands of other packages, by entry points: a good one works, a broken one is named and harms no other."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MODULE = """
import typer

def greet(name: str) -> None:
    "Say hello."
    typer.echo(f"hello {name}")

app = typer.Typer(help="Two words.", no_args_is_help=True)

@app.command("one")
def one() -> None:
    "The first."
    typer.echo("one")

@app.command("two")
def two() -> None:
    "The second."

number = 3
"""
ENTRIES = """
[avbench.commands]
greet = stranger:greet
words = stranger:app
score = stranger:greet
gone = stranger_without_its_extra:command
misspelt = stranger:gret
number = stranger:number
noisy = stranger_that_raises:command
"""


@pytest.fixture
def stranger(tmp_path):
    """Environment in which a package adds commands."""
    folder = tmp_path / "site"
    meta = folder / "stranger-1.0.dist-info"
    meta.mkdir(parents=True)
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(ENTRIES)
    (folder / "stranger.py").write_text(MODULE)
    (folder / "stranger_that_raises.py").write_text("raise RuntimeError('no licence today')")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(":")}


def test_commands_of_packages_are_listed_and_work(avbench, stranger):
    shown = avbench("--help", env=stranger)
    assert shown.returncode == 0, shown.stderr
    for name, help_text in {"greet": "Say hello.", "words": "Two words.", "score": "Score clips"}.items():
        assert any(line.split()[:1] == [name] and help_text in line for line in shown.stdout.splitlines()), name
    assert avbench("greet", "you", env=stranger).stdout == "hello you\n"
    assert avbench("words", "one", env=stranger).stdout == "one\n"
    assert "completion" not in avbench("words", "--help", env=stranger).stdout


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", "No module named 'stranger_without_its_extra'"),
        pytest.param("misspelt", "has no attribute 'gret'", marks=pytest.mark.long),
        pytest.param("number", "stranger:number is neither a function nor a typer.Typer", marks=pytest.mark.long),
        ("noisy", "no licence today"),
    ],
)
def test_a_broken_one_is_one_line_and_exit_code_4(avbench, stranger, name, reason):
    done = avbench(name, "--its-own", "argument", env=stranger)
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"avbench: no command '{name}': it cannot be loaded from stranger (") and reason in line
    shown = avbench("--help", env=stranger)
    assert any(line.split()[:1] == [name] and "Not available" in line for line in shown.stdout.splitlines())


def test_no_package_is_imported_for_a_command_of_avbench(avbench, stranger, tmp_path):
    (tmp_path / "site" / "stranger.py").write_text("import pathlib\npathlib.Path('touched').touch()\n" + MODULE)
    assert avbench("ls", "--help", env=stranger, cwd=tmp_path).returncode == 0
    assert not (tmp_path / "touched").exists()
    assert avbench("greet", "you", env=stranger, cwd=tmp_path).returncode == 0
    assert (tmp_path / "touched").exists()


def test_near_names_are_suggested(avbench, stranger):
    done = avbench("gret", env=stranger)
    assert done.returncode == 2 and "greet" in done.stderr


@pytest.mark.parametrize("arguments", [("ablate", "--grid", "miniature"), ("study", "conflicts", "runs")])
def test_commands_of_the_trainer_are_listed_without_its_packages_and_say_what_to_install(tmp_path, arguments):
    """A stand-in for an environment without the extra: torch cannot be imported."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}

    def run(*words):
        command = [sys.executable, "-m", "avbench", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

    shown = run("--help")
    assert shown.returncode == 0 and any(line.split()[:1] == [arguments[0]] for line in shown.stdout.splitlines())
    done = run(*arguments)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 4
    assert "needs torch" in line and line.endswith("pip install 'avbench[train]'")
