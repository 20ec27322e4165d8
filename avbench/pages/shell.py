"""The page around a content: one self-contained HTML file, no network, safe with any text of a stranger."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from avbench.files import write_atomically
from avbench.pages.assets import asset
from avbench.pages.html import fill
from avbench.terminal.text import visible_page

_PACKAGE = "avbench.pages"


@dataclass(frozen=True)
class Kind:
    """A kind of page.

    Attributes:
        package: where its files are: `templates/TEMPLATE`, and the others beside it.
        template: extends "avbench.pages/page.html.j2".
        style: further rules of its own; empty for none.
        scripts: further code of its own, in order.
        media: where players may take clips from, as sources of the content policy.
    """

    package: str
    template: str
    style: str = ""
    scripts: tuple[str, ...] = ()
    media: tuple[str, ...] = ()


def render(kind: Kind, context: Mapping[str, Any]) -> str:
    """A page as text; the same content gives the same bytes. Control characters of strangers are shown escaped."""
    style = asset(_PACKAGE, "base.css") + asset(_PACKAGE, "charts.css")
    style += asset(kind.package, kind.style) if kind.style else ""
    script = asset(_PACKAGE, "base.js") + "".join(asset(kind.package, name) for name in kind.scripts)
    shell = {
        "policy": policy(style, script, kind.media),
        "style": Markup(style),  # noqa: S704 - our own files
        "script": Markup(script),  # noqa: S704 - our own files
    }
    return visible_page(fill(f"{kind.package}/{kind.template}", {**context, **shell}))


def write_page(path: Path, text: str) -> None:
    """Write a page whole or not at all.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    write_atomically(path, text.encode("utf-8", "replace"))


def policy(style: str, script: str, media: tuple[str, ...] = ()) -> str:
    """Content security policy: this script, this style sheet, images inside the page, nothing from the network."""
    rules = [
        "default-src 'none'",
        f"script-src 'sha256-{_digest(script)}'",
        f"style-src 'sha256-{_digest(style)}'",
        "img-src data:",
        *([f"media-src {' '.join(media)}"] if media else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def script_data(content: Any) -> Markup:
    """JSON for a script element: it cannot end its element, open a comment, or break a line in old parsers."""
    text = json.dumps(_visible(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - no sign of HTML is left


def _visible(content: Any) -> Any:
    """The same with every text visible: as JSON, a hidden sign would come back when the page reads it."""
    if isinstance(content, str):
        return visible_page(content)
    if isinstance(content, Mapping):
        return {_visible(key): _visible(value) for key, value in content.items()}
    return [_visible(value) for value in content] if isinstance(content, list | tuple) else content
