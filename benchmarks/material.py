"""Clips that the benchmarks run on: the shipped ones, one drawn at a generator's size, many small ones."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "examples" / "clips" / "manifest.csv"

sys.path.insert(0, str(ROOT / "tests"))
from synthetic import draw_frames, draw_sound, write_clip  # noqa: E402 - tests/ is not a package


def timing_clips(folder: Path) -> list[Path]:
    """The shipped clips, and a drawn one of 5 s, 768x512, 24 fps, H.264 + AAC."""
    drawn = folder / "drawn_768x512.mp4"
    if not drawn.exists():
        sound = draw_sound(7, seconds=5.0, rate=48_000)
        write_clip(drawn, draw_frames(7, seconds=5.0, size=(512, 768)), sound, rate=48_000)
    return [*sorted(MANIFEST.parent.glob("*.mp4")), drawn]


def small_clips(folder: Path, count: int, contents: int = 10) -> Path:
    """A manifest of `count` clips of 1 s, 64x48: few contents, but every file has other bytes, so none is reused."""
    folder.mkdir(parents=True, exist_ok=True)
    originals = []
    for seed in range(contents):
        path = folder / f"content_{seed}.mp4"
        frames = draw_frames(seed, seconds=1.0, size=(48, 64))
        write_clip(path, frames, draw_sound(seed, seconds=1.0))
        originals.append(path.read_bytes())
        path.unlink()
    rows = ["clip_id,video,text,model"]
    for index in range(count):
        # A trailing "free" box is legal padding in MP4: another sha256, the same pictures and sound.
        padding = struct.pack(">I4sQ", 16, b"free", index)
        (folder / f"{index:05d}.mp4").write_bytes(originals[index % contents] + padding)
        rows.append(f"clip_{index:05d},{index:05d}.mp4,a disc bounces and clicks,drawn")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest
