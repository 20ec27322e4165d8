"""A stand-in for a generator: draws a short clip with sound for each prompt. Put the command of your own in its place.

    python examples/ci/generate.py --seed 0 --out clips/baseline

A square jumps, and each jump clicks. Another seed gives other clips for the same prompts, as a generator does;
`--late` moves the sound by that many seconds, as a worse checkpoint would.
"""

from __future__ import annotations

import argparse
import csv
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS, RATE, SECONDS, HEIGHT, WIDTH = 24, 16_000, 2.0, 48, 64


def jumps(rng: np.random.Generator) -> np.ndarray:
    """Times of jumps in seconds, 0.3 to 0.6 s apart."""
    times = 0.3 + np.cumsum(rng.uniform(0.3, 0.6, 6))
    return times[times < SECONDS - 0.3]


def frames(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W, 3): a textured square that jumps to the other side at each time."""
    ground = np.kron(rng.integers(60, 120, (HEIGHT // 8, WIDTH // 8)), np.ones((8, 8)))
    texture = rng.integers(150, 255, (16, 16))
    drawn = []
    for index in range(int(SECONDS * FPS)):
        left = 12 + 20 * (np.searchsorted(times, index / FPS, side="right") % 2) + rng.integers(0, 2)
        picture = ground.copy()
        picture[16:32, left : left + 16] = texture
        drawn.append(np.stack([picture] * 3, axis=-1))
    return np.array(drawn, dtype=np.uint8)


def sound(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """float32 (1, N): a click at each time."""
    wave = rng.normal(0, 0.002, int(SECONDS * RATE))
    tail = np.arange(RATE // 20) / RATE
    for time in times:
        start = int(time * RATE)
        part = wave[start : start + len(tail)]
        part += (0.5 * np.exp(-tail * 60) * np.sin(2 * np.pi * 900 * tail))[: len(part)]
    return wave[None].astype(np.float32)


def write_clip(path: Path, pictures: np.ndarray, wave: np.ndarray) -> None:
    """Encode pictures (T, H, W, 3) and sound (1, N) as MP4."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        chunk = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        chunk.sample_rate, chunk.pts, chunk.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(audio.encode(chunk))
        container.mux(audio.encode(None))


def main() -> None:
    """Draw a clip for each prompt, and the manifest that names them."""
    parser = argparse.ArgumentParser(description="Draw a short clip for each prompt.")
    parser.add_argument("--out", type=Path, required=True, help="folder for clips and manifest.csv")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other clips")
    parser.add_argument("--late", type=float, default=0.0, help="delay of the sound in seconds")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with (Path(__file__).parent / "prompts.csv").open(encoding="utf-8", newline="") as file:
        prompts = list(csv.DictReader(file))
    for number, prompt in enumerate(prompts):
        rng = np.random.default_rng([options.seed, number])
        times = jumps(rng)
        write_clip(options.out / f"{prompt['prompt_id']}.mp4", frames(rng, times), sound(rng, times + options.late))
    with (options.out / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("video", "prompt_id", "sample_index", "text"))
        writer.writerows((f"{p['prompt_id']}.mp4", p["prompt_id"], 0, p["text"]) for p in prompts)


if __name__ == "__main__":
    main()
