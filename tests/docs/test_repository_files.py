"""Files that GitHub reads, and the picture of the layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
FILES = sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / ".github").rglob("*.yml"))


@pytest.mark.parametrize("name", FILES)
def test_it_is_a_table_of_yaml(name: str) -> None:
    assert isinstance(yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8")), dict)


def test_there_are_some() -> None:
    assert ".github/ISSUE_TEMPLATE/fault.yml" in FILES and ".github/workflows/ci.yml" in FILES


@pytest.mark.parametrize("package", ["avbench", "omninft_train"])
def test_the_picture_of_the_layers_names_every_part(package: str) -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = text.split("```text")[1].split("```")[0]
    parts = {path.name for path in (REPOSITORY / package).iterdir() if (path / "__init__.py").is_file()}
    assert parts - set(picture.split()) == set()
