"""Dose and response of all metrics that need no checkpoint: writes its numbers and plot into docs/validity.md.

    python benchmarks/measure_validity.py

It takes the clips of examples/clips that were not drawn, and a few minutes. It is `avbench validate` on these clips.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from avbench.doctor.environment import describe_environment
from avbench.metrics.base import get_scorers
from avbench.sources import Source, load_source
from avbench.suites import get_suite
from avbench.validity import draw_responses, render_markdown, respond, run_study

DOCS = Path(__file__).parent.parent / "docs"
MEASURED = re.compile(r"(<!-- measured -->\n).*?(<!-- measured end -->)", re.DOTALL)
VERSIONS = ("numpy", "scipy", "opencv-python-headless", "soxr", "libavcodec", "onnxruntime", "silero-vad", "speechmos")


def real_clips() -> Source:
    """The shipped clips without those that tests/synthetic.py drew."""
    source = load_source(DOCS.parent / "examples" / "clips" / "manifest.csv")
    return replace(source, clips=tuple(clip for clip in source.clips if clip.model != "drawn"))


def main() -> None:
    """Run the study and renew the page."""
    suite = get_suite("quick")
    study = run_study(real_clips(), suite, get_scorers(suite.metrics))
    responses = respond(study.rows, study.scorers)
    environment = describe_environment()
    versions = ", ".join(f"{name} {environment[name]}" for name in VERSIONS if name in environment)
    text = f"{render_markdown(study, responses)}\nVersions: {versions}.\n\n"
    page = DOCS / "validity.md"
    page.write_text(
        MEASURED.sub(lambda match: match[1] + "\n" + text + match[2], page.read_text(encoding="utf-8")),
        encoding="utf-8",
    )
    (DOCS / "images" / "validity.svg").write_text(draw_responses(study.rows, responses), encoding="utf-8")


if __name__ == "__main__":
    main()
