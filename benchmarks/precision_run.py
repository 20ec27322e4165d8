"""The ten metrics of two real clips at one precision, in a process of its own, and how two precisions differ.

    python benchmarks/precision_run.py score fp32 fp32.json
    python benchmarks/precision_run.py score bf16 bf16.json
    python benchmarks/precision_run.py compare fp32.json bf16.json

Networks of full size with keyed-random weights. One process for each precision: both together take more than 24 GB.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from javisbench_figures import COSINES, desync_change
from network_runs import SharedRuns, score, warm_up

RESIDENT = {"fp32": 2, "bf16": 10}
"""Networks kept loaded: all of them at bf16, so that no time is spent on loading."""


def score_clips(precision: str) -> dict[str, Any]:
    """Values, logits of Synchformer and seconds without loading, by clip."""
    by_clip: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = SharedRuns(folder, "full", 1, RESIDENT[precision], lambda *_, **__: None)
        store = bench.store(precision)
        warm_up(folder, store)
        for clip in bench.clips:
            store.ledger.passes.clear()
            run = score([clip], store, folder)
            by_clip[clip.clip_id] = {
                "seconds": round(run.seconds, 2),
                "cores_used_by_others": run.others,
                "values": run.values[0],
                "encoder_seconds": {name: round(value, 2) for name, value in run.encoder_seconds.items()},
                "synchformer_logits": run.arrays["synchformer"].tolist(),
            }
    return by_clip


def compare(fp32: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Change of each metric by clip, the largest of a cosine, and what became of DeSync's classes."""
    changes = {
        clip: {name: round(other[clip]["values"][name] - value, 6) for name, value in reference["values"].items()}
        for clip, reference in fp32.items()
    }
    desync = {
        clip: desync_change(*(np.array(run[clip]["synchformer_logits"]) for run in (fp32, other))) for clip in fp32
    }
    largest = max(abs(change[name]) for change in changes.values() for name in COSINES)
    return {"change_by_clip": changes, "largest_change_of_a_cosine": largest, "desync": desync}


def main(arguments: list[str]) -> None:
    """Score, or compare."""
    if arguments[0] == "score":
        out = Path(arguments[2])
        partial = out.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(score_clips(arguments[1]), indent=1) + "\n")
        partial.replace(out)
        return
    print(json.dumps(compare(*(json.loads(Path(name).read_text()) for name in arguments[1:3])), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
