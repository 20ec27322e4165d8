"""VBench (Vchitect/VBench): its sixteen dimensions, those that own videos allow, and those that need no prompt."""

from __future__ import annotations

from avbench.clips import Category
from avbench.sources.vbench import ASPECT
from avbench.suites.base import Suite

_QUALITY = (
    "subject_consistency", "background_consistency", "temporal_flickering", "motion_smoothness", "dynamic_degree",
    "aesthetic_quality", "imaging_quality",
)  # fmt: skip
_ANY_PROMPT = ("overall_consistency", "temporal_style", "human_action")
_OFFICIAL_PROMPTS = (
    "object_class", "multiple_objects", "color", "spatial_relationship", "scene", "appearance_style",
)  # fmt: skip
_OVER_CLIPS = ("static_flickering", "vbench_quality", "vbench_semantic", "vbench_total")
_TWO_MODES = (
    "motion_smoothness", "dynamic_degree", "color", "spatial_relationship", "scene", "static_filter", *_OVER_CLIPS,
)  # fmt: skip


def _compat(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}_compat" if name in _TWO_MODES else name for name in names)


def _only(names: tuple[str, ...]) -> dict[str, Category]:
    """Each metric is asked only of the clips of its own prompts."""
    plain = {name: name.removesuffix("_compat") for name in names}
    of = {name: "temporal_flickering" if base == "static_filter" else base for name, base in plain.items()}
    return {name: Category(ASPECT, dimension) for name, dimension in of.items() if plain[name] not in _OVER_CLIPS}


_CUSTOM = (*_QUALITY, *_ANY_PROMPT)
_ALL = (*_QUALITY, *_ANY_PROMPT, *_OFFICIAL_PROMPTS, "static_filter", *_OVER_CLIPS)
_WITH_FLAWS = "with the flaws of the reference, for comparison with published tables (mode compat)."

VBENCH = Suite(
    "vbench",
    "VBench on its official prompts: sixteen dimensions, each on its own prompts, static filter and totals.",
    _ALL,
    _only(_ALL),
)
VBENCH_COMPAT = Suite("vbench-compat", f"The same {_WITH_FLAWS}", _compat(_ALL), _only(_compat(_ALL)))
VBENCH_CUSTOM = Suite("vbench-custom", "The ten dimensions that VBench computes for own videos.", _CUSTOM)
VBENCH_CUSTOM_COMPAT = Suite("vbench-custom-compat", f"The same ten {_WITH_FLAWS}", _compat(_CUSTOM))
VBENCH_QUALITY = Suite("vbench-quality", "VBench's seven dimensions of quality: no prompt needed.", _QUALITY)
VBENCH_QUALITY_COMPAT = Suite("vbench-quality-compat", f"The same seven {_WITH_FLAWS}", _compat(_QUALITY))
