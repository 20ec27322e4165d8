"""The noise floor: how much runs of one and the same checkpoint differ, measured once and kept in a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from avbench.check.comparable import environment_differences, refuse_differences, set_row, shared_metrics
from avbench.check.pairing import Matched, match_clips, read_run
from avbench.config import at_least, build, refuse
from avbench.errors import UsageError
from avbench.files import write_atomically
from avbench.results import Run
from avbench.statistics.tests import Floats, run_floor, run_noise
from avbench.toml import Origin, parse_toml, read_text, toml_key, toml_value

SCHEMA_VERSION = 1
Size = Annotated[float, at_least(0)]


@dataclass(frozen=True)
class MetricNoise:
    """How much one metric differs between runs of one checkpoint.

    Attributes:
        kind: "clip", or "set" for a distance of all clips from a reference set.
        version, weights_digest, params_digest: what computed it; a floor holds for that only. The last is empty for
            clips, where it differs from prompt to prompt.
        runs, prompts: what it was measured on; prompts with a score in every run.
        clip_sd: standard deviation over prompts of the difference between two runs; 0 for sets.
        run_sd: standard deviation of a run's mean, or of its value for sets.
        floor: difference that two runs stay within, 95 % of the time.
        source: "clips" where the scatter of clips explains the floor, else "runs".
    """

    kind: Literal["clip", "set"]
    version: int
    weights_digest: str
    params_digest: str
    runs: Annotated[int, at_least(2)]
    prompts: Annotated[int, at_least(1)]
    clip_sd: Size
    run_sd: Size
    floor: Size
    source: Literal["clips", "runs"]

    def floor_at(self, prompts: int) -> float:
        """The floor for another number of prompts: the scatter of clips averages out, that of runs does not."""
        return self.floor * (self.prompts / prompts) ** 0.5 if self.source == "clips" and prompts else self.floor


@dataclass(frozen=True)
class Noise:
    """Noise floors of one checkpoint.

    Attributes:
        prompts_digest: identity of prompts and sample indexes.
        protocol: of the runs; empty for none.
        runs: the run folders, as they were given.
        metric: floors by metric.
        notes: what to know about them.
        source: the file, for messages. origin: its text, for the lines in them.
    """

    prompts_digest: str
    protocol: str
    runs: tuple[str, ...]
    metric: Mapping[str, MetricNoise]
    notes: tuple[str, ...] = ()
    source: str = "the noise file"
    origin: Origin | None = field(default=None, compare=False, repr=False)

    def of(self, name: str, run: Run) -> MetricNoise | None:
        """The floor of a metric as this run computed it, None where it was not calibrated.

        Raises:
            UsageError: it was calibrated with another protocol, version, network or reference set.
        """
        noise = self.metric.get(name)
        if noise is None:
            return None
        row = run.scores[run.scores["metric"] == name].iloc[0]
        parameters = str(row["params_digest"]) if noise.kind == "set" else ""
        for key, label, now, calibrated in (
            ("protocol", "protocol", str(run.info.get("protocol") or ""), self.protocol),
            ("version", "version", int(row["metric_version"]), noise.version),
            ("weights_digest", "weights digest", str(row["weights_digest"]), noise.weights_digest),
            ("params_digest", "reference set or parameters", parameters, noise.params_digest),
        ):
            if now != calibrated:
                reason = (
                    f"{name} was calibrated with {label} {calibrated or 'none'}, and {run.name} has {now or 'none'}. "
                    "Calibrate again with 'avbench check calibrate'."
                )
                path = (key,) if key == "protocol" else ("metric", name, key)
                raise refuse(self.origin or Origin(self.source), path, reason)
        return noise


def calibrate(paths: Sequence[Path | str]) -> Noise:
    """Measure the noise floor of every metric from runs of one checkpoint.

    Args:
        paths: run folders or their addresses, at least two; the same prompts and samples, generated anew each time.

    Raises:
        UsageError: fewer than two runs, one given twice, or runs that cannot be compared.
    """
    if len(paths) < 2:
        raise UsageError(f"calibrate needs at least 2 runs of one checkpoint, better 4 or more; got {len(paths)}.")
    runs = [read_run(path) for path in paths]
    for number, run in enumerate(runs):
        for other in runs[:number]:
            if run.info.get("run_id") == other.info.get("run_id"):
                raise UsageError(f"{run.name} and {other.name} are the same run. Give runs that were generated anew.")
    names, notes = shared_metrics(runs, None)
    matched = match_clips(runs)
    refuse_differences(matched, names)
    if matched.same_files():
        notes.append("two of the runs judged the same files: their differences show no noise of the generator")
    notes += [f"environment: {text}" for text in environment_differences(runs)]
    floors = {name: floor for name in names if (floor := _calibrate_metric(matched, name)) is not None}
    if left := [name for name in names if name not in floors]:
        notes.append(f"fewer than 2 prompts with a score in every run: {', '.join(left)}")
    protocol = str(runs[0].info.get("protocol") or "")
    return Noise(matched.digest, protocol, tuple(run.name for run in runs), floors, tuple(notes))


def _calibrate_metric(matched: Matched, name: str) -> MetricNoise | None:
    first = set_row(matched.runs[0], name)
    if first is not None:
        rows = [set_row(run, name) for run in matched.runs]
        values = np.array([row["value"] if row and row["status"] == "ok" else np.nan for row in rows])
        if not np.isfinite(values).all():
            return None
        run_sd = float(values.std(ddof=1))
        return MetricNoise(
            "set", int(first["metric_version"]), str(first["weights_digest"]), str(first["params_digest"]),
            len(rows), matched.prompts, 0.0, run_sd, run_floor(run_sd, len(rows)), "runs",
        )  # fmt: skip
    table = prompt_table(matched, name)
    table = table[np.isfinite(table).all(axis=1)]
    if len(table) < 2:
        return None
    row, noise = matched.rows(name)[0].iloc[0], run_noise(table)
    source: Literal["clips", "runs"] = "runs" if noise.source == "runs" else "clips"
    return MetricNoise(
        "clip", int(row["metric_version"]), str(row["weights_digest"]), "", table.shape[1], len(table),
        noise.clip_sd, noise.run_sd, noise.floor, source,
    )  # fmt: skip


def prompt_table(matched: Matched, name: str) -> Floats:
    """Mean score of each prompt in each run (prompts, runs), over samples that have one in every run; else NaN."""
    import pandas as pd

    values = pd.DataFrame({n: rows["value"].to_numpy(float) for n, rows in enumerate(matched.rows(name))})
    values = values.where(values.notna().all(axis=1))
    return values.groupby(matched.clips["prompt"], sort=False).mean().to_numpy(float)


def write_noise(noise: Noise, path: Path) -> None:
    """Write the floors as TOML, aside and renamed.

    Raises:
        EnvironmentProblem: the folder cannot be written.
    """
    lines = [
        "# Noise floors, written by 'avbench check calibrate'.",
        f"schema_version = {SCHEMA_VERSION}",
        f"prompts_digest = {toml_value(noise.prompts_digest)}",
        f"protocol = {toml_value(noise.protocol)}",
        f"runs = {toml_value(list(noise.runs))}",
        f"notes = {toml_value(list(noise.notes))}",
    ]
    for name, floor in noise.metric.items():
        lines += ["", f"[metric.{toml_key(name)}]"]
        lines += [f"{key} = {toml_value(value)}" for key, value in asdict(floor).items()]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def load_noise(path: Path) -> Noise:
    """Read floors that `write_noise` wrote.

    Raises:
        UsageError: no such file, no TOML, or not the content of one; with the line.
    """
    text = read_text(path)
    content, origin = parse_toml(text, str(path)), Origin(str(path), text)
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:  # first: other keys may be unknown for that reason
        reason = f"schema_version = {version}: this avbench reads up to {SCHEMA_VERSION}."
        raise refuse(origin, ("schema_version",), reason)
    try:
        file = build(_File, content, origin)
    except UsageError as error:
        raise UsageError(f"{error} Write the file with 'avbench check calibrate'.") from error
    return Noise(file.prompts_digest, file.protocol, file.runs, file.metric, file.notes, str(path), origin)


@dataclass(frozen=True)
class _File:
    """What `write_noise` writes."""

    schema_version: int
    prompts_digest: str
    protocol: str
    runs: tuple[str, ...]
    notes: tuple[str, ...]
    metric: Mapping[str, MetricNoise]
