"""Validity: does a metric get worse when a clip is made worse? Severity and response on real clips."""

from avbench.validity.plot import draw_responses
from avbench.validity.render import render_markdown, write_study
from avbench.validity.statistics import Response, respond
from avbench.validity.study import Settings, Study, run_study

__all__ = [
    "Response",
    "Settings",
    "Study",
    "draw_responses",
    "render_markdown",
    "respond",
    "run_study",
    "write_study",
]
