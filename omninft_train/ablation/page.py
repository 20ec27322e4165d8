"""The result as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from avbench.pages.shell import Kind, render
from avbench.pages.table import Table
from omninft_train.ablation.curves import Plot
from omninft_train.ablation.sheet import Sheet

KIND = Kind("omninft_train.ablation", "page.html.j2")


@dataclass(frozen=True)
class Page:
    """Content of the page.

    Attributes:
        title, about: heading and what it is.
        metadata: pairs of a name and a text.
        command: that makes it.
        notes: to be read first.
        sheets: tables with their statements.
        blocks: further tables.
        plots: charts.
        files: names of files beside the page.
    """

    title: str
    about: str
    metadata: Sequence[tuple[str, str]]
    command: str
    brand: str = "avbench ablation"
    notes: Sequence[str] = ()
    sheets: Sequence[Sheet] = ()
    blocks: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    plots_title: str = "Training curves"
    plots_note: str = ""
    sentences: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = ()


def render_page(page: Page) -> str:
    """The page as text; the same content gives the same bytes."""
    parts = [
        ("words", "In words", page.sentences),
        *((f"table-{number}", sheet.table.title, True) for number, sheet in enumerate(page.sheets)),
        *((f"block-{number}", block.title, True) for number, block in enumerate(page.blocks)),
        ("curves", page.plots_title, page.plots),
        ("settings", "Settings", page.settings),
        ("files", "Files", page.files),
    ]
    context = {
        "brand": page.brand,
        "title": page.title,
        "about": page.about,
        "metadata": page.metadata,
        "command": page.command,
        "notes": page.notes,
        "sections": [(name, label) for name, label, there in parts if there],
        "page": page,
    }
    return render(KIND, context)
