"""docs/training.md is complete and true: keys and defaults, what is logged, commands, pictures, figures."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shlex
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from tiny_pipeline import save_full_size_configs
from tiny_training import run, tiny_config, tiny_weights

from omninft_train.cli import app
from omninft_train.config import Config
from omninft_train.miniature import judges
from omninft_train.miniature.backbone import MiniatureBackbone, Size
from omninft_train.miniature.codec import SOLO
from omninft_train.miniature.pretrain import PretrainOptions
from omninft_train.miniature.render import render_scenes
from omninft_train.miniature.world import draw_scene
from omninft_train.prompts import load_prompts
from omninft_train.recipe import load, to_toml
from omninft_train.training.memory import Memory, estimate
from omninft_train.training.tracking import read_metrics

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "training.md").read_text(encoding="utf-8")
NONE = "–"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def rows(above: str) -> list[list[str]]:
    """Cells of the first table below a line of the page, or with that line as its head."""
    below = PAGE.split(f"\n{above}\n", 1)[1]
    table = re.search(r"^\|[ :|-]+\|\n(.*?)(?=\n\n)", below, re.MULTILINE | re.DOTALL)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def keys(kind: Any, prefix: str = "") -> dict[str, Any]:
    """Every key of a configuration with its default; elements of lists of tables without an index."""
    found: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for entry in dataclasses.fields(kind):
        inner = hints[entry.name]
        element = typing.get_args(inner)[0] if typing.get_origin(inner) is tuple else inner
        if dataclasses.is_dataclass(element):
            found |= keys(element, f"{prefix}{entry.name}.")
        else:
            found[prefix + entry.name] = entry.default
    return found


def of(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def shown(value: Any) -> str:
    """A value as the tables show it."""
    if value is None or value == {} or value is dataclasses.MISSING:
        return NONE
    if value == "":
        return "(empty)"
    return value if isinstance(value, str) else json.dumps(float(value) if isinstance(value, float) else value)


def test_every_key_has_a_row_with_its_values():
    sections = re.findall(r"^### ([a-z, ]+)$", PAGE.split("\n## Every key\n")[1].split("\n## ")[0], re.MULTILINE)
    table = {row[0].strip("`"): row[1:] for section in sections for row in rows(f"### {section}")}
    defaults = keys(Config)
    assert table.keys() == defaults.keys()
    ltx2, miniature = (load("omninft", backbone) for backbone in ("ltx2", "miniature"))
    for key, default in defaults.items():
        meaning, first, second, _ = table[key]
        listed = key.startswith(("rewards.reward.", "surgery.rules."))
        wanted = [shown(default if listed else of(config, key)) for config in (ltx2, miniature)]
        if key == "regions.first_block":
            wanted = ["0.0", "0.5"]
        assert meaning or key == "preset", key
        assert (first, second) == (wanted[0], "" if wanted[1] == wanted[0] else wanted[1]), key


def test_every_logged_value_is_explained(tmp_path: Path):
    weights, rows_logged = tiny_weights(tmp_path / "pretraining"), []
    for recipe in ("omninft", "marble", "arr"):
        run(tiny_config(weights, "run.probe_every=1", "run.steps=1", recipe=recipe), tmp_path / recipe)
        rows_logged += read_metrics(tmp_path / recipe)
    logged = {re.sub(r"^reward_[a-z]+_", "reward_NAME_", key) for row in rows_logged for key in row}
    told = {name for row in rows("## What is logged") for name in re.findall(r"`(\w+)`", row[0])}
    assert told - {"peak_memory_gb"} == logged - {"peak_memory_gb"}


def commands() -> list[list[str]]:
    text = "\n".join(blocks("sh") + blocks("text")).replace("\\\n", " ")
    found = [re.search(r"(?:omninft-train|-m omninft_train) (.+)", line) for line in text.splitlines()]
    return [shlex.split(match[1]) for match in found if match]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_have_these_options_and_values(command: list[str], tmp_path: Path):
    """Options are parsed and recipes are read; nothing is run."""
    name, *arguments = command
    group = typer.main.get_command(app)
    options = group.commands[name].make_context(name, arguments).params  # type: ignore[attr-defined]
    if "recipe" not in options:
        return
    recipe, backbone = options["recipe"], options.get("backbone")
    if name == "miniature":
        backbone = "miniature"
    if recipe == "bright.toml":
        recipe = tmp_path / recipe
        recipe.write_text(next(text for text in blocks("toml") if "my_rewards" in text))
    config = load(recipe, backbone, options["set_"] or [])
    assert to_toml(config)


def test_there_are_commands():
    assert {command[0] for command in commands()} > {"miniature", "train", "sample", "evaluate", "export", "conflicts"}


def test_files_on_the_page_are_read(tmp_path: Path):
    for number, text in enumerate(blocks("toml")):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        load(path)
    (tmp_path / "prompts.jsonl").write_text(blocks("json")[0])
    assert load_prompts(tmp_path / "prompts.jsonl")[0].metadata == {"set": "animals"}
    space: dict[str, Any] = {}
    exec(next(text for text in blocks("python") if "my_rewards" in text), space)
    frames = np.full((2, 4, 4, 3), 51, np.uint8)
    assert space["bright"](frames, 10.0, np.zeros((1, 8), np.float32), 8000, "") == pytest.approx(0.2)


def drawn() -> dict[str, str]:
    source = importlib.util.spec_from_file_location("draw_training", DOCS.parent / "benchmarks" / "draw_training.py")
    assert source is not None and source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    return {name: draw() for name, draw in module.PICTURES.items()}


def test_pictures_are_fresh_and_shown():
    """Equal but for the last digit of a coordinate, and the bytes of embedded pixels."""
    for name, content in drawn().items():
        assert f"(images/training-{name}.svg)" in PAGE
        kept = (DOCS / "images" / f"training-{name}.svg").read_text(encoding="utf-8")
        parts = [re.split(r"(-?\d+\.\d+)", re.sub(r'href="data:[^"]*"', "", text)) for text in (content, kept)]
        assert parts[0][::2] == parts[1][::2], f"{name}: run python benchmarks/draw_training.py"
        new, old = (np.array(part[1::2], float) for part in parts)
        assert np.allclose(new, old, atol=0.11), f"{name}: run python benchmarks/draw_training.py"


def test_the_world_scores_as_stated():
    scenes = [draw_scene(10_000 + number) for number in range(96)]
    real = render_scenes(scenes)
    after = SOLO.decode(SOLO.encode(real))
    for row, clips in zip(rows("| | `picture` | `sound` | `sync` |"), (real, after), strict=True):
        for stated, judge in zip(row[1:], (judges.picture, judges.sound, judges.sync), strict=True):
            values = [
                judge(clip.frames, clip.fps, clip.waveform, clip.sample_rate, scene.prompt.prompt_av)
                for clip, scene in zip(clips, scenes, strict=True)
            ]
            assert float(stated) == pytest.approx(float(np.mean(values)), abs=0.006), row[0]


def test_network_and_pretraining_are_as_stated():
    size, options = Size(), PretrainOptions()
    count = sum(p.numel() for p in MiniatureBackbone.untrained().transformer.parameters())
    widths = f"widths {size.video_width} and {size.audio_width}"
    assert f"{count:,} parameters: {size.blocks} blocks, {size.heads} heads, {widths}" in PAGE
    assert f"{options.steps:,} steps of {options.batch} scenes" in PAGE
    assert f"from 48 blocks to {size.blocks}." in PAGE


@pytest.mark.long
def test_memory_is_as_stated(tmp_path: Path):
    folders = {version: save_full_size_configs(tmp_path / version, version) for version in ("2.0", "2.3", "2.5")}
    evaluated = ("run.eval_every=50", 'evaluation.heldout=["av_align", "clip_score"]')
    table = {row[0].strip("*"): [float(cell.strip("*")) for cell in row[1:]] for row in rows("### Memory")}
    columns = [("ltx2", 1, 1), ("ltx2", 8, 1), ("ltx2", 16, 1), ("ltx2", 8, 4)]
    columns += [(name, 1, 1) for name in ("ltx2.3", "ltx2.5", "ltx2-small", "ltx2-32gb")]
    assert list(table) == [*(entry.name for entry in dataclasses.fields(Memory)), "peak"]
    for column, (backbone, world, batch) in enumerate(columns):
        path = f'backbone.path="{folders.get(backbone.removeprefix("ltx"), folders["2.0"])}"'
        found = estimate(load("omninft", backbone, [path, f"optimizer.batch={batch}", *evaluated]), world)
        assert all(len(stated) == len(columns) for stated in table.values())
        for name, stated in table.items():
            assert stated[column] == pytest.approx(getattr(found, name) / 1e9, abs=0.006), (
                name,
                backbone,
                world,
                batch,
            )
