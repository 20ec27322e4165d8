"""Damaged run folders, made from a good one by a seed, against the commands that read run folders.

Each has to end with an exit code of its own and one line, whatever lies in the folder:

    python tests/fuzz/fuzz_run_folders.py --folders 300 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.results_file import add_option, endings, save

DATA = Path(__file__).parent.parent / "data" / "run_with_absolute_paths"
METRICS = "loudness,sharpness,av_offset,fvd"
SECRET = "MARK-OF-A-FILE-THAT-NO-PAGE-MAY-HOLD"
SECONDS = 300
"""A command that takes longer hangs; on an idle machine it takes a fraction of a second."""

JSONS = ("run.json", "summary.json")
TABLES = ("scores.parquet", "clips.parquet", "categories.parquet")
RECORDS = ("scores.jsonl", "clips.jsonl")
FILES = (*JSONS, *TABLES, *RECORDS)
EVIL: tuple[Any, ...] = (
    None, True, -1, 0, 3, 10**30, 1e308, -1e308, float("nan"), float("inf"), "", "text", "\ud800", "\x1b]0;own\x07",
    "../..", "/etc/passwd", "\0", [], [1], {}, {"a": {"b": []}}, "x" * 5000, "ok", "clip", "all", "<script>",
    2**63, 0.5, "1e999",
)  # fmt: skip


@dataclass(frozen=True)
class Damage:
    """One damaged folder: what was done to which file."""

    what: str
    file: str


def damage(folder: Path, secret: Path, rng: random.Random) -> Damage:
    """Damage one file of a good run folder, sometimes two."""
    name = rng.choice(FILES)
    own: dict[str, Callable[..., None]] = CONTENT[Path(name).suffix]
    kinds = {**PLACE, **own, **own}  # the content twice as often as the file itself
    what = rng.choice([*PLACE, *own, *own])
    kinds[what](folder / name, secret, rng)
    return Damage(what, name)


def _missing(path: Path, _: Path, rng: random.Random) -> None:
    path.unlink()


def _empty(path: Path, _: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def _torn(path: Path, _: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def _flipped(path: Path, _: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 3, 30))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _zeros(path: Path, _: Path, rng: random.Random) -> None:
    path.write_bytes(bytes(rng.randrange(1, 5000)))


def _not_utf8(path: Path, _: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] = 0xFF
    path.write_bytes(content)


def _folder(path: Path, _: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _link_away(path: Path, secret: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(rng.choice([secret, Path("/etc/passwd"), Path("/proc/self/environ"), Path("gone"), path]))


def _link_to_another_run(path: Path, _: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(DATA / "run" / path.name)


def _pipe(path: Path, _: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


PLACE: dict[str, Callable[..., None]] = {
    "missing": _missing, "empty": _empty, "torn": _torn, "flipped bits": _flipped, "zeros": _zeros,
    "not UTF-8": _not_utf8, "a folder": _folder, "a link away": _link_away,
    "a link to another run": _link_to_another_run, "a pipe": _pipe,
}  # fmt: skip


def _replace_node(path: Path, _: Path, rng: random.Random) -> None:
    content = json.loads(path.read_text())
    holder, key = rng.choice([(None, None), *_nodes(content)])
    if holder is None:
        content = rng.choice(EVIL)
    else:
        holder[key] = rng.choice(EVIL)
    path.write_text(json.dumps(content))


def _nodes(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from _nodes(content[key])


def _remove_node(path: Path, _: Path, rng: random.Random) -> None:
    content = json.loads(path.read_text())
    holder, key = rng.choice([node for node in _nodes(content) if isinstance(node[0], dict)])
    del holder[key]
    path.write_text(json.dumps(content))


def _deep(path: Path, _: Path, rng: random.Random) -> None:
    path.write_text("[" * 200_000 if rng.random() < 0.5 else '{"a":' * 100_000)


def _other_schema(path: Path, _: Path, rng: random.Random) -> None:
    content = json.loads(path.read_text())
    content["schema_version"] = rng.choice((0, -1, 2, 99, "1", 1.0, None))
    path.write_text(json.dumps(content))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _line_cell(path: Path, _: Path, rng: random.Random) -> None:
    rows = _lines(path)
    row = rng.choice(rows)
    row[rng.choice([*row])] = rng.choice(EVIL)
    _write_lines(path, rows)


def _line_key(path: Path, _: Path, rng: random.Random) -> None:
    rows = _lines(path)
    row = rng.choice(rows)
    if rng.random() < 0.7:
        del row[rng.choice([*row])]
    else:
        row["unknown"] = 1
    _write_lines(path, rows)


def _line_of_another_kind(path: Path, _: Path, rng: random.Random) -> None:
    rows: list[Any] = _lines(path)
    rows.insert(rng.randrange(len(rows) + 1), rng.choice(EVIL))
    _write_lines(path, rows)


def _lines_twice(path: Path, _: Path, rng: random.Random) -> None:
    rows = _lines(path)
    _write_lines(path, rows + rng.sample(rows, len(rows)))


def _columns(path: Path) -> dict[str, list[Any]]:
    return pq.read_table(path).to_pydict()


def _write_columns(path: Path, columns: dict[str, list[Any]], **types: Any) -> None:
    schema = pq.read_schema(path)
    arrays = {}
    for name, values in columns.items():
        try:
            kind = types.get(name) or (schema.field(name).type if name in schema.names else None)
            arrays[name] = pa.array(values, kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            arrays[name] = pa.array([None if value is None else repr(value) for value in values])
    pq.write_table(pa.table(arrays), path)


def _cell(path: Path, _: Path, rng: random.Random) -> None:
    columns = _columns(path)
    name = rng.choice([*columns])
    column = columns[name]
    column[rng.randrange(len(column))] = rng.choice(EVIL)
    _write_columns(path, columns)


def _whole_column(path: Path, _: Path, rng: random.Random) -> None:
    columns = _columns(path)
    name = rng.choice([*columns])
    columns[name] = [rng.choice(EVIL)] * len(columns[name])
    kind = rng.choice((pa.string(), pa.int64(), pa.float64(), pa.list_(pa.string()), pa.binary(), pa.bool_(), None))
    _write_columns(path, columns, **{name: kind})


def _column_names(path: Path, _: Path, rng: random.Random) -> None:
    table = pq.read_table(path)
    names = table.column_names
    at = rng.randrange(len(names))
    kind = rng.choice(("drop", "rename", "twice", "extra"))
    if kind == "drop":
        table = table.drop([names[at]])
    elif kind == "extra":
        table = table.append_column("unknown", pa.array([[1]] * len(table)))
    else:
        names[at] = "unknown" if kind == "rename" else names[at - 1]
        table = table.rename_columns(names)
    pq.write_table(table, path)


def _rows_twice(path: Path, _: Path, rng: random.Random) -> None:
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(rng.randrange(len(table)))]), path)


def _no_rows(path: Path, _: Path, rng: random.Random) -> None:
    pq.write_table(pq.read_table(path).slice(0, rng.choice((0, 0, 1))), path)


def _bomb(path: Path, _: Path, rng: random.Random) -> None:
    """A small file of hundreds of millions of rows, or of one long text many times."""
    table = pq.read_table(path)
    if rng.random() < 0.5:
        row = table.slice(0, 1)
        part = pa.concat_tables([row] * 200_000).combine_chunks()
        with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
            for _ in range(10):
                writer.write_table(part)
    else:
        names = [field.name for field in table.schema if pa.types.is_string(field.type)]
        table = pa.concat_tables([table.slice(0, 1)] * 5_000).combine_chunks()
        text = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["x" * 1_000_000]))
        at = table.schema.get_field_index(rng.choice(names))
        pq.write_table(table.set_column(at, table.schema.field(at).name, text), path, compression="zstd")


def _text_that_is_none(path: Path, _: Path, rng: random.Random) -> None:
    table = pq.read_table(path)
    names = [field.name for field in table.schema if pa.types.is_string(field.type)]
    name = rng.choice(names)
    raw = pa.array([b"\xff\xfe"] * len(table), pa.binary()).view(pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, raw), path)


def _wrong_metadata(path: Path, _: Path, rng: random.Random) -> None:
    table = pq.read_table(path)
    content = rng.choice((b"no json", b"{}", b'{"index_columns": ["clip_id"], "columns": []}', b"[" * 10_000))
    pq.write_table(table.replace_schema_metadata({b"pandas": content}), path)


_JSON = {"another node": _replace_node, "a node less": _remove_node, "deep": _deep, "other schema": _other_schema}
_LINES = {
    "another cell": _line_cell, "another key": _line_key, "a line of another kind": _line_of_another_kind,
    "lines twice": _lines_twice,
}  # fmt: skip
_PARQUET = {
    "another cell": _cell, "another column": _whole_column, "other names": _column_names, "rows twice": _rows_twice,
    "no rows": _no_rows, "bomb": _bomb, "no text": _text_that_is_none, "metadata": _wrong_metadata,
}  # fmt: skip
CONTENT: dict[str, dict[str, Callable[..., None]]] = {".json": _JSON, ".jsonl": _LINES, ".parquet": _PARQUET}


@dataclass(frozen=True)
class Result:
    """How one command ended."""

    command: str
    code: int
    out: str
    error: str


class Hangs(Exception):
    """A command took too long."""


def run(*arguments: object) -> Result:
    """Run `avbench` in this process; an exception that escapes is code 1 with its traceback, as for a user."""
    from avbench.cli import main

    out, error = io.StringIO(), io.StringIO()
    code: Any = 0
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        with (
            mock.patch.object(sys, "argv", ["avbench", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
        ):
            main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001 - what a user would see as a traceback
        code = 1
        error.write(traceback.format_exc())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return Result(str(arguments[0]), code, out.getvalue(), error.getvalue())


def _too_long(*_: object) -> None:
    raise Hangs(f"more than {SECONDS} s")


@dataclass(frozen=True)
class Stage:
    """Where damaged folders are tried: a good run and its clips, a leaderboards folder, a file to keep secret."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Stage:
        """A stage below an empty folder; the good run is made by this avbench."""
        from avbench.leaderboard.schema import PUBLISHED_COLUMNS

        shutil.copytree(DATA / "clips", root / "clips")
        board = root / "board"
        (board / "published").mkdir(parents=True)
        quantities = "quantity,label,group,unit,direction,low,high,avbench,meaning\n"
        (board / "quantities.csv").write_text(quantities + "loudness,LUFS,Sound,LUFS,either,,,loudness,loudness\n")
        (board / "published" / "p.csv").write_text(",".join(PUBLISHED_COLUMNS) + "\n")
        (board / "conflicts.toml").write_text("")
        (board / "views.toml").write_text("")
        (root / "secret.mp4").write_text(SECRET)
        stage = cls(root)
        for name in ("good", "baseline"):
            made = run("score", root / "clips", "-o", root / name, "-m", METRICS, "-q", "--no-html")
            if made.code:
                raise RuntimeError(made.error)
        return stage

    def commands(self, folder: Path) -> dict[str, tuple[object, ...]]:
        """The commands that read a run folder."""
        good = self.root / "baseline"
        return {
            "report": ("report", folder),
            "check": ("check", folder, "-b", good, "-q"),
            "check against": ("check", good, "-b", folder, "-q"),
            "calibrate": ("check", "calibrate", folder, good, "-q", "--out", self.root / "noise.toml"),
            "leaderboard": (
                "leaderboard", "add", folder, "--benchmark", "b", "--seeds", "0", "--folder", self.root / "board",
                "--file", f"{folder.name}.csv",
            ),
            "score": ("score", self.root / "clips", "-o", folder, "-m", METRICS, "-q"),
        }  # fmt: skip

    def attempt(self, seed: int, wrong: list[str], codes: Counter[str]) -> Damage:
        """Make the damaged folder of a seed and run every command on a copy of it."""
        done = Damage("", "")
        for name in self.commands(Path()):
            folder = self.root / f"damaged-{seed}"
            shutil.copytree(self.root / "good", folder)
            rng = random.Random(seed)
            done = damage(folder, self.root / "secret.mp4", rng)
            if rng.random() < 0.2:
                with contextlib.suppress(OSError, ValueError, KeyError, IndexError, pa.ArrowException):
                    damage(folder, self.root / "secret.mp4", rng)
            result = run(*self.commands(folder)[name])
            codes[f"{name}: {result.code}"] += 1
            wrong += [
                f"seed {seed}, {done.what} {done.file}, {name}: {text}" for text in self._judge(result, name, folder)
            ]
            shutil.rmtree(folder)
            (self.root / "board" / "measured" / f"{folder.name}.csv").unlink(missing_ok=True)
        if (self.root / "secret.mp4").read_text() != SECRET:
            wrong.append(f"seed {seed}, {done.what} {done.file}: a file outside of the run was changed")
        return done

    def _judge(self, result: Result, name: str, folder: Path) -> Iterator[str]:
        lines = [line for line in result.error.splitlines() if not line.startswith("note: ")]
        if "Traceback" in result.error:
            yield result.error
        elif result.code not in (0, 2, 3, 4):
            # No seed makes numbers worse beyond doubt: a 1 would call a damaged run a regression.
            yield f"exit code {result.code}: {result.error}"
        elif result.code and len(lines) != 1:
            yield f"{len(lines)} lines for code {result.code}: {result.error}"
        page = folder / "report.html"
        if result.command == "report" and page.is_file() and SECRET in page.read_text(errors="replace"):
            yield "the page holds a file that is none of its clips"
        if result.command == "leaderboard" and result.code == 0:
            after = run("leaderboard", "check", "--folder", self.root / "board")
            if after.code:
                yield f"what was added is refused by 'leaderboard check': {after.error}"


