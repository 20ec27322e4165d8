"""The study of reward conflicts from runs to files: rollouts are made by the trainer, then tables, plots and a page."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from avbench.errors import EnvironmentProblem, UsageError
from avbench.files import make_folder, rename, write_atomically
from avbench.pages.markdown import section_markdown
from avbench.pages.numbers import format_value, with_sign
from avbench.pages.scatter import matrix, scatter
from avbench.pages.table import Column, Table, row_of
from avbench.statistics import Interval
from avbench.terminal.text import markdown_text, to_csv
from omninft_train.ablation.conflicts import Study, read_rollouts, sentence, study
from omninft_train.ablation.curves import Plot
from omninft_train.ablation.page import Page, render_page
from omninft_train.ablation.processes import environment, failure

PAPER = (
    "OmniNFT's Figure 2a: nearly half of 1,400 rollouts (175 prompts x 8) of LTX-2, as digests print it. With another "
    "model or other rewards it is not the same quantity."
)
_MOST_POINTS = 1500
Role = Literal["policy", "old", "reference"]


@dataclass(frozen=True)
class StudyRequest:
    """Settings of a study of reward conflicts.

    Attributes:
        sources: runs of the trainer, folders of ablations, or JSON files that `conflicts` wrote.
        out: folder.
        prompts, group_size: rollouts that are made for runs.
        seed: of their noise; None for the run's own.
        role: whose rollouts; "reference" for the policy before training, where the trainer offers it.
        std: see `study`.
        trainer: its command.
        command: for the page.
        step: whose policy: a number, "best" or "last", as the trainer takes it.
    """

    sources: tuple[Path, ...]
    out: Path
    prompts: int = 175
    group_size: int = 8
    seed: int | None = None
    role: Role = "policy"
    std: Literal["batch", "group"] = "batch"
    trainer: tuple[str, ...] = (sys.executable, "-m", "omninft_train")
    command: str = ""
    step: str = "last"


def run_study(request: StudyRequest) -> list[Study]:
    """Make what rollouts are missing, study them, and write tables, plots and a page.

    Raises:
        UsageError: a source is neither a run nor a file, or holds too little.
        EnvironmentProblem: the trainer cannot be started, or a file cannot be written.
    """
    if request.group_size < 2:
        raise UsageError(
            f"group size {request.group_size} (--group-size): advantages need at least 2 rollouts of a prompt."
        )
    if request.prompts < 2:
        raise UsageError(f"prompts = {request.prompts} (--prompts): the interval over groups needs at least 2.")
    named = [pair for source in request.sources for pair in _runs(source, request)]
    labels = [name for name, _ in named]
    if len(set(labels)) < len(labels):  # the same name in several places: show where
        named = [(str(path), path) for _, path in named]
    make_folder(request.out, "--out")
    files = [(name, _rollouts(request, name, path)) for name, path in named]
    studies = [study(read_rollouts(file, name), request.std) for name, file in files]
    _write(request, studies)
    return studies


def _runs(source: Path, request: StudyRequest) -> list[tuple[str, Path]]:
    """Name and path of each run or file below a source."""
    role = request.role
    if source.suffix == ".json" and source.is_file():
        return [(source.stem, source)]
    at = "" if request.step == "last" or role == "reference" else f" at {_policy(request)}"
    if (source / "metrics.jsonl").is_file() or any(source.glob("checkpoint-*")):
        name = source.name if source.name != "run" else source.parent.as_posix()
        return [(f"{name} before training" if role == "reference" else f"{name}{at}", source)]
    runs = sorted((source / "runs").glob("*/seed-*/run")) if source.is_dir() else []
    if not runs:
        raise UsageError(
            f"{source}: neither a run of the trainer, nor an ablation's folder, nor a JSON file of rollouts. "
            "Give what 'omninft-train train --out' or 'avbench ablate --out' wrote."
        )
    if role == "reference":  # before training, all variants are the same policy
        first = [path for path in runs if path.parts[-3] == runs[0].parts[-3]]
        return [(f"before training/{path.parts[-2]}", path) for path in first]
    return [(f"{'/'.join(path.parts[-3:-1])}{at}", path) for path in runs]


def _policy(request: StudyRequest) -> str:
    return "its best step" if request.step == "best" else f"step {request.step}"


def _rollouts(request: StudyRequest, name: str, path: Path) -> Path:
    """The file of rollouts of a run; one that was made with the same arguments is used again."""
    if path.is_file():
        return path
    log = path / "metrics.jsonl"
    steps = len(log.read_bytes().splitlines()) if log.is_file() else 0  # a run that went on is another policy
    which = f"step{steps}" if request.step == "last" else f"step{steps}-at-{request.step}"
    how = f"{request.role}-{which}-{request.prompts}x{request.group_size}"
    how += "" if request.seed is None else f"-seed{request.seed}"
    file = request.out / "rollouts" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-')}-{how}.json"
    if file.is_file():
        return file
    make_folder(file.parent, "--out")
    partial = file.with_suffix(".partial.json")
    arguments = ["--prompts", str(request.prompts), "--group-size", str(request.group_size)]
    arguments += [] if request.seed is None else ["--seed", str(request.seed)]
    arguments += [] if request.role == "policy" else ["--role", request.role]
    arguments += [] if request.step == "last" else ["--step", request.step]
    _sample([*request.trainer, "conflicts", str(path), "--out", str(partial), *arguments], path, file)
    read_rollouts(partial)
    rename(partial, file)
    return file


def _sample(command: Sequence[str], run: Path, file: Path) -> None:
    """Let the trainer sample rollouts, in a process of its own: it gives its memory back."""
    log, error_file = file.with_suffix(".log"), file.with_suffix(".error.json")
    error_file.unlink(missing_ok=True)
    try:
        with log.open("wb") as output:
            code = subprocess.run(  # noqa: S603 - the trainer, without a shell
                list(command), stdout=output, stderr=output, env=environment(1, error_file), check=False
            ).returncode
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot start {command[0]}: {error.strerror or error}. Check the trainer's command (--trainer)."
        ) from error
    if code:
        code, message = failure(code, error_file, log)
        text = f"{run}: no rollouts, {message}"
        raise UsageError(text) if code == 2 else EnvironmentProblem(text)


def _write(request: StudyRequest, studies: Sequence[Study]) -> None:
    blocks = [summary_block(studies), *(_matrix_block(one) for one in studies)]
    plots = [plot for number, one in enumerate(studies) for plot in _plots(number, one)]
    sentences = [sentence(one) for one in studies]
    content: dict[str, bytes] = {
        "conflicts.json": (json.dumps([_record(one) for one in studies], indent=1) + "\n").encode(),
        "conflicts.csv": _rows(studies).encode(),
        "conflicts.md": _markdown(blocks, sentences).encode(),
    }
    content |= {f"{plot.name}.svg": plot.chart.standalone() for plot in plots}
    page = Page(
        title="Reward conflicts",
        brand="avbench study",
        about="Advantages of a rollout's video rewards and of its audio rewards, each normalised within its group. "
        "Where the signs differ, one summed reward teaches one of the two branches the wrong thing.",
        metadata=[
            ("Runs", ", ".join(one.rollouts.name for one in studies)),
            ("Normalised by", f"{request.std} standard deviation"),
        ],
        command=request.command,
        notes=[PAPER],
        sentences=sentences,
        blocks=blocks,
        plots=plots,
        plots_title="Plots",
        files=tuple(content),
    )
    content["conflicts.html"] = render_page(page).encode("utf-8", "replace")
    for name, data in content.items():
        write_atomically(request.out / name, data)


_SUMMARY = (
    Column("run", "run", "text"), Column("opposite", "opposite signs"), Column("opposite_interval", "95 % over groups"),
    Column("correlation", "correlation"), Column("correlation_interval", "95 % over groups"),
    Column("rollouts", "rollouts"), Column("groups", "groups"), Column("ties", "ties"),
)  # fmt: skip


def summary_block(studies: Sequence[Study]) -> Table:
    """One line for each run."""
    rows = []
    for one in studies:
        texts = (
            one.rollouts.name,
            f"{one.fraction:.1%}",
            _ends(one.fraction_interval, lambda value: f"{value:.1%}"),
            _signed(one.correlation),
            _ends(one.correlation_interval, _signed),
            f"{one.counted} of {len(one.video)}",
            str(one.group_count),
            str(one.ties),
        )
        rows.append(row_of(texts))
    note = (
        "Independent rewards have opposite signs in 50 % of rollouts. A tie is an advantage of exactly 0: no conflict."
    )
    return Table("Opposite signs of video and audio advantages", _SUMMARY, tuple(rows), (note,))


def _signed(value: float) -> str:
    return with_sign(format_value(value, 2))


def _matrix_block(one: Study) -> Table:
    rewards = one.rollouts.rewards
    columns = (
        Column("reward", "reward", "text"), Column("route", "route", "word"), Column("weight", "weight"),
        *(Column(f"with_{name}", f"with {name}") for name in rewards),
    )  # fmt: skip
    rows = []
    for i, name in enumerate(rewards):
        texts = [name, one.rollouts.routes[i], f"{one.rollouts.weights[i]:g}"]
        for j in range(len(rewards)):
            apart = "" if i == j or not math.isfinite(one.by_reward[i, j]) else f" ({one.by_reward[i, j]:.0%})"
            texts.append(_signed(float(one.matrix[i, j])) + apart)
        rows.append(row_of(texts))
    note = "Correlation within groups; in brackets the fraction of rollouts with opposite signs."
    return Table(f"Rewards with each other: {one.rollouts.name}", columns, tuple(rows), (note,))


def _plots(number: int, one: Study) -> list[Plot]:
    known = np.flatnonzero(np.isfinite(one.video) & np.isfinite(one.audio))
    shown = known[:: max(1, -(-len(known) // _MOST_POINTS))]
    points = [(float(one.video[i]), float(one.audio[i])) for i in shown]
    name = one.rollouts.name
    labels = ("advantage of video rewards", "advantage of audio rewards")
    values = [[None if not math.isfinite(v) else float(v) for v in row] for row in one.matrix]
    correlations = matrix(f"{name}: correlations of rewards within groups", one.rollouts.rewards, values)
    return [
        Plot(f"advantages-{number}", scatter(f"{name}: one dot per rollout", labels, points, sentence(one))),
        Plot(f"correlations-{number}", correlations),
    ]


def _ends(interval: Interval, text: Callable[[float], str]) -> str:
    if interval.low is None or interval.high is None:
        return interval.reason
    return f"[{text(interval.low)}, {text(interval.high)}]"


def _record(one: Study) -> dict[str, Any]:
    def table(values: Any) -> list[list[float | None]]:
        return [[float(v) if math.isfinite(v) else None for v in row] for row in values]

    numbers = {
        "share": one.fraction, "low": one.fraction_interval.low, "high": one.fraction_interval.high,
        "correlation": one.correlation, "correlation_low": one.correlation_interval.low,
        "correlation_high": one.correlation_interval.high,
    }  # fmt: skip
    return {
        "name": one.rollouts.name,
        "rewards": list(one.rollouts.rewards),
        "routes": list(one.rollouts.routes),
        "weights": list(one.rollouts.weights),
        **{key: value if value is not None and math.isfinite(value) else None for key, value in numbers.items()},
        "correlations": table(one.matrix),
        "opposite": table(one.by_reward),
        "rollouts": len(one.video),
        "counted": one.counted,
        "ties": one.ties,
        "groups": one.group_count,
        "sentence": sentence(one),
    }


def _rows(studies: Sequence[Study]) -> str:
    lines = []
    for one in studies:
        for group, video, audio in zip(one.rollouts.groups, one.video, one.audio, strict=True):
            known = math.isfinite(video) and math.isfinite(audio)
            opposite = ("yes" if video * audio < 0 else "no") if known else ""
            texts = [f"{value:.6g}" if math.isfinite(value) else "" for value in (video, audio)]
            lines.append([one.rollouts.name, str(group), *texts, opposite])
    return to_csv(("run", "group", "advantage_video", "advantage_audio", "opposite"), lines)


def _markdown(blocks: Sequence[Table], sentences: Sequence[str]) -> str:
    parts = ["# Reward conflicts", "\n".join(f"- {markdown_text(text)}" for text in sentences), markdown_text(PAPER)]
    for block in blocks:
        parts += [f"## {markdown_text(block.title)}", *section_markdown(block)]
    return "\n\n".join(parts) + "\n"
