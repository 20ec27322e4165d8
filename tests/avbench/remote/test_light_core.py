"""Without the extra: local clips score, and an address is one line that names the extra."""

from __future__ import annotations

import subprocess
import sys

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


def test_local_clips_need_no_package(small_clip, tmp_path):
    done = avbench("score", str(small_clip), "-m", "loudness", "--out", str(tmp_path / "run"), "-q")
    assert done.returncode == 0, done.stderr


def test_address_names_the_extra(tmp_path):
    done = avbench("score", "s3://bucket/clips", "--out", str(tmp_path / "run"))
    assert done.returncode == 4
    assert done.stderr.strip().splitlines() == [
        "avbench: s3:// is read with the package s3fs, which is not installed: pip install 'avbench[remote]'"
    ]
    assert not (tmp_path / "run").exists()
