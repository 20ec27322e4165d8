"""Templates of pages, and tables as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from avbench.pages.assets import asset
from avbench.pages.numbers import NONE
from avbench.pages.table import RANKS, Cell, Table, for_people, groups

_KINDS = {"number": "num", "sign": "sign", "text": "text", "word": "word", "name": "word"}
# Of a wide table most cells are unknown; they stand without a class, which would be a quarter of the page.
_UNKNOWN = (Cell(), Cell(NONE))


@cache
def environment() -> Environment:
    """The one environment of all templates, which are named "package/file"; every text is escaped."""

    def load(name: str) -> str:
        package, _, file = name.partition("/")
        return asset(package, f"templates/{file}")

    made = Environment(
        loader=FunctionLoader(load), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals |= {"show_table": table_html, "dash": NONE}
    return made


def fill(template: str, context: Mapping[str, Any]) -> Markup:
    """A template "package/file" filled in."""
    return Markup(environment().get_template(template).render(context))  # noqa: S704 - escaped by the environment


def table_html(
    table: Table,
    *,
    id: str = "",
    label: str = "",
    kind: str = "",
    tall: bool = False,
    anchors: Mapping[str, str] = {},
) -> Markup:
    """A table that scrolls by itself where it is too wide, with what stands below it.

    Args:
        table: the table.
        id: of the table element.
        label: what the region is called, once on a page; the title where empty.
        kind: class of the table element.
        tall: whether it also scrolls up and down, in a window of its own.
        anchors: ids on the page that say what marks mean.
    """
    shown = for_people(table)
    context = {
        "table": shown, "groups": list(groups(shown)), "label": label or table.title, "id": id, "kind": kind,
        "tall": tall, "anchors": anchors, "kinds": _KINDS, "unknown": _UNKNOWN, "ranks": RANKS,
    }  # fmt: skip
    return fill("avbench.pages/table.html.j2", context)
