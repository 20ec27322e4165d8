"""Draw the pictures of docs/training.md from the code, into docs/images/training-*.svg.

python benchmarks/draw_training.py
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from omninft_train.config import Config
from omninft_train.method.regions import RegionOptions, region_weights
from omninft_train.method.schedule import first_levels, ltx2_levels, old_keep
from omninft_train.method.surgery import PRESETS, preset_keep
from omninft_train.miniature.backbone import Size
from omninft_train.miniature.render import render
from omninft_train.miniature.world import DURATION, draw_scene
from omninft_train.recipe import load
from omninft_train.rewards.spec import RewardSpec

IMAGES = Path(__file__).parent.parent / "docs" / "images"
INK, GREY, PALE, GREEN, ORANGE, BLUE = "#1a1f26", "#8a929b", "#eef0f3", "#0b8a72", "#c2570c", "#2459a9"
STYLE = (
    f"text{{font:12px system-ui,sans-serif;fill:{INK}}}.b{{font-weight:600}}.s{{font-size:11px;fill:#58626e}}"
    f".one{{fill:{BLUE}}}.two{{fill:{ORANGE}}}.three{{fill:{GREEN}}}"
    f".box{{fill:{PALE};stroke:#c4cad1}}.line{{fill:none;stroke:{GREY};stroke-width:1.5}}"
)
HEADS = "".join(
    f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
    for name, colour in (("grey", GREY), ("orange", ORANGE), ("green", GREEN))
)
# A scene that is nearly clean, and one with video noise and hiss.
SCENES = (23, 27)
FRAME = 44  # pixels of a shown frame


def svg(width: int, height: int, parts: Iterable[str], title: str) -> str:
    """A whole picture."""
    opened = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    start = f'{opened} role="img"><title>{escape(title)}</title><style>{STYLE}</style><defs>{HEADS}</defs>'
    return "\n".join([start, f'<rect width="{width}" height="{height}" fill="#fff"/>', *parts, "</svg>\n"])


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    """One line."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, lines: Sequence[tuple[str, str]]) -> str:
    """A box with lines of text, each with its class; the first is the heading."""
    drawn = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" class="box"/>']
    for number, (content, kind) in enumerate(lines):
        drawn.append(text(x + width / 2, y + 19 + 16 * number, content, kind, "middle"))
    return "".join(drawn)


def line(points: Sequence[tuple[float, float]], colour: str = "grey", dashed: bool = False, head: bool = True) -> str:
    """A broken line, with an arrow head at its end if asked for."""
    stroke = {"grey": GREY, "orange": ORANGE, "green": GREEN, "blue": BLUE}[colour]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    end = f' marker-end="url(#{colour})"' if head else ""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="{path}" class="line" style="stroke:{stroke}"{dash}{end}/>'


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<path d="M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z" fill="{colour}"/>'


def mix(fraction: float, low: str = "#f4f5f7", high: str = GREEN) -> str:
    """A colour between two."""
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (low, high)]
    return "#" + "".join(f"{round(a + (b - a) * fraction):02x}" for a, b in zip(*ends, strict=True))


def loop() -> str:
    """From prompts to the next old policy."""
    b, s = "b", "s"
    parts = [
        box(10, 30, 120, 84, [("prompts", b), ("4 of a list", s), ("for each step", s)]),
        box(170, 30, 170, 84, [("sample", b), ("8 clips of each prompt,", s), ("by the old policy", s)]),
        box(380, 30, 150, 84, [("score", b), ("rewards of avbench", s), ("failed: masked, not 0", s)]),
        box(570, 30, 180, 84, [("advantages", b), ("each reward against", s), ("its group; then", s)]),
        text(660, 97, "① summed for each branch", "one", "middle"),
        box(790, 30, 170, 84, [("update", b), ("DiffusionNFT", s)]),
        text(875, 81, "② gradient surgery", "two", "middle"),
        text(875, 97, "③ weights of regions", "three", "middle"),
        box(790, 176, 170, 54, [("old policy follows", b), ("old ← η old + (1 − η) θ", s)]),
        *(line([(x, 72), (x + 38, 72)]) for x in (131, 341, 531, 751)),
        line([(875, 115), (875, 174)]),
        line([(789, 203), (255, 203), (255, 116)]),
        line([(300, 115), (300, 146), (830, 146), (830, 116)], "green", dashed=True),
        text(565, 162, "attention that sound pays the picture", "three", "middle"),
        text(520, 220, "next step", "s", "middle"),
    ]
    return svg(970, 245, parts, "The loop: sample, score, advantages, update, old policy")


