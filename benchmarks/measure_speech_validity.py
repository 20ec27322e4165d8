"""Do word errors and the quality of a voice get worse with damage, and are faces lost? Trained weights.

    python benchmarks/measure_speech_validity.py              # or one of them: wer, distillmos, face_ratio

It needs the packages of the session `speech`, takes a few minutes on one core, and writes tables and plots into
docs/validity.md. Three sentences that the generator Ovi spoke, each at four speeds, are twelve clips whose words are
known; two clips of Ovi, whole and their halves, begin and end, are twelve clips with faces: enough to show dose and
response, too alike to rank generators.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr

from avbench import Clip, Prompt
from avbench.encoders import WeightsConfig
from avbench.media import All, Frames, decode_clip
from avbench.metrics.base import get_scorers
from avbench.sources import Source
from avbench.suites import get_suite
from avbench.validity import Study, draw_responses, render_markdown, respond, run_study
from avbench.validity.study import Settings
from avbench.weights.config import Precision

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from synthetic import write_clip  # noqa: E402
from voice_material import RATE, sound, weights_folder  # noqa: E402

DOCS = ROOT / "docs"
PAGE = DOCS / "validity.md"
EXAMPLES = ROOT / "examples" / "clips"
FRAMES = Frames(All())
VERSIONS = (
    "numpy",
    "scipy",
    "opencv-python-headless",
    "soxr",
    "torch",
    "ctranslate2",
    "onnxruntime",
    "silero-vad",
    "distillmos",
)
OF_AUDIO = ("sound_of_another_clip", "low_pass", "clipping", "sound_noise", "wrong_prompt")
OF_VIDEO = ("blur", "picture_noise", "small_picture")
METRICS = {"wer": OF_AUDIO, "distillmos": OF_AUDIO, "face_ratio": OF_VIDEO}
SPEEDS = (1.0, 0.85, 1.15, 1.3)
SPOKEN = {
    "ovi_kitchen": "AI declares: humans obsolete now.",
    "ovi_dressing_room": "Humans fight for freedom tonight.",
    "ovi_two_men": "continue to be a smart ass, and Tirani here will kill you like he wants to.",
}


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """The same sound faster, and higher by as much."""
    return samples if speed == 1 else np.asarray(soxr.resample(samples, RATE * speed, RATE))


def talking(folder: Path) -> Source:
    """Twelve sound files below `folder`; neighbours say different sentences, since the next clip lends its sound."""
    clips = []
    for speed in SPEEDS:
        for name, text in SPOKEN.items():
            path = folder / f"{name}-{speed:g}.wav"
            soundfile.write(path, at_speed(sound(name), speed), RATE, subtype="PCM_16")
            clips.append(Clip(path.stem, path, prompt=Prompt(speech_text=text)))
    return Source(folder, "folder", tuple(clips), "spoken texts of the goldens")


def filmed(folder: Path) -> Source:
    """Twelve clips below `folder`: two pictures, whole and their halves, in both halves of the time."""
    clips = []
    for name in ("ovi_dressing_room", "ovi_two_men"):
        frames = decode_clip(Clip(name, EXAMPLES / f"{name}.mp4"), name, (FRAMES,)).view(FRAMES)
        count, half = len(frames) // 2, frames.shape[2] // 2
        for part, columns in (("all", slice(None)), ("left", slice(half)), ("right", slice(half, None))):
            for time, chosen in (("begin", slice(count)), ("end", slice(count, None))):
                path = write_clip(folder / f"{name}-{part}-{time}.mp4", frames[chosen, :, columns], None)
                clips.append(Clip(path.stem, path))
    return Source(folder, "folder", tuple(clips), "no prompts")


def measured(metric: str) -> Study:
    """The study over whole clips."""
    with TemporaryDirectory() as folder:
        weights = weights_folder(Path(folder) / "weights")
        # 8 bits for the transcriber; of the others only MTCNN has a choice.
        precision: Precision = "fp32" if metric == "face_ratio" else "bf16"
        setup = WeightsConfig(weights_dir=weights, precision=precision, transcriber="whisper_tiny_en")
        settings = Settings(seconds=8.0, setup=setup, corruptions=METRICS[metric])
        suite = replace(get_suite("speech"), metrics=(metric,))
        source = (filmed if metric == "face_ratio" else talking)(Path(folder))
        return run_study(source, suite, get_scorers([metric]), settings)


def write(metric: str) -> None:
    """Run the study of one metric and renew its plot and its part of the page."""
    before, after = around(metric)  # it fails before the minutes of measuring, not after
    study = measured(metric)
    responses = respond(study.rows, study.scorers)
    (DOCS / "images" / f"validity-{metric}.svg").write_text(draw_responses(study.rows, responses), encoding="utf-8")
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    plot = f"![{metric} against severity](images/validity-{metric}.svg)"
    text = f"{plot}\n\n{render_markdown(study, responses)}\nVersions: {versions}.\n"
    PAGE.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")


def around(metric: str) -> tuple[str, str]:
    """What stands on the page before and behind the part of a metric, with its marks."""
    page, begin, end = (
        PAGE.read_text(encoding="utf-8"),
        f"<!-- measured {metric} -->\n",
        f"<!-- measured {metric} end -->",
    )
    if page.count(begin) != 1 or end not in page.split(begin)[1]:
        raise SystemExit(f"{PAGE} has no part {begin.strip()} ... {end}. Add it where the tables belong.")
    before, part = page.split(begin)
    return before + begin, end + part.split(end, 1)[1]


if __name__ == "__main__":
    for name in sys.argv[1:] or METRICS:
        write(name)
