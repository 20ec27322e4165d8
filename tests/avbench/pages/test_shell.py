"""The shell of pages: its policy, and data that stay data."""

from __future__ import annotations

import base64
import hashlib
import json

from avbench.pages.shell import policy, script_data
from avbench.terminal.text import visible

NASTY = (
    "</script><script>window.__pwned=1</script> \"quoted\" 'single' & \u2028\u2029 \x1b 🎬 مرحبا <!-- ${x} {{ 7*7 }}"
)


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_allows_one_script_one_style_and_the_media_that_are_named() -> None:
    rules = dict(rule.split(" ", 1) for rule in policy("a {}", "b()", ("data:",)).split("; "))
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest('b()')}'",
        "style-src": f"'sha256-{digest('a {}')}'",
        "img-src": "data:",
        "media-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "media-src" not in policy("a {}", "b()")


def test_json_cannot_leave_its_element() -> None:
    text = script_data({"a": [NASTY, None, 1.5], NASTY: True})
    assert not set("<>&\u2028\u2029\x1b") & set(text)
    assert json.loads(text) == {"a": [visible(NASTY), None, 1.5], visible(NASTY): True}
