"""The table of prompt suites: content, source and licence of each."""

from __future__ import annotations

from dataclasses import dataclass

from avbench.errors import UsageError, near
from avbench.prompts import vabench
from avbench.weights.schema import CheckpointFile


@dataclass(frozen=True)
class Hub:
    """A data set on the hub.

    Attributes:
        repos: its name first, then names that it had earlier.
        revision: commit that is downloaded.
        folder: name of a local copy of the whole data set.
    """

    repos: tuple[str, ...]
    revision: str
    folder: str


@dataclass(frozen=True)
class PromptSuite:
    """A named prompt list.

    Attributes:
        name: name used here.
        file: name of its file.
        count: number of prompts.
        texts: which of a joint, a video and an audio text its prompts have.
        summary: what it is.
        licence: licence of the texts.
        source: where they were published, with the commit.
        hub: where it is downloaded from; None for another origin.
        web: address, size and checksum of each file that is downloaded from elsewhere, in the order of the prompts;
            empty for another origin.
    """

    name: str
    file: str
    count: int
    texts: str
    summary: str
    licence: str
    source: str
    hub: Hub | None = None
    web: tuple[CheckpointFile, ...] = ()

    @property
    def shipped(self) -> bool:
        """Whether it comes with avbench."""
        return self.hub is None and not self.web


_VBENCH = "github.com/Vchitect/VBench @ 45e79ec14e69"
_THREE = "joint, video, audio"
# A commit that changes the data card alone; its tree holds the tables. The card states the licence.
_JAVISBENCH = Hub(
    ("JavisVerse/JavisBench", "JavisDiT/JavisBench"), "2be39272cd8edd362d18c90d7436982aaa8cbbd4", "JavisBench"
)
_JAVISBENCH_SOURCE = f"hub data set {_JAVISBENCH.repos[0]} @ {_JAVISBENCH.revision[:12]}"

_COMPASS = "b726966a183c52de766627fe9a505bedae201d23"

_SUITES = (
    PromptSuite(
        "avbench-175",
        "avbench-175.jsonl",
        175,
        _THREE,
        "Own prompts for ablations: JavisBench's 19 categories in balance.",
        "Apache-2.0",
        "this project",
    ),
    PromptSuite(
        "vbench",
        "vbench.jsonl",
        946,
        "video only",
        "VBench's prompts with their dimensions.",
        "Apache-2.0",
        f"{_VBENCH}, vbench/VBench_full_info.json",
    ),
    PromptSuite(
        "vbench-categories",
        "vbench-categories.jsonl",
        800,
        "video only",
        "VBench's prompts by content: 8 categories of 100.",
        "Apache-2.0",
        f"{_VBENCH}, prompts/prompts_per_category",
    ),
    PromptSuite(
        "vbench-2",
        "vbench-2.jsonl",
        1230,
        "video only",
        "VBench-2.0's prompts with their dimensions.",
        "Apache-2.0",
        f"{_VBENCH}, VBench-2.0/vbench2/VBench2_full_info.json",
    ),
    PromptSuite(
        "javisbench",
        "JavisBench.csv",
        10140,
        _THREE,
        "JavisBench, whole.",
        "MIT (data card)",
        f"{_JAVISBENCH_SOURCE}, JavisBench.csv",
        _JAVISBENCH,
    ),
    PromptSuite(
        "javisbench-mini",
        "JavisBench-mini.csv",
        1000,
        _THREE,
        "JavisBench-mini, a random part of JavisBench.",
        "MIT (data card)",
        f"{_JAVISBENCH_SOURCE}, JavisBench-mini.csv",
        _JAVISBENCH,
    ),
    PromptSuite(
        "t2av-compass",
        "t2av-compass.json",
        500,
        _THREE,
        "T2AV-Compass's prompts; 150 of them with words to be spoken.",
        "not stated",
        f"github.com/NJU-LINK/T2AV-Compass @ {_COMPASS[:12]}, t2av-compass/Data/prompts.json",
        web=(
            CheckpointFile(
                "t2av-compass.json",
                2_166_072,
                "30f92a94998f23bf9a12b874a719a53d2392a7eac6ec316bb668527c8fff8e7b",
                url=f"https://raw.githubusercontent.com/NJU-LINK/T2AV-Compass/{_COMPASS}/t2av-compass/Data/prompts.json",
            ),
        ),
    ),
    PromptSuite(
        "vabench",
        "vabench.jsonl",
        848,
        _THREE,
        "VABench's prompts from text, by content and difficulty; words are spoken in quotation marks only.",
        "not stated",
        f"github.com/tanABCC/VABench @ {vabench.COMMIT[:12]}, json_files/json_text",
        web=vabench.FILES,
    ),
)


def list_prompt_suites() -> list[PromptSuite]:
    """All prompt suites."""
    return list(_SUITES)


def get_prompt_suite(name: str) -> PromptSuite:
    """The prompt suite of this name.

    Raises:
        UsageError: unknown name, with near matches.
    """
    suites = {suite.name: suite for suite in _SUITES}
    if name not in suites:
        raise UsageError(f"unknown prompt suite {name!r}. {near(name, suites)} See 'avbench prompts list'.")
    return suites[name]
