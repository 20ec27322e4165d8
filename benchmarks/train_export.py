"""Seconds and peak memory of a cold `omninft-train export`: a new process, and a checkpoint that is in no cache.

    python benchmarks/train_export.py FOLDER OUT.json

The checkpoint holds a LoRA of LTX-2's true size in the recipe's rank, drawn by the names of its tensors.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from run import machine
from train_device import drawn

from omninft_train.models.lora import adapter_shapes
from omninft_train.models.ltx2 import config_digest, describe
from omninft_train.recipe import load
from omninft_train.training import checkpoint

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from tiny_pipeline import save_full_size_configs

CASES = {
    "diffusers": (),
    "comfyui": ("--format", "comfyui"),
    "peft": ("--format", "peft"),
    "diffusers, bfloat16": ("--dtype", "bfloat16"),
}


def save_run(folder: Path) -> Path:
    """A run's folder with one checkpoint, which has what `export` reads."""
    pipeline = save_full_size_configs(folder / "pipeline")
    config = load("omninft", "ltx2", [f'backbone.path="{pipeline}"'])
    network = describe(pipeline, ["transformer"])["transformer"]
    tensors = {
        name: drawn(name, torch.empty(shape)) for name, shape in adapter_shapes(network, config.policy.rank).items()
    }
    meta = {
        "backbone": "ltx2",
        "backbone_digest": config_digest(network),
        "config": asdict(config),
        "network": json.loads(network.to_json_string()),
    }
    checkpoint.save(folder / "run", config.run.steps, {"policy": tensors}, meta)
    return folder / "run"


def forget(folder: Path) -> None:
    """Let the system drop the files of a folder from its cache."""
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(run: Path, out: Path, arguments: tuple[str, ...]) -> dict[str, float]:
    """One export in a process of its own."""
    shutil.rmtree(out, ignore_errors=True)
    forget(run)
    command = [sys.executable, "-m", "omninft_train", "export", str(run), "--out", str(out), *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"train_export.py: {' '.join(command)} failed")
    written = sum(path.stat().st_size for path in out.iterdir())
    return {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,  # whatever else the machine does
        "written_gb": written / 1e9,
        "peak_gb": usage.ru_maxrss * 1024 / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="4 GB of files are written there; it must not exist")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True)
    run = save_run(folder)
    cases = {name: measure(run, folder / "out", arguments) for name, arguments in CASES.items()}
    outcome = json.dumps({"machine": machine(("torch", "safetensors")), "cases": cases}, indent=1)
    arguments.out.write_text(f"{outcome}\n")
    print(outcome)


if __name__ == "__main__":
    main()
