"""Values of a leaderboards folder: figures, quantities, conflicts, measured rows. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Literal

Provenance = Literal["published", "measured"]
STATISTICS = ("value", "std", "difference", "relative_change", "setting")
STATUSES = ("exact-from-two-sources", "one-source", "conflicting", "derived", "unknown")
DIRECTIONS = ("higher", "lower", "n/a")
MODES = ("fixed", "compat")
REAL_WEIGHTS = "checkpoints"
"""`weights` of a run whose networks are the real ones; every other kind is for tests and is refused here."""
PUBLISHED_COLUMNS = (
    "paper", "arxiv_id", "table", "benchmark", "row", "setting", "backbone", "method", "metric", "quantity",
    "statistic", "value", "unit", "direction", "source", "status", "conflict", "note",
)  # fmt: skip
QUANTITY_COLUMNS = ("quantity", "label", "group", "unit", "direction", "low", "high", "avbench", "meaning")


@dataclass(frozen=True)
class Problem:
    """One problem in the folder: file, line, column, and what to do."""

    file: str
    line: int
    column: str
    message: str

    def __str__(self) -> str:
        where = self.file + (f" line {self.line}" if self.line else "") + (f", {self.column}" if self.column else "")
        return f"{where}: {self.message}"


@dataclass(frozen=True)
class Quantity:
    """A thing that can be measured, whatever a paper calls it.

    Attributes:
        quantity: key; the name of the avbench metric where there is one.
        label: column heading.
        group: section of the page's column chooser.
        unit: "1" for a plain number.
        direction: "higher" or "lower" is better; "either" where papers disagree.
        low, high: closed bounds of possible values; None for none.
        avbench: metric of this project that measures it, empty for none.
        meaning: one line.
    """

    quantity: str
    label: str
    group: str
    unit: str
    direction: str
    low: Decimal | None = None
    high: Decimal | None = None
    avbench: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Conflict:
    """Why a number is doubtful, as a footnote says it."""

    key: str
    title: str
    text: str

    @property
    def heading(self) -> str:
        """The title as a sentence of its own."""
        return self.title if self.title.endswith(("?", ".")) else f"{self.title}."


@dataclass(frozen=True)
class Figure:
    """One number of a table with its provenance. `value` is the text as printed, empty where unknown.

    `computation` separates measured numbers of different modes, protocols, precisions or networks.
    """

    provenance: Provenance
    file: str
    line: int
    paper: str
    arxiv_id: str
    table: str
    benchmark: str
    row: str
    setting: str
    backbone: str
    method: str
    metric: str
    quantity: str
    statistic: str
    value: str
    unit: str
    direction: str
    source: str
    status: str
    conflict: tuple[str, ...] = ()
    note: str = ""
    computation: str = ""

    @property
    def number(self) -> Decimal | None:
        """The value as an exact decimal; None where it is unknown or a text."""
        return Decimal(self.value) if self.value and self.statistic != "setting" else None

    @property
    def entry_key(self) -> tuple[str, ...]:
        """Figures with the same key stand in one row of a table; a standard deviation stands with its mean."""
        setting = self.setting.replace("std over", "mean over") if self.statistic == "std" else self.setting
        return (self.provenance, self.paper, self.table, self.benchmark, self.row, setting)

    @property
    def scope(self) -> tuple[str, ...]:
        """Within one scope, prompts and protocol are the same, and numbers can be compared."""
        return (self.provenance, self.paper, self.benchmark, self.computation)


@dataclass(frozen=True)
class MeasuredRow:
    """One mean of one metric over the clips of a run of our own; the columns of measured/*.csv.

    Attributes:
        benchmark: prompts and protocol; rows of one benchmark can be compared.
        row: name of the model in tables. setting: size, steps, and the like.
        backbone, method: base model, and what was done to it; empty where not stated.
        metric: avbench's name. quantity: the same without the mode.
        mode: "fixed", or "compat" for the reference's number with its flaws.
        value: mean, as text. spread: standard deviation over seeds. low, high: 95 % interval of the mean over clips.
        n, n_of: clips with a value, and clips.
        run_digest: over the contents of the run's score table.
        weights_digest: of the networks that judge; "none" without networks. weights: "checkpoints", always.
        generator_digest: of the weights of the model that made the clips; empty where not stated.
        seeds: of the generator, or of training, separated by spaces.
        machine, date, avbench_version, command: where, when and how; the date is YYYY-MM-DD.
    """

    benchmark: str
    row: str
    setting: str
    backbone: str
    method: str
    metric: str
    quantity: str
    mode: str
    value: str
    spread: str
    low: str
    high: str
    n: str
    n_of: str
    unit: str
    direction: str
    run_digest: str
    weights_digest: str
    weights: str
    precision: str
    protocol: str
    generator_digest: str
    seeds: str
    machine: str
    date: str
    avbench_version: str
    command: str
    note: str = ""


MEASURED_COLUMNS = tuple(field.name for field in fields(MeasuredRow))


def as_figures(row: MeasuredRow, file: str, line: int) -> list[Figure]:
    """A measured row as figures: its mean, and its standard deviation where it has one."""
    setting = "; ".join(part for part in (row.setting, f"mode {row.mode}", f"run {row.run_digest[:8]}") if part)
    source = f"run {row.run_digest}, weights {row.weights_digest}, seeds {row.seeds}, {row.machine}, {row.date}"
    counts = f"{row.n} of {row.n_of} clips" + (f", 95 % interval {row.low} to {row.high}" if row.low else "")
    note = "; ".join(part for part in (counts, row.note) if part)
    computation = " ".join((row.mode, row.protocol or "-", row.precision, row.weights_digest))

    def figure(statistic: str, value: str) -> Figure:
        direction = row.direction if statistic == "value" else "n/a"
        return Figure(
            "measured", file, line, "measured", "-", Path(file).stem, row.benchmark, row.row, setting, row.backbone,
            row.method, row.metric, row.quantity, statistic, value, row.unit, direction, source, "measured", (), note,
            computation,
        )  # fmt: skip

    return [figure("value", row.value)] + ([figure("std", row.spread)] if row.spread else [])


@dataclass(frozen=True)
class Board:
    """A leaderboards folder that was read.

    `figures` has published and measured ones, in order of files and lines; `measured` the rows behind the latter.
    """

    folder: Path
    quantities: Mapping[str, Quantity]
    conflicts: Mapping[str, Conflict]
    figures: tuple[Figure, ...]
    measured: tuple[MeasuredRow, ...]