def main() -> int:
    """Run many seeds; 1 where a command ended wrongly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the first folder")
    add_option(parser)
    options = parser.parse_args()
    wrong: list[str] = []
    codes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        stage = Stage.make(Path(name))
        for seed in range(options.seed, options.seed + options.folders):
            done = stage.attempt(seed, wrong, codes)
            kinds[done.what] += 1
            if (seed + 1 - options.seed) % 25 == 0:
                print(f"{seed + 1 - options.seed} folders, {len(wrong)} ended wrongly", flush=True)
    for text in wrong:
        print(text)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"most memory: {memory:.1f} GB")
    print(f"{options.folders} folders, {sum(codes.values())} commands, {time.perf_counter() - start:.0f} s")
    print("damage:", ", ".join(f"{what} {count}" for what, count in kinds.most_common()))
    print("exit codes:", ", ".join(f"{what} x {count}" for what, count in sorted(codes.items())))
    print(f"{len(wrong)} ended wrongly")
    figures = {"seed": options.seed, "folders": options.folders, "commands": sum(codes.values())}
    costs = {"seconds": round(time.perf_counter() - start, 1), "peak_gib": round(memory, 2)}
    outcomes = {"damage": dict(kinds.most_common()), "exit_codes": dict(sorted(codes.items())), "findings": wrong}
    save(options.results, "run_folders", figures | costs | endings(wrong) | outcomes)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
