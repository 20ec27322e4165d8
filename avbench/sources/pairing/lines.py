"""Lines of a text file that begin with the name of a clip: rows of a table that was saved as text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from avbench.clips import Clip
from avbench.errors import UsageError
from avbench.sources.pairing.base import last_words
from avbench.sources.prompts import PromptList, labelled_lines

_SEPARATOR = re.compile(r"[\t|,;]")


def refuse_named_lines(clips: Sequence[Clip], prompts: PromptList) -> None:
    """Do nothing unless every line of a text file is the name of a clip, a tab, bar, comma or semicolon, and more.

    Raises:
        UsageError: they are.
    """
    if prompts.path.suffix.lower() != ".txt":
        return
    names = {last_words(clip.clip_id) for clip in clips}
    lines = [row.prompt.text or "" for row in prompts.rows]
    parts = [_SEPARATOR.split(line, maxsplit=1) for line in lines]
    if all(len(part) == 2 and last_words(part[0]) in names for part in parts):
        raise UsageError(labelled_lines(prompts.path, lines[0]))