def block() -> str:
    """One block of LTX-2, and where the mechanisms take hold."""
    parts = [line([(70, y), (985, y)]) for y in (75, 255)]
    parts += [text(10, 79, "picture", "b"), text(10, 259, "sound", "b")]
    for y in (50, 230):
        parts += [box(100, y, 110, 50, [("self-", ""), ("attention", "")])]
        parts += [box(240, y, 110, 50, [("attention", ""), ("to the text", "")])]
        parts += [box(740, y, 80, 50, [("feed-", ""), ("forward", "")])]
    parts += [
        box(375, 50, 170, 50, [("A2V attention", "b"), ("picture asks, sound answers", "s")]),
        box(555, 230, 170, 50, [("V2A attention", "b"), ("sound asks, picture answers", "s")]),
        line([(440, 254), (440, 102)]),
        line([(470, 102), (470, 252)], "orange", dashed=True),
        text(478, 150, "② on the way back:", "two"),
        text(478, 166, "gradient × keep", "two"),
        line([(640, 76), (640, 228)]),
        text(650, 150, "③ how much attention", "three"),
        text(650, 166, "each video token gets", "three"),
        text(985, 60, "video loss", "b", "end"),
        text(985, 97, "① rewards of picture, both", "one", "end"),
        text(985, 113, "③ token weights", "three", "end"),
        text(985, 240, "audio loss", "b", "end"),
        text(985, 277, "① rewards of sound, both", "one", "end"),
    ]
    return svg(995, 300, parts, "One block: two streams, two cross-attentions, three mechanisms")


def routing() -> str:
    """Which reward trains which branch."""
    specs: tuple[RewardSpec, ...] = config().rewards.reward
    columns = [("video", 330, False), ("audio", 400, False), ("video", 510, True), ("audio", 580, True)]
    parts = [text(365, 18, "gdpo", "b", "middle"), text(545, 18, "routed", "b", "middle")]
    parts += [text(x, 38, branch, "s", "middle") for branch, x, _ in columns]
    parts += [text(10, 38, "reward", "s"), text(150, 38, "weight", "s"), text(215, 38, "route", "s")]
    for row, spec in enumerate(specs):
        y = 62 + 24 * row
        parts += [text(10, y, spec.name), text(150, y, f"{spec.weight:g}"), text(215, y, spec.route)]
        for branch, x, routed in columns:
            counts = not routed or spec.route in (branch, "both")
            colour = BLUE if counts else PALE
            parts.append(f'<circle cx="{x}" cy="{y - 4}" r="{4 + 2 * spec.weight:.1f}" fill="{colour}"/>')
    return svg(640, 180, parts, "Rewards of the LTX-2 recipe and the branches that they train")


def config() -> Config:
    """The recipe whose numbers the pictures show."""
    return load("omninft", "ltx2")


def surgery() -> str:
    """Share of the gradient that passes, block by block."""
    rows = [(name, preset_keep(preset, 48), preset.where) for name, preset in PRESETS.items()]
    few = Size().blocks
    rows.append((f"release, {few} blocks", preset_keep(PRESETS["release"], few), "context"))
    parts = []
    for row, (name, keep, where) in enumerate(rows):
        y, step = 24 + 30 * row, 720 / len(keep)
        parts += [text(8, y + 15, name, "b"), text(918, y + 15, where, "s", "end")]
        runs = [list(group) for _, group in groupby(range(len(keep)), key=keep.__getitem__)]
        for run in runs:
            x, width = 140 + step * run[0], step * len(run)
            parts.append(rectangle(x, y, width - 1, 22, mix(1 - keep[run[0]], PALE, ORANGE)))
            parts.append(text(x + width / 2, y + 15, f"{keep[run[0]]:g}", "", "middle"))
    y = 24 + 30 * len(rows)
    parts += [text(140 + 15 * b, 16, str(b), "s") for b in (0, 10, 20, 30, 40)]
    parts.append(text(860, 16, "47: last block", "s", "end"))
    parts.append(text(140, y + 10, "1: all of the gradient passes; 0: nothing does", "s"))
    return svg(926, y + 20, parts, "Gradient surgery: share that passes in each block")


