"""Mutated manifests, prompt lists and reference sets: each gives a valid result or one line with exit code 2.

    python tests/fuzz/fuzz_readers.py --count 40000 --seed 0

Case n of a seed is always the same, so `--first n --count 1` repeats it. What fails is kept in --keep.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.results_file import add_option, endings, save

from avbench.errors import AvbenchError
from avbench.run.reference_sets import load_reference
from avbench.sources import Source, load_source

SECONDS = 5.0
COLUMNS = ["text", "audio_text", "id", "model", "categories", "cat:x", "file", "note", "audio", "cat0_ind"]
PATHS = ["a.mp4", "s/b.mp4", "x_1.mp4", "gone.mp4", "./a.mp4"]
USUAL = ["A dog barks.", "A cat, then; a dog | runs.", "", "None", "a.mp4", "x_1", "0"]
WORDS = [
    *("../x.mp4", "/etc/passwd", "http://x/a.mp4", "s\\b.mp4", "link/x.mp4", ".", "s", " ", "sample_index"),
    *("None", "N/A", "nan", "0", "1.0", "-1", "9" * 5000, "1e999", "[1]", "{}", '["x"]', '{"a": "b"}', "a: b; c"),
    *("\x1b]0;own\x07", "\u202e", "\u2028", "cafe\u0301", "\ud800", "x" * 200_000, "x\ny", "\r", '"', "'", "=1+1"),
]
PIECES = [
    *(
        b"\0",
        b'"',
        b'""',
        b",",
        b";",
        b"\t",
        b"|",
        b"\n",
        b"\r",
        b"\r\n",
        b"sep=;\n",
        b"sep=,\n",
        b"[",
        b"]",
        b"{",
        b"}",
    ),
    *(b"[" * 3000, b'{"a":' * 3000, b"null", b"NaN", b"true", b"9" * 5000, b'"\\ud800"', b"\\u0000", b"\xff\xfe"),
    *(
        b"\xef\xbb\xbf",
        b"\xe9",
        b"\xf0\x9f",
        b"video",
        b"text",
        b"PAR1",
        b"PK\x03\x04",
        b"\x93NUMPY",
        b"(1000000000, 400)",
    ),
]


def main() -> int:
    """Run the cases; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz_readers"))
    add_option(parser)
    options = parser.parse_args()
    results: Counter[str] = Counter()
    findings: list[str] = []
    slowest, begin = 0.0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        root = _folder(Path(name))
        for number in range(options.first, options.first + options.count):
            path = _write_case(root, random.Random(f"{options.seed}/{number}"))
            for reading, call in _readings(path, root):
                start = time.perf_counter()
                result, failure = _attempt(call, root)
                slowest = max(slowest, seconds := time.perf_counter() - start)
                if seconds > SECONDS:
                    failure = failure or f"took {seconds:.1f} s"
                results[f"{path.suffix} as {reading}: {'FAILED' if failure else result}"] += 1
                if failure:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, options.keep / f"{options.seed}_{number}_{reading}{path.suffix}")
                    findings.append(f"case {number} as {reading}: {failure}")
                    print(findings[-1], file=sys.stderr)
    for line, count in sorted(results.items()):
        print(f"{count:7} {line}")
    readings = sum(results.values())
    print(f"{readings} readings of {options.count} files, {len(findings)} failed, slowest {slowest:.2f} s")
    figures = {"seed": options.seed, "first": options.first, "files": options.count, "readings": readings}
    seconds = {"seconds": round(time.monotonic() - begin, 1), "slowest_s": round(slowest, 3)}
    outcomes = {"outcomes": dict(sorted(results.items())), "findings": findings}
    save(options.results, "readers", figures | seconds | endings(findings) | outcomes)
    return int(bool(findings))


def _folder(parent: Path) -> Path:
    root = parent.resolve() / "clips"
    (root / "s").mkdir(parents=True)
    for name in ("a.mp4", "s/b.mp4", "x_1.mp4", "a.wav", "../outside.mp4"):
        (root / name).write_bytes(b"dummy")
    (root / "link").symlink_to(parent)
    return root


