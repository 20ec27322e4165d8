"""No package that an extra needs pins NumPy or torch to a version that would break the environment."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, version

import pytest
from packaging.requirements import Requirement

from avbench.doctor.environment import CORE_PACKAGES, OPTIONAL_PACKAGES

SHARED = ("numpy", "torch", "torchaudio", "torchvision")


def packages_of(extra: str) -> list[str]:
    """Names of the packages that an extra of avbench asks for here."""
    requirements = [Requirement(text) for text in distribution("avbench").requires or ()]
    return [one.name for one in requirements if one.marker and one.marker.evaluate({"extra": extra})]


@pytest.mark.parametrize("extra", ["speech", "models"])
def test_an_extra_installs_beside_the_numpy_and_torch_that_are_here(extra: str) -> None:
    names = packages_of(extra)
    assert names
    for name in names:
        try:
            needs = [Requirement(text) for text in distribution(name).requires or ()]
        except PackageNotFoundError:
            continue
        for need in needs:
            if need.name not in SHARED or (need.marker and not need.marker.evaluate({"extra": ""})):
                continue
            try:
                installed = version(need.name)
            except PackageNotFoundError:  # silero-vad asks for torch, which its ONNX file does not need
                continue
            assert need.specifier.contains(installed, prereleases=True), f"{name} needs {need}, here is {installed}"


def test_packages_that_can_move_a_number_are_recorded_with_every_run() -> None:
    """Nodes of a cluster are compared by these; the two others read files whose bytes are checked."""
    wanted = {*packages_of("speech"), *packages_of("models")} - {"safetensors", "huggingface-hub"}
    assert wanted <= {*CORE_PACKAGES, *OPTIONAL_PACKAGES}
