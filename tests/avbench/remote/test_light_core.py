"""Without the extra: local clips score, and an address is one line that names the extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
for name in ("fsspec", "s3fs", "gcsfs", "adlfs", "huggingface_hub", "aiohttp"):
    sys.modules[name] = None
sys.argv = ["avbench", *sys.argv[1:]]
from avbench.__main__ import main
sys.exit(main())
"""


def avbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CODE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_local_clips_need_no_package(small_clip, tmp_path):
    done = avbench("score", str(small_clip), "-m", "loudness", "--out", str(tmp_path / "run"), "-q")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("address", "package"),
    [
        ("s3://bucket/clips", "s3fs"),
        pytest.param("gs://bucket/clips", "gcsfs", marks=pytest.mark.long),
        pytest.param("az://container/clips", "adlfs", marks=pytest.mark.long),
        pytest.param("hf://datasets/someone/clips", "huggingface-hub", marks=pytest.mark.long),
    ],
)
def test_address_names_the_extra(tmp_path, address, package):
    done = avbench("score", address, "--out", str(tmp_path / "run"))
    assert done.returncode == 4
    scheme = address.partition("://")[0]
    assert done.stderr.strip().splitlines() == [
        f"avbench: {scheme}:// is read with the package {package}, which is not installed: "
        "pip install 'avbench[remote]'"
    ]
    assert not (tmp_path / "run").exists()
