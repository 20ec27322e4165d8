"""How much of the video loss's gradient reaches a miniature's audio stream, block by block.

    python benchmarks/train_paths.py runs/base/crowd-0123456789abcdef [more pretrainings]

Prints gradient norms of the blocks' own audio parameters: of the audio loss, and of the video loss with and without the
release's surgery, as fractions of the first.
"""

from __future__ import annotations

import sys
from pathlib import Path

from omninft_train.miniature.backbone import MiniatureBackbone
from omninft_train.miniature.measures import Paths, gradient_paths


def table(paths: Paths) -> str:
    """The norms as a Markdown table."""
    lines = ["| block | audio loss | video loss | with surgery |", "|---|--:|--:|--:|"]
    for block, (audio, video, cut) in enumerate(zip(paths.audio, paths.video, paths.video_with_surgery, strict=True)):
        lines.append(f"| {block} | {audio:.4f} | {video / audio:.3f} | {cut / audio:.3f} |")
    return "\n".join([*lines, f"| all | | {paths.fraction:.3f} | {paths.fraction_with_surgery:.3f} |"])


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        backbone = MiniatureBackbone.load(folder)
        print(f"{folder.name} ({backbone.kind})\n\n{table(gradient_paths(backbone.transformer, backbone.kind))}\n")