def _readings(path: Path, root: Path) -> list[tuple[str, Callable[[], object]]]:
    if path.suffix in (".npz", ".pt"):
        return [("reference", lambda: load_reference(path))]
    prompts = ("prompts", lambda: load_source(root, prompts=path))
    return [prompts] if path.suffix == ".txt" else [("manifest", lambda: load_source(path)), prompts]


def _attempt(call: Callable[[], object], root: Path) -> tuple[str, str]:
    """What came out, and what is wrong with that."""
    try:
        with warnings.catch_warnings(action="error"):
            found = call()
        if isinstance(found, Source):
            _check_source(found, root)
    except AvbenchError as error:
        message = str(error)
        if error.exit_code != 2 or len(message.splitlines()) != 1 or len(message) > 4000:
            return "", f"exit {error.exit_code}, {message[:3000]!r}"
        return "refused", ""
    except Exception:  # noqa: BLE001 - what a reader must never raise is what is looked for
        return "", traceback.format_exc()
    return "read", ""


def _check_source(source: Source, root: Path) -> None:
    ids = [clip.clip_id for clip in source.clips]
    assert ids and len(set(ids)) == len(ids)
    for clip in source.clips:
        texts = [clip.prompt.text, clip.prompt.video_text, clip.prompt.audio_text, clip.model, clip.clip_id]
        for text in (text for text in texts if text is not None):
            assert isinstance(text, str) and text.encode() and "\0" not in text
        for file in (file for file in (clip.video, clip.audio) if file is not None):
            assert file.is_absolute() and file.resolve().is_relative_to(root)


def _write_case(root: Path, rng: random.Random) -> Path:
    kind = rng.choice([".csv", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".parquet", ".parquet", ".npz", ".pt"])
    path = root / f"case{kind}"
    if kind == ".parquet":
        parquet.write_table(_table(rng), path, compression=rng.choice(["snappy", "zstd", "none"]))
        data = path.read_bytes()
    else:
        data = _SEEDS[kind](rng)
    path.write_bytes(_mutated(data, rng) if rng.random() < 0.5 else data)
    return path


