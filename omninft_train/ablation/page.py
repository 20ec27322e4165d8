"""The result as one self-contained HTML page: no script, no network, safe with any label or message."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from avbench.terminal.text import visible_page
from omninft_train.ablation.curves import CurvePlot
from omninft_train.ablation.sheet import Block, Sheet


@dataclass(frozen=True)
class Page:
    """What is shown.

    Attributes:
        title, about: heading and what it is.
        facts: pairs of a name and a text.
        command: that makes it.
        notes: to be read first.
        sheets: tables with their statements.
        blocks: further tables.
        plots: charts.
        files: names of files beside the page.
    """

    title: str
    about: str
    facts: Sequence[tuple[str, str]]
    command: str
    notes: Sequence[str] = ()
    sheets: Sequence[Sheet] = ()
    blocks: Sequence[Block] = ()
    plots: Sequence[CurvePlot] = ()
    plots_title: str = "Training curves"
    plots_note: str = ""
    sentences: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = ()


def render_page(page: Page) -> str:
    """The page as text; the same content gives the same bytes."""
    style = (files("avbench.report") / "report.css").read_text("utf-8") + _asset("page.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    context: dict[str, Any] = {"page": page, "policy": _policy(style), "style": Markup(style)}  # noqa: S704 - our own files
    return visible_page(environment.from_string(_asset("templates/page.html.j2")).render(**context))


def _asset(name: str) -> str:
    return (files("omninft_train.ablation") / name).read_text(encoding="utf-8")


def _policy(style: str) -> str:
    """Content security policy: this style sheet, nothing else, no script, no network."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
