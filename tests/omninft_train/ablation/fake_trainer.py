"""A trainer that does the steps of omninft-train in milliseconds: numbers are drawn, and follow from arguments alone.

Environment variables that tests set: FAKE_SLEEP, seconds of a training step; FAKE_FAIL, a text that makes a command
fail when it occurs in its arguments; FAKE_PRETRAINED, name of the folder of a pretraining; FAKE_CALLS, a file that
every call is written to; FAKE_CLIP, a clip that `sample` copies.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

KNOWN = {
    "run": {"seed": 0, "steps": 3, "save_every": 1, "keep_checkpoints": 1, "probe_every": 0},
    "prompts": {"groups": 2, "group_size": 4, "path": ""},
    "backbone": {"kind": "miniature", "path": ""},
    "surgery": {"enabled": False, "where": "", "rules": []},
    "optimizer": {"lr": 1e-4},
}
GAIN = {"gdpo": 0.2, "omninft-routing": 0.4, "omninft-routing-surgery": 0.4, "omninft": 0.6}
METRICS = {"picture": True, "sound": True, "av_align": False, "level": False}


def fail(text: str, code: int = 2) -> None:
    sys.stderr.write(f"omninft-train: {text}\n")
    Path(os.environ["AVBENCH_ERROR_FILE"]).write_text(json.dumps({"exit_code": code, "message": text}))
    sys.exit(code)


def parse(arguments: list[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """Positional arguments, options, and the values of --set."""
    plain, options, sets = [], {}, []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--set":
            sets.append(next(rest))
        elif argument.startswith("--"):
            options[argument[2:]] = next(rest)
        else:
            plain.append(argument)
    return plain, options, sets


def configure(options: dict[str, str], sets: list[str]) -> dict[str, Any]:
    config = {section: dict(values) for section, values in KNOWN.items()}
    config["advantages"] = {"mode": options["recipe"]}
    for text in sets:
        key, _, value = text.partition("=")
        section, _, name = key.partition(".")
        config[section][name] = tomllib.loads(f"value = {value}")["value"]
    return config


def train(out: Path, config: dict[str, Any]) -> None:
    if not Path(config["backbone"]["path"]).is_dir():
        fail(f"{config['backbone']['path']}: no pretrained model.")
    out.mkdir(parents=True, exist_ok=True)
    log = out / "metrics.jsonl"
    before = log.read_text().splitlines() if log.exists() else []
    rng = random.Random(json.dumps(config["advantages"]) + str(config["run"]["seed"]))
    gain = GAIN[config["advantages"]["mode"]]
    for step in range(config["run"]["steps"]):
        noise = rng.gauss(0, 0.02)
        if step < len(before):
            continue
        time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
        row = {
            "step": step, "loss": 4.0 - gain * step, "conflict_share": 0.5,
            "seconds_sample": 0.5, "seconds_update": 0.25,
            "reward_picture_mean": 0.3 + gain * step / 10 + noise, "reward_sound_mean": None if step == 1 else 0.4,
        }  # fmt: skip
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")
    (out / "config.json").write_text(json.dumps(config))


def evaluate(run: Path, options: dict[str, str]) -> None:
    config = json.loads((run / "config.json").read_text())
    gain = 0.0 if options["role"] == "reference" else GAIN[config["advantages"]["mode"]]
    samples, metrics = int(options["samples"]), {}
    for name, rewarded in METRICS.items():
        values = []
        for place in range(6 * samples):
            shared = random.Random(f"{options['seed']} {place} {name}").gauss(0, 0.3)
            own = random.Random(f"{options['seed']} {place} {name} {gain} {config['run']['seed']}").gauss(0, 0.05)
            values.append(round(shared + own + (gain if rewarded else 0), 6))
        metrics[name] = {"rewarded": rewarded, "values": values}
    metrics["level"]["values"][0] = None
    sets = {"distance": 1.0 - gain + 0.01 * config["run"]["seed"]}
    content = {
        "role": options["role"], "step": 4, "seed": int(options["seed"]), "samples": samples, "sampling_steps": 8,
        "prompts": [f"p{i}" for i in range(6)], "metrics": metrics, "sets": sets, "failures": [],
    }  # fmt: skip
    path = Path(options["out"])
    path.with_suffix(".partial").write_text(json.dumps(content))
    path.with_suffix(".partial").replace(path)


def sample(options: dict[str, str]) -> None:
    out, samples = Path(options["out"]), int(options["samples"])
    out.mkdir(parents=True, exist_ok=True)
    prompts = [json.loads(line) for line in Path(options["prompts"]).read_text().splitlines()]
    lines = ["clip_id,video,text,prompt_id,sample_index"]
    for place in range(len(prompts)):
        for index in range(samples):
            name = f"{place:05d}-{index}"
            shutil.copy(os.environ["FAKE_CLIP"], out / f"{name}.mp4")
            lines.append(f"{name},{name}.mp4,text,{place:05d},{index}")
    (out / "manifest.csv").write_text("\n".join(lines) + "\n")


def conflicts(options: dict[str, str]) -> None:
    rng = random.Random(int(options.get("seed", 0)))
    groups = [g for g in range(int(options["prompts"])) for _ in range(int(options["group-size"]))]
    values = [[rng.gauss(0, 1), rng.gauss(0, 1), rng.gauss(0, 1)] for _ in groups]
    for row in values:
        row[1] = -0.5 * row[0] + row[1]
    content = {
        "rewards": ["picture", "sound", "sync"], "routes": ["video", "audio", "both"], "weights": [1.0, 1.0, 1.0],
        "groups": groups, "values": values, "valid": [[True] * 3 for _ in groups],
    }  # fmt: skip
    Path(options["out"]).write_text(json.dumps(content))


def main() -> None:
    command, *arguments = sys.argv[1:]
    if calls := os.environ.get("FAKE_CALLS"):
        with Path(calls).open("a") as file:
            file.write(json.dumps(sys.argv[1:]) + "\n")
    if threads := os.environ.get("FAKE_THREADS"):
        with Path(threads).open("a") as file:
            file.write(f"{command} {os.environ['OMP_NUM_THREADS']}\n")
    if (wanted := os.environ.get("FAKE_FAIL")) and wanted in " ".join(sys.argv[1:]):
        fail("the loss is not finite.", int(os.environ.get("FAKE_CODE", "3")))
    plain, options, sets = parse(arguments)
    if command == "pretrain":
        folder = Path(options["out"]) / os.environ["FAKE_PRETRAINED"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "meta.json").write_text("{}")
    elif command == "train":
        train(Path(options["out"]), configure(options, sets))
    elif command == "evaluate":
        evaluate(Path(plain[0]), options)
    elif command == "sample":
        sample(options)
    elif command == "conflicts":
        conflicts(options)
    else:
        fail(f"no command {command}")


main()