def _mutated(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        start = rng.randrange(len(data) + 1)
        stop = min(len(data), start + rng.choice([0, 1, 1, 4, 30, 500]))
        piece = rng.choice([b"", rng.randbytes(rng.randrange(1, 5)), rng.choice(PIECES), data[start:stop] * 2])
        data = data[:start] + piece + data[stop:]
    return data if rng.random() < 0.95 else data[: rng.randrange(len(data) + 1)]


def _word(rng: random.Random) -> str:
    return rng.choice(USUAL if rng.random() < 0.9 else WORDS)


def _path(rng: random.Random) -> str:
    return rng.choice(PATHS) if rng.random() < 0.97 else _word(rng)


def _value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.random()
    if kind < 0.85:
        return _word(rng)
    if kind < 0.93 or depth > 2:
        return rng.choice([None, True, 3, -1, 2.5, float("nan"), float("inf"), 10**30])
    if kind < 0.97:
        return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {_word(rng): _value(rng, depth + 1) for _ in range(rng.randrange(3))}


def _names(rng: random.Random) -> list[str]:
    names = rng.sample(COLUMNS, rng.choice([1, 1, 2, 3, 5]))
    names = ["video", *names] if rng.random() < 0.8 else names
    rng.shuffle(names)
    return [name if rng.random() < 0.97 else _word(rng)[:300] for name in names]


def _separated(rng: random.Random, usual: str) -> bytes:
    delimiter = usual if rng.random() < 0.7 else rng.choice(",;\t|")
    names = _names(rng)
    lines = [names]
    lines += [[_path(rng) if name in ("video", "audio", "file") else _word(rng) for name in names] for _ in range(3)]
    quoted = rng.random() < 0.8
    cells = [['"' + cell.replace('"', '""') + '"' if quoted else cell for cell in line] for line in lines]
    text = rng.choice(["\n", "\r\n", "\r"]).join(delimiter.join(line) for line in cells)
    text = (f"sep={delimiter}\n" if rng.random() < 0.1 else "") + text
    return text.encode(rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"]), "surrogatepass")


def _records(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {name: _path(rng) if name in ("video", "audio", "file") else _value(rng) for name in _names(rng)}
        for _ in range(rng.randrange(1, 4))
    ]


def _json(rng: random.Random) -> bytes:
    value: Any = _records(rng) if rng.random() < 0.6 else {_path(rng): _value(rng) for _ in range(3)}
    return json.dumps(value if rng.random() < 0.95 else _value(rng)).encode()


def _json_lines(rng: random.Random) -> bytes:
    return rng.choice(["\n", "\r\n", "\r"]).join(map(json.dumps, _records(rng))).encode()


def _lines(rng: random.Random) -> bytes:
    return "\n".join(_word(rng) for _ in range(rng.randrange(1, 4))).encode("utf-8", "surrogatepass")


def _column(rng: random.Random) -> pa.Array:
    texts = [_path(rng).encode("utf-8", "replace").decode() for _ in range(2)]
    media = [
        {"bytes": rng.choice([None, b"a.mp4", rng.randbytes(rng.choice([3, 40_000]))]), "path": text} for text in texts
    ]
    makers: list[Callable[[], pa.Array]] = [
        lambda: pa.array(texts),
        lambda: pa.array(texts, pa.large_string()),
        lambda: pa.array(texts).dictionary_encode(),
        lambda: pa.array([text.encode() for text in texts]),
        lambda: pa.array([rng.randbytes(rng.choice([3, 40_000])), None]),
        lambda: pa.array(media, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        lambda: pa.array([[texts[0]], texts]),
        lambda: pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
        lambda: pa.array([rng.randrange(-(2**53), 2**53)] * 2, pa.timestamp(rng.choice(["s", "ms", "us", "ns"]))),
        lambda: pa.array([rng.randrange(2**40), None], rng.choice([pa.int64(), pa.duration("ns"), pa.time64("us")])),
        lambda: pa.array([float("nan"), 1.0]),
        lambda: pa.array([True, None]),
        lambda: pa.nulls(2),
    ]
    return makers[min(int(rng.expovariate(0.35)), len(makers) - 1)]() if rng.random() < 0.3 else makers[0]()


def _table(rng: random.Random) -> pa.Table:
    names = [name.encode("utf-8", "replace").decode() for name in _names(rng)]
    return pa.Table.from_arrays([_column(rng) for _ in names], names=names)


def _arrays(rng: random.Random) -> dict[str, Any]:
    rows = rng.randrange(1, 4)
    dtype = rng.choice(["<f4", "<f4", "<f2", ">f8", "i1", "c8", "U3", "?"])
    arrays: dict[str, Any] = {"video": np.zeros((rows, 400), dtype), "audio": np.zeros((rows, 1024), "<f4")}
    more = {"mode": rng.choice(["fixed", "other", 3]), "source": _word(rng)[:40], "ids": np.array(["p"] * rows)}
    return arrays | {name: value for name, value in more.items() if rng.random() < 0.5}


def _npz(rng: random.Random) -> bytes:
    file = io.BytesIO()
    rng.choice([np.savez, np.savez_compressed])(file, **_arrays(rng))
    return file.getvalue()


def _pt(rng: random.Random) -> bytes:
    import torch

    video = torch.zeros(1).expand(rng.choice([3, 10**9]), 400) if rng.random() < 0.3 else torch.zeros(2, 400)
    file = io.BytesIO()
    torch.save({"video": video, "audio": torch.zeros(2, 1024)}, file, _use_new_zipfile_serialization=rng.random() < 0.8)
    return file.getvalue()


_SEEDS: dict[str, Callable[[random.Random], bytes]] = {
    ".csv": lambda rng: _separated(rng, ","),
    ".tsv": lambda rng: _separated(rng, "\t"),
    ".json": _json,
    ".jsonl": _json_lines,
    ".txt": _lines,
    ".npz": _npz,
    ".pt": _pt,
}

if __name__ == "__main__":
    sys.exit(main())
