"""What each part of suite `speech` costs on a clip of 5 s; writes the table in docs/metrics/speech.md.

    OMP_NUM_THREADS=1 python benchmarks/measure_speech_cost.py  # or parts by name: words, voices, faces, lips

It needs the packages of the session `speech` and takes some minutes. CPU time is of all threads together, and threads
that wait for each other use some: with one, it is what a core has to do. Networks whose trained weights no package
carries (S3FD, SyncNet, NISQA) run with random ones: as many operations, other numbers.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from stopwatch import Stopwatch

from avbench import Clip
from avbench.encoders import Encoder, EncoderStore, WeightsConfig
from avbench.encoders.base import LoadContext
from avbench.encoders.networks.distillmos.encoder import DISTILLMOS
from avbench.encoders.networks.dnsmos import DNSMOS
from avbench.encoders.networks.facemesh.encoders import MOUTHS
from avbench.encoders.networks.mtcnn.encoders import FACES
from avbench.encoders.networks.nisqa.encoders import NISQA
from avbench.encoders.networks.resemblyzer.encoder import VOICE
from avbench.encoders.networks.s3fd.network import load as load_s3fd
from avbench.encoders.networks.silero import SILERO
from avbench.encoders.networks.syncnet.encoders import LipReader
from avbench.encoders.networks.syncnet.network import load as load_syncnet
from avbench.encoders.networks.whisper.transcriber import load_transcriber
from avbench.media import decode_clip

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from voice_material import sound, weights_folder  # noqa: E402
from whisper_material import base, tiny_en  # noqa: E402

PAGE = ROOT / "docs" / "metrics" / "speech.md"
CLIP = ROOT / "examples" / "clips" / "ovi_two_men.mp4"
SPOKEN = "ovi_two_men"
ROUNDS = 3
LIP_FRAMES = 5
"""Frames that S3FD is timed on: it takes as long for each."""

Call = Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """Seconds for one clip: of all processors, and passed; and cores that other processes used meanwhile."""

    part: str
    cpu: float
    wall: float
    others: float | None


def measured(part: str, call: Call, times: float = 1.0) -> Cost:
    """Medians over rounds, after one that warms up; `times` turns the cost of a piece into that of a clip."""
    call()
    rounds = []
    for _ in range(ROUNDS):
        before = time.process_time()
        with Stopwatch() as watch:
            call()
        rounds.append(((time.process_time() - before) * times, watch.seconds * times, watch.others or 0.0))
    cpu, wall, others = (statistics.median(column) for column in zip(*rounds, strict=True))
    return Cost(part, cpu, wall, others)


def embedding(encoder: Encoder, setup: WeightsConfig) -> Call:
    """Embeds the clip anew at each call; decoding is not part of it."""
    media = decode_clip(Clip(CLIP.stem, CLIP), CLIP.stem, encoder.views)
    store = EncoderStore(setup=setup)

    def call() -> Any:
        store.forget(media.key)
        return store.embed(encoder, media)

    return call


def words(folder: Path) -> Iterator[Cost]:
    """Whisper with word times."""
    base_folder = folder / "base"
    base_folder.mkdir()
    samples = sound(SPOKEN)
    for name, path in (("tiny.en", tiny_en()), ("base", base(base_folder))):
        for digits, kind in (("fp32", "float32"), ("8 bits", "int8")):
            transcriber = load_transcriber(path, compute_type=kind)
            yield measured(f"words: Whisper {name}, {digits}", lambda model=transcriber: model.transcribe(samples))  # type: ignore[misc]


def voices(folder: Path) -> Iterator[Cost]:
    """Presence of speech, its quality, constancy of the voice."""
    trained = WeightsConfig(weights_dir=weights_folder(folder / "weights"))
    for part, encoder, setup in (
        ("presence: Silero", SILERO, trained),
        ("quality: DNSMOS (P.835 and P.808)", DNSMOS, trained),
        ("quality: DistillMOS", DISTILLMOS, trained),
        ("quality: NISQA", NISQA, WeightsConfig("keyed-random")),
        ("voice: Resemblyzer", VOICE, trained),
    ):
        yield measured(part, embedding(encoder, setup))


def faces(folder: Path) -> Iterator[Cost]:
    """MTCNN at five frames per second; and again at 2.5, with FaceMesh at ten."""
    setup = WeightsConfig(weights_dir=weights_folder(folder / "weights"))
    yield measured("faces: MTCNN", embedding(FACES, setup))
    yield measured("mouths: MTCNN and FaceMesh", embedding(MOUTHS, setup))


def lips(folder: Path) -> Iterator[Cost]:
    """S3FD on every frame at 25 per second, and SyncNet for one face throughout."""
    context = LoadContext(WeightsConfig("keyed-random"), "cpu")
    reader = LipReader(load_s3fd(context), load_syncnet(context))
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (LIP_FRAMES, 704, 1280, 3)).astype(np.uint8)
    yield measured("lips: S3FD, 125 frames", lambda: reader.faces(frames), 125 / LIP_FRAMES)
    crops = generator.integers(0, 256, (125, 224, 224, 3)).astype(np.uint8)
    samples = generator.integers(-3000, 3000, 80_000).astype(np.int16)
    yield measured("lips: SyncNet, each face", lambda: (reader.lips(crops, 120), reader.sounds(samples, 120)))


PARTS = {"words": words, "voices": voices, "faces": faces, "lips": lips}


def table(costs: list[Cost], seconds: float) -> str:
    """Markdown."""
    lines = ["| part | CPU time | x real time of one core | time passed |", "| --- | --: | --: | --: |"]
    lines += [f"| {c.part} | {c.cpu:.2f} s | {c.cpu / seconds:.2f} | {c.wall:.2f} s |" for c in costs]
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """Measure, print, and renew the table where all parts were measured."""
    with TemporaryDirectory() as folder:
        costs = [cost for name in names for cost in PARTS[name](Path(folder))]
    busy = statistics.median(cost.others or 0.0 for cost in costs)
    threads = torch.get_num_threads()
    load = f"Median over {ROUNDS} rounds with torch's threads at {threads}; other processes used {busy:.1f} cores."
    text = f"{load}\n\n{table(costs, 5.0)}"
    print(text)
    if names == list(PARTS):
        part = re.compile(r"(<!-- measured cost -->\n).*?(<!-- measured cost end -->)", re.DOTALL)
        page = PAGE.read_text(encoding="utf-8")
        renewed, count = part.subn(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", page)
        if count != 1:
            raise SystemExit(f"{PAGE} has {count} parts '<!-- measured cost -->' with an end; one is needed.")
        PAGE.write_text(renewed, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or list(PARTS))
