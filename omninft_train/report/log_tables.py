"""Tables of a run's log: rewards, gradient norms by depth, time per phase."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.pages.charts import Value
from avbench.pages.numbers import format_significant
from avbench.pages.table import Cell, Column, Row, Table
from omninft_train.report.curves import STREAMS, WITH, WITHOUT, Log, column, norms, probes
from omninft_train.training.tracking import reward_key, reward_names

_NOTE = (
    "Standard deviation over the rollouts of a step, mean of all steps. Flat groups: fraction of groups whose "
    "rollouts all scored the same, which teach nothing. Failed: rewards without a value; their rollouts were masked."
)
_PHASES = (
    Column("phase", "phase", "word"),
    Column("step", "per step"),
    Column("all", "in all"),
    Column("fraction", "fraction"),
)
_DEPTH = (
    Column("block", "block", "word"),
    Column("audio_without", "audio, without surgery"), Column("audio", "audio, as trained"),
    Column("video_without", "video, without surgery"), Column("video", "video, as trained"),
)  # fmt: skip


def reward_table(log: Log) -> Table:
    """Start and end of the run (over `ends_width` steps), standard deviation, flat groups and failures per reward."""
    width = ends_width(log)
    ends = f"{width} step{'' if width == 1 else 's'}"
    columns = (
        Column("reward", "reward", "word"), Column("first", f"first {ends}"), Column("last", f"last {ends}"),
        Column("std", "standard deviation of rollouts"), Column("flat", "flat groups"), Column("failed", "failed"),
    )  # fmt: skip
    rows = []
    for name in reward_names(log):
        means, lost = column(log, reward_key(name, "mean")), failed(log, name)
        texts = (
            format_significant(_mean(means[:width])),
            format_significant(_mean(means[-width:])),
            format_significant(_mean(column(log, reward_key(name, "std")))),
            format_significant(_mean(column(log, reward_key(name, "flat_groups")))),
        )
        rows.append(Row((Cell(name), *map(Cell, texts), Cell(str(lost), tone="bad" if lost else ""))))
    return Table("Rewards", columns, tuple(rows), (_NOTE,))


def ends_width(log: Log) -> int:
    """How many steps are averaged at each end of a run."""
    return max(1, min(10, len(log) // 4))


def failed(log: Log, name: str) -> int:
    """How often a reward had no value."""
    return round(sum(value for value in column(log, reward_key(name, "invalid")) if value is not None))


def depth_tables(log: Log) -> list[Table]:
    """The numbers of `depth_charts`; a table for each probe, a row per block."""
    tables = []
    for probe in probes(log):
        columns = [norms(probe, key, stream) for stream in STREAMS for key in (WITHOUT, WITH)]
        depth = max(map(len, columns))
        padded = [column + [None] * (depth - len(column)) for column in columns]
        rows = [
            Row((Cell(str(block)), *(Cell(format_significant(value)) for value in line)))
            for block, line in enumerate(zip(*padded, strict=True))
        ]
        tables.append(Table(f"Step {probe['step']}", _DEPTH, tuple(rows)))
    return tables


def phase_table(log: Log) -> Table:
    """Seconds per phase, in the order of the log, then their sum."""
    keys = list(dict.fromkeys(key for row in log for key in row if key.startswith("seconds_")))
    columns = {key: [value for value in column(log, key) if value is not None] for key in keys}
    every = sum(map(sum, columns.values()))
    rows = []
    for key, values in columns.items():
        if values:
            total = sum(values)
            fraction = f"{100 * total / every:.1f} %" if every else ""
            texts = (key.removeprefix("seconds_"), format_significant(total / len(values)), format_significant(total))
            rows.append(Row((*map(Cell, texts), Cell(fraction))))
    if len(rows) > 1:
        sums = ("all phases", format_significant(every / len(log)), format_significant(every), "100 %")
        rows.append(Row(tuple(map(Cell, sums)), summary=True))
    return Table("Seconds per phase", _PHASES, tuple(rows))


def _mean(values: Sequence[Value]) -> Value:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
