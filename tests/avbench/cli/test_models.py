"""`avbench models` as a subprocess: output, exit codes, one-line errors."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No cache, no weights and no network of this machine."""
    own = {"XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config", "HF_HOME": "hub", "AVBENCH_WEIGHTS": "weights"}
    away = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"), "http://127.0.0.1:9")
    kept = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "no_proxy", "NO_PROXY")}
    return {**kept, **{name: str(tmp_path / folder) for name, folder in own.items()}, **away, "COLUMNS": "200"}


@pytest.fixture
def models(avbench, environment):
    """Runs `avbench models ...`."""
    return lambda *arguments, **extra: avbench("models", *arguments, env={**environment, **extra})


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.startswith("avbench: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_list_says_what_is_here_and_what_needs_it(models, tmp_path):
    done = models("list")
    assert done.returncode == 0, done.stderr
    assert "imagebind_huge" in done.stdout and "non-commercial" in done.stdout and "4.8 GB" in done.stdout
    content = {row["name"]: row for row in json.loads(models("list", "--json").stdout)}
    assert content["hpsv3"]["state"] == "missing"
    assert content["hpsv3"]["revision"] and content["hpsv3"]["size"] > 16e9
    assert content["imagebind_huge"]["must_accept"] and not content["imagebind_huge"]["accepted"]
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "imagebind_huge.pth").write_bytes(b"")
    (only,) = json.loads(models("list", "imagebind_huge", "--json").stdout)
    assert only["state"] == "licence not accepted"


def test_nothing_heavy_is_imported(environment):
    code = (
        "import sys; sys.argv = ['avbench', 'models', 'list', '--json']\n"
        "from avbench.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print([m for m in ('torch', 'transformers', 'open_clip', 'torchvision') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.long
def test_suites_and_metrics_name_the_checkpoints_behind_them(models):
    """Every checkpoint that a metric needs is listed with it, and pulled with it."""
    from avbench.metrics.base import registry
    from avbench.suites import list_suites

    rows = {row["name"]: row for row in json.loads(models("list", "--json").stdout)}
    needing = {name: [b.row for b in entry.backbones if b.row] for name, entry in registry().items()}
    for metric, names in needing.items():
        for name in names:
            assert metric in rows[name]["metrics"]
    # Suites that need the same checkpoints, as those of two modes, are tried once: each try starts a process.
    suites = {frozenset(row for metric in suite.metrics for row in needing[metric]): suite for suite in list_suites()}
    for needed, suite in suites.items():
        listed = {row["name"] for row in json.loads(models("list", suite.name, "--json").stdout)}
        assert needed <= listed
    for name, code in {"quick": 0, "vbench-quality": 4}.items():
        done = models("pull", name, HF_HUB_OFFLINE="1")
        assert done.returncode == code, done.stdout + done.stderr


def test_an_unknown_name_is_wrong_usage_with_near_matches(models):
    assert "imagebind_huge" in one_line(models("pull", "imagebind_hug"), 2)


def test_a_licence_has_to_be_accepted_once(models, tmp_path):
    message = one_line(models("pull", "imagebind_huge"), 4)
    assert "CC BY-NC-SA 4.0" in message and "avbench models accept imagebind_huge" in message
    assert "cannot reach" in one_line(models("pull", "imagebind_huge", "--accept-licence", "imagebind_huge"), 4)
    assert "licence not accepted" in one_line(models("pull", "imagebind_huge"), 4)
    done = models("accept", "imagebind_huge")
    assert done.returncode == 0 and "CC BY-NC-SA 4.0" in done.stdout
    assert (tmp_path / "config" / "avbench" / "accepted.json").is_file()
    assert "cannot reach" in one_line(models("pull", "imagebind_huge"), 4)
    assert "nothing to accept" in models("accept", "cavp").stdout


def test_no_network_and_offline_mode_are_one_line(models):
    pytest.importorskip("huggingface_hub")
    assert "cannot reach https://huggingface.co" in one_line(models("pull", "clip_vit_b32"), 4)
    assert "HF_HUB_OFFLINE" in one_line(models("pull", "clip_vit_b32", HF_HUB_OFFLINE="1"), 4)


@pytest.mark.long
def test_verify_and_where_look_into_the_weights_folder(models, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    path = folder / "synchformer_state_dict.pth"
    path.write_bytes(b"not this")
    message = one_line(models("verify", "--weights-dir", folder), 4)
    assert hashlib.sha256(b"not this").hexdigest() in message and "8aff082f2df5c3bc" in message
    found = json.loads(models("where", "synchformer", "--weights-dir", folder, "--json").stdout)
    assert found == {"synchformer": {path.name: str(path)}}
    assert models("where", "synchformer", "--weights-dir", folder).stdout == f"synchformer\t{path}\n"
    assert models("where", "cavp").stdout == "cavp\tnot here\n"
    path.unlink()
    nothing = models("verify", "--weights-dir", folder)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "missing synchformer_state_dict.pth" in one_line(models("verify", "synchformer"), 4)
    (folder / "i3d_pretrained_400.pt").write_bytes(b"unknown")
    assert "no checksum to compare with: i3d_pretrained_400.pt" in models("verify", "--weights-dir", folder).stdout


def test_pull_then_verify_end_to_end(environment, tmp_path):
    """With a row of the test in place of the table's: a web server on this machine gives the file."""
    source = tmp_path / "served"
    source.mkdir()
    (source / "w.bin").write_bytes(b"weights" * 1000)
    sha = hashlib.sha256(b"weights" * 1000).hexdigest()
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(source))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{http.server_port}/w.bin"
        code = (
            "import sys\nfrom avbench.weights.checkpoints import CHECKPOINTS\n"
            "from avbench.weights.schema import Checkpoint, CheckpointFile\n"
            f"CHECKPOINTS['web'] = Checkpoint('web', (CheckpointFile('w.bin', 7000, {sha!r}, url={url!r}),), 'MIT', 'https://example.org')\n"
            "from avbench.cli import main\nmain()\n"
        )

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", code, "models", *arguments]
            env = {**environment, "no_proxy": "127.0.0.1"}
            return subprocess.run(command, capture_output=True, text=True, env=env)

        done = run("pull", "web")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(tmp_path / "weights" / "web" / "w.bin")
        assert done.stderr == ""
        assert run("pull", "web").stdout == "nothing to download: web already here\n"
        assert run("verify", "web").stdout == "web: ok\n"
        (tmp_path / "weights" / "web" / "w.bin").write_bytes(b"changed")
        assert "changed" not in one_line(run("verify", "web"), 4)
        http.shutdown()
