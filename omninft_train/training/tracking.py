"""Logging of a run: a JSON line per step in metrics.jsonl, a line on the console, and a mirror of the user's choice."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol, cast

from omninft_train.errors import EnvironmentProblem, SettingError, UsageError, near
from omninft_train.files import write_atomically
from omninft_train.importing import import_named
from omninft_train.training.trackers import ShownClip

_LOG = logging.getLogger(__name__)
METRICS = "metrics.jsonl"
_CONSOLE = ("loss", "gradient_norm", "conflict_share")


class Mirror(Protocol):
    """Any tracker that takes the values of a step; one with `show` and `close` gets clips, and is told the end."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Keep the values of a step."""
        ...


class Tracker:
    """Logs of one run.

    Args:
        folder: of the run; made if need be.
        first: step that the run starts or goes on with; lines of it and of later steps are dropped.
        mirror: "package.module:name" of a callable that takes the folder and returns a `Mirror`; None for none.
        silent: keep nothing, as all processes but one do.

    Raises:
        UsageError: the mirror cannot be found.
        EnvironmentProblem: the file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        first: int = 0,
        *,
        mirror: str | None = None,
        services: Sequence[Mirror] = (),
        silent: bool = False,
    ) -> None:
        self._path = folder / METRICS
        self._silent = silent
        self._mirrors = list(services)
        if silent:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _drop_from(self._path, first)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        if mirror is not None:
            self._mirrors.append(cast(Mirror, _find(mirror)(folder)))

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Append the values of a step: numbers, texts, tensors, or lists and mappings of them; NaN becomes null.

        Raises:
            EnvironmentProblem: the file cannot be written.
        """
        if self._silent:
            return
        row: dict[str, Any] = {"step": step} | {key: _plain(value) for key, value in values.items()}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")
        except OSError as error:
            raise _unwritable(self._path, error) from error
        _LOG.info("%s", console_line(row))
        values = {key: value for key, value in row.items() if key != "step"}
        self._pass_on(lambda mirror: mirror.log(step, values))

    def tell(self, step: int, values: Mapping[str, Any]) -> None:
        """Hand values that are kept elsewhere to whatever else shows the run, at the step that comes next."""
        plain = {key: _plain(value) for key, value in values.items()}
        self._pass_on(lambda mirror: mirror.log(step, plain))

    def show(self, step: int, clips: Sequence[ShownClip]) -> None:
        """Hand clips of a step to whatever can show them."""
        self._pass_on(lambda mirror: mirror.show(step, clips) if hasattr(mirror, "show") else None)

    def close(self) -> None:
        """End what has an end."""
        self._pass_on(lambda mirror: mirror.close() if hasattr(mirror, "close") else None)

    def _pass_on(self, call: Callable[[Any], None]) -> None:
        for mirror in list(self._mirrors):
            try:
                call(mirror)
            except Exception as error:  # noqa: BLE001 - a service that is down is no reason to lose a run
                _LOG.warning("the mirror failed and is left out from now on: %s: %s", type(error).__name__, error)
                self._mirrors.remove(mirror)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Logged steps of a run, in order; empty where nothing is logged. A last line that was cut off is left out."""
    path = folder / METRICS
    return [row for row, _ in _rows(path)] if path.exists() else []


def best_step(folder: Path, key: str, saved: Iterable[int], window: int) -> int:
    """The saved step whose policy did best: by the mean of a logged value over the steps just before it.

    One step is judged by a few dozen rollouts, which is too few to choose by.

    Args:
        key: of the log; higher is better.
        saved: numbers of steps whose policies are there.
        window: how many steps the mean goes back.

    Raises:
        UsageError: no step has that value.
    """
    rows = read_metrics(folder)
    values = {row["step"] + 1: row[key] for row in rows if isinstance(row.get(key), (int, float))}
    means: dict[int, float] = {}
    for step in sorted(saved):
        span = [value for number, value in values.items() if step - window < number <= step]
        if span:
            means[step] = fmean(span)
    if not means:
        names = sorted({name for row in rows for name in row})
        raise UsageError(f"{folder}: no saved step has '{key}' in its log. {near(key, names)}")
    return max(means, key=lambda step: means[step])


def reward_key(name: str, quantity: str) -> str:
    """The key under which a step logs a quantity of a reward, such as its "mean"."""
    return f"reward_{name}_{quantity}"


def reward_names(log: Iterable[Mapping[str, Any]]) -> list[str]:
    """Rewards of a run, in the order in which its steps name them."""
    keys = [key for row in log for key in row if key.startswith("reward_")]
    ends = ("_mean", "_invalid")
    return list(dict.fromkeys(key.removeprefix("reward_").rpartition("_")[0] for key in keys if key.endswith(ends)))


def step_seconds(row: Mapping[str, Any]) -> float:
    """Seconds of a step: the sum of its phases."""
    return sum(value for key, value in row.items() if key.startswith("seconds_") and isinstance(value, (int, float)))


def console_line(row: Mapping[str, Any]) -> str:
    """One line of a step: loss, gradient norm, mean rewards, seconds."""
    parts = [f"step {row['step']}"]
    parts += [f"{key} {row[key]:.4g}" for key in _CONSOLE if row.get(key) is not None]
    means = {name: row.get(reward_key(name, "mean")) for name in reward_names([row])}
    parts += [f"{name} {mean:.4g}" for name, mean in means.items() if mean is not None]
    if seconds := step_seconds(row):
        parts.append(f"{seconds:.1f} s")
    return "  ".join(parts)


def _rows(path: Path) -> Iterable[tuple[dict[str, Any], str]]:
    """Whole lines of the file with what they hold."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            yield row, line


def _drop_from(path: Path, first: int) -> None:
    if not path.exists():
        return
    write_atomically(path, "".join(f"{line}\n" for row, line in _rows(path) if row["step"] < first).encode())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):  # tensors and arrays of any size
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _find(name: str) -> Any:
    module, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    try:
        function = getattr(import_named(f"tracker '{name}'", module), attribute)
    except AttributeError as error:
        reason = f"tracker '{name}' cannot be found ({error}). Expected package.module:name."
        raise SettingError(reason, "run.mirror") from error
    except UsageError as error:
        raise SettingError(str(error), "run.mirror") from error
    if not callable(function):
        raise SettingError(f"tracker '{name}' is not callable. Expected a function of the run's folder.", "run.mirror")
    return function


def _unwritable(path: Path, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{path} cannot be written ({error.strerror or error}). Make room or choose another run folder (--out)."
    )