def levels() -> str:
    """Noise levels of sampling and training, and how fast the old policy follows."""
    run = config()
    noise = ltx2_levels(run.sampling.steps).tolist()[:-1]
    trained = first_levels(len(noise), run.levels.fraction)
    first, last = (int(fraction * run.sampling.steps) for fraction in run.regions.window)
    parts = [text(45, 16, "noise level t of each sampling step", "b"), text(545, 16, "η after n optimiser steps", "b")]
    parts.append(rectangle(45 + 20 * (first - 0.5), 26, 20 * (last - first + 1), 184, mix(0.15)))
    parts.append(text(45 + 20 * (first + last) / 2, 222, "③ attention is collected", "three", "middle"))
    for step, t in enumerate(noise):
        colour = ORANGE if step in trained else GREY
        parts.append(f'<circle cx="{45 + 20 * step}" cy="{210 - 180 * t:.1f}" r="4.5" fill="{colour}"/>')
    parts += [text(35, y, label, "s", "end") for y, label in ((34, "1"), (124, "0.5"), (214, "0"))]
    parts.append(text(45, 55, "trained on", "two"))
    parts.append(line([(545 + n * 0.55, 210 - 180 * old_keep(n)) for n in range(0, 601, 5)], "blue", head=False))
    parts += [text(545 + n * 0.55, 226, str(n), "s", "middle") for n in (0, 200, 400, 600)]
    parts += [text(535, y, label, "s", "end") for y, label in ((34, "1"), (124, "0.5"), (214, "0"))]
    return svg(900, 236, parts, "Noise levels, and how fast the old policy follows")


def regions() -> str:
    """The same attention under each form of weights."""
    down, right = np.mgrid[0:8, 0:12]
    random = np.random.default_rng(4)
    bump = np.exp(-((down - 4) ** 2 + (right - 8) ** 2) / 4)
    grain = random.uniform(0.8, 1.2, (2, 8, 12))
    scores = np.stack([0.3 + 1.7 * bump, 0.2 + 0.3 * bump]) * grain  # a loud moment, a quiet one
    shown = [("attention", scores, float(scores.max()), 0.0, "")]
    forms: list[tuple[RegionOptions, str]] = [
        (RegionOptions("frame-sigmoid", 1.5, 0), "release"),
        (RegionOptions("minmax", 2.5, 0), "paper"),
        (RegionOptions("minmax-frame", 2.5, 0), ""),
    ]
    tokens = torch.from_numpy(scores.reshape(1, -1)).float()
    for options, origin in forms:
        weights = region_weights(tokens, 2, options, 0).reshape(2, 8, 12).numpy()
        span = f"{weights.min():.2f} to {weights.max():.2f}"
        shown.append((options.form, weights, 2.5, 1.0, f"{span}{', ' + origin if origin else ''}"))
    parts = [text(8, 75, "loud", "s"), text(8, 175, "quiet", "s")]
    for column, (name, values, high, low, caption) in enumerate(shown):
        x = 55 + 170 * column
        parts += [text(x, 16, name, "b"), text(x, 238, caption, "s")]
        for frame, y in ((0, 26), (1, 128)):
            for (row, column), value in np.ndenumerate(values[frame]):
                colour = mix(min(1.0, (float(value) - low) / (high - low)))
                parts.append(rectangle(x + 12 * column, y + 12 * row, 12, 12, colour))
    return svg(726, 248, parts, "Weights of video tokens in two frames, by form")


def png(pixels: NDArray[np.uint8]) -> str:
    """(H, W, 3) as the address of an embedded picture."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1).tobytes()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


def world() -> str:
    """Two scenes of the miniature: all frames, the sound, and the instants of contact."""
    parts, width = [], 16 * FRAME
    for number, seed in enumerate(SCENES):
        scene, top = draw_scene(seed), 150 * number
        clip = render(scene)
        strip = np.concatenate(list(clip.frames), axis=1)
        parts.append(text(8, top + 16, scene.prompt.prompt_av, "b"))
        parts.append(
            f'<image x="8" y="{top + 24}" width="{width}" height="{FRAME}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="{png(strip)}"/>'
        )
        parts += [line([(8 + FRAME * i, top + y) for y in (24, 24 + FRAME)], head=False) for i in range(1, 16)]
        parts += [
            line([(8 + width * time / DURATION, top + y) for y in (24, 138)], "orange", head=False)
            for time in scene.impacts
        ]
        peaks = np.abs(clip.waveform[0]).reshape(320, -1).max(axis=1)
        upper = [(8 + 2.2 * i, top + 104 - 55 * float(peak)) for i, peak in enumerate(peaks)]
        lower = [(x, 2 * (top + 104) - y) for x, y in reversed(upper)]
        outline = "L".join(f"{x:.1f} {y:.1f}" for x, y in upper + lower)
        parts.append(f'<path d="M{outline}z" fill="{BLUE}"/>')
    return svg(720, 300, parts, "Two scenes of the miniature world: frames, sound, instants of contact")


PICTURES = {
    "loop": loop,
    "block": block,
    "routing": routing,
    "surgery": surgery,
    "levels": levels,
    "regions": regions,
    "world": world,
}


def main() -> None:
    """Draw all."""
    for name, draw in PICTURES.items():
        (IMAGES / f"training-{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
