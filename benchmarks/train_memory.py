"""Peak memory of `sample`, `evaluate` and `conflicts` with few clips and with many.

    python benchmarks/train_memory.py OUT.json [--worlds miniature crowd] [--clips 20 200] [--repeats 3]

Each command runs in a process of its own, on a miniature of random weights that samples ten clips at a time, and prints
the most main memory that the process ever had (VmHWM). The least of several processes counts: which thread allocates
when moves the peak by up to 11 MB, and what a command needs it needs each time. The difference between many clips and
few is compared with what the clips themselves take: a command that kept them would need that much more.

Exit code 1 where a command needs more than `TARGET` of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from run import machine

from omninft_train.miniature.worlds import WORLDS
from omninft_train.recipe import load
from omninft_train.training import saving
from omninft_train.training.assemble import assemble
from omninft_train.training.distributed import World

# Of `sample`, the libraries that encode take up to 9 MB more and then no more, whether it is 800 clips or 1,600.
TARGET = 0.75
PROMPTS = 10
COMMANDS = {
    "sample": ("--limit", str(PROMPTS), "--steps", "2", "--samples"),
    "evaluate": ("--steps", "2", "--prompts", "prompts.jsonl", "--samples"),
    "conflicts": ("--prompts", str(PROMPTS), "--group-size"),
}
CHILD = """
import sys
from omninft_train.cli import app
from peak_memory import peak_bytes
app(sys.argv[1:], standalone_mode=False)
print(peak_bytes())
"""


def make_run(folder: Path, world: str) -> Path:
    """A run after no training, with prompts beside it."""
    from omninft_train.miniature.pretrain import PretrainOptions, pretrained

    weights = pretrained(folder / "weights", PretrainOptions(steps=1, batch=2, world=world))
    config = load("omninft", world, [f'backbone.path="{weights}"', "sampling.batch=10", "sampling.steps=4"])
    saving.save(assemble(config, folder / "run", World()), 0)
    texts = [vars(prompt) for prompt in WORLDS[world].training_prompts()[:PROMPTS]]
    assert len(texts) == PROMPTS
    keys = ("prompt_av", "prompt_v", "prompt_a")
    lines = [json.dumps({key: text[key] for key in keys}) + "\n" for text in texts]
    (folder / "prompts.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def peak(folder: Path, command: str, clips: int) -> int:
    """Bytes of one command in a process of its own."""
    out = Path(tempfile.mkdtemp(prefix=f"{command}-{clips}-", dir=folder), "out")
    arguments = [command, "run", "--out", str(out), *COMMANDS[command], str(clips // PROMPTS)]
    here = Path(__file__).parent
    path = os.pathsep.join((str(here.parent), str(here), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    return int(done.stdout.splitlines()[-1])


def clip_bytes(world: str) -> int:
    """What a decoded clip takes."""
    (clip,) = WORLDS[world].render([WORLDS[world].draw(0)])
    return clip.frames.nbytes + clip.waveform.nbytes


def measure(world: str, counts: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Peaks in bytes by command and number of clips, and the growth of the least as a fraction of the further clips."""
    few, many = counts
    further = (many - few) * clip_bytes(world)
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), world)
        peaks = {
            command: {count: [peak(run, command, count) for _ in range(repeats)] for count in counts}
            for command in COMMANDS
        }
    growth = {command: (min(found[many]) - min(found[few])) / further for command, found in peaks.items()}
    return {"further_clips_bytes": further, "peak_bytes": peaks, "growth_over_clips": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--clips", nargs=2, type=int, default=(20, 200), help=f"multiples of {PROMPTS}")
    parser.add_argument("--repeats", type=int, default=3, help="processes per command and number of clips")
    options = parser.parse_args()
    worlds = {world: measure(world, tuple(options.clips), options.repeats) for world in options.worlds}
    metadata = {"machine": machine(("torch", "diffusers", "peft")), "target": TARGET}
    text = json.dumps(metadata | {"worlds": worlds}, indent=1)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(any(value > TARGET for world in worlds.values() for value in world["growth_over_clips"].values()))


if __name__ == "__main__":
    main()
