"""`avbench prompts` as a subprocess: output, exit codes, one-line errors, pulling from a hub of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from avbench.prompts import get_prompt_suite

MINI = "id,text,video_text,audio_text,cat0_ind\n" + "".join(f"r{i},both {i},seen {i},heard {i},1\n" for i in range(5))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No cache, no folder and no network of this machine."""
    own = {"XDG_CACHE_HOME": "cache", "HF_HOME": "hub"}
    away = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"), "http://127.0.0.1:9")
    gone = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_ENDPOINT", "AVBENCH_PROMPTS", "no_proxy", "NO_PROXY")
    kept = {k: v for k, v in os.environ.items() if k not in gone}
    return {**kept, **{name: str(tmp_path / folder) for name, folder in own.items()}, **away, "COLUMNS": "200"}


@pytest.fixture
def prompts(avbench, environment):
    """Runs `avbench prompts ...`."""
    return lambda *arguments, **extra: avbench("prompts", *arguments, env={**environment, **extra})


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.startswith("avbench: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_list_says_what_is_here(prompts, tmp_path):
    done = prompts("list")
    assert done.returncode == 0, done.stderr
    assert "avbench-175" in done.stdout and "Apache-2.0" in done.stdout and "no: pull" in done.stdout
    (tmp_path / "JavisBench.csv").write_text(MINI)
    found = {row["name"]: row for row in json.loads(prompts("list", "--json", "--prompts-dir", tmp_path).stdout)}
    assert found["javisbench"]["path"] == str(tmp_path / "JavisBench.csv")
    assert found["javisbench-mini"]["path"] is None
    assert len(found["javisbench-mini"]["revision"]) == 40
    assert Path(found["vbench"]["path"]).is_file()


def test_show_prints_a_table_a_list_and_a_place(prompts):
    table = prompts("show", "avbench-175", "--category", "Musical sounds", "--limit", "2").stdout
    assert "avbench-175: 2 prompts" in table and "alphorn" in table and "Natural Scenario" in table
    lines = prompts("show", "vbench", "--limit", "3", "--format", "txt").stdout.splitlines()
    assert lines == ["In a still frame, a stop sign", "a toilet, frozen in time", "a laptop, frozen in time"]
    path = prompts("show", "avbench-175", "--path").stdout.strip()
    assert len(Path(path).read_text(encoding="utf-8").splitlines()) == 175


def test_show_writes_files_by_suffix_and_leaves_nothing_half_written(prompts, tmp_path):
    out = tmp_path / "new" / "list.csv"
    assert prompts("show", "avbench-175", "--out", out).stdout == f"{out}\n"
    assert len(out.read_text(encoding="utf-8").splitlines()) == 176
    assert [path.name for path in out.parent.iterdir()] == ["list.csv"]
    assert "ends in .jsonl, .csv, .txt" in one_line(prompts("show", "vbench", "--out", tmp_path / "list.md"), 2)
    assert "is a folder" in one_line(prompts("show", "vbench", "--out", tmp_path, "--format", "csv"), 2)
    (tmp_path / "file").touch()
    assert "cannot write" in one_line(prompts("show", "vbench", "--out", tmp_path / "file" / "x.csv"), 4)


def test_a_manifest_is_written_and_understood(prompts, avbench, tmp_path, small_clip):
    manifest = tmp_path / "manifest.csv"
    done = prompts("show", "avbench-175", "--limit", "1", "--video", "{prompt_id}.mp4", "--out", manifest)
    assert done.returncode == 0, done.stderr
    shutil.copy(small_clip, tmp_path / "avbench-175-000.mp4")
    content = json.loads(avbench("clips", manifest, "--json").stdout)
    assert content["with_prompt"] == content["with_categories"] == 1 and not content["problems"]
    assert "Say where to" in one_line(prompts("show", "avbench-175", "--video", "{prompt_id}.mp4"), 2)
    assert "give --video too" in one_line(prompts("show", "avbench-175", "--samples", "2"), 2)


def test_wrong_usage_is_one_line(prompts):
    assert "Did you mean" in one_line(prompts("show", "vbensh"), 2)
    assert "Did you mean" in one_line(prompts("pull", "javisbensh"), 2)
    assert "no prompt has the category" in one_line(prompts("show", "avbench-175", "--category", "spech sound"), 2)


def test_categories_are_the_nineteen(prompts):
    content = json.loads(prompts("categories", "--json").stdout)
    assert [len(aspect["categories"]) for aspect in content] == [5, 3, 5, 3, 3]
    assert "Off-screen sound" in prompts("categories").stdout


def test_nothing_heavy_is_imported(environment):
    code = (
        "import sys; sys.argv = ['avbench', 'prompts', 'list', '--json']\n"
        "from avbench.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print([m for m in ('torch', 'transformers', 'open_clip', 'torchvision') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_absent_list_says_how_to_get_it(prompts):
    message = one_line(prompts("show", "javisbench-mini"), 4)
    assert "avbench prompts pull javisbench-mini" in message and "AVBENCH_PROMPTS" in message


def test_no_network_and_offline_mode_are_one_line(prompts):
    pytest.importorskip("huggingface_hub")
    assert "cannot reach https://huggingface.co" in one_line(prompts("pull", "javisbench"), 4)
    message = one_line(prompts("pull", "javisbench", HF_HUB_OFFLINE="1"), 4)
    assert "HF_HUB_OFFLINE" in message and "JavisBench.csv" in message and "--prompts-dir" in message


def test_a_folder_is_enough_offline(prompts, tmp_path):
    folder = tmp_path / "copied"
    folder.mkdir()
    (folder / "JavisBench-mini.csv").write_text(MINI)
    done = prompts("pull", "javisbench-mini", "--prompts-dir", folder, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder / 'JavisBench-mini.csv'}\t5 prompts, already here\n"
    assert done.stderr == f"note: {folder / 'JavisBench-mini.csv'} holds 5 prompts, expected 1000\n"
    shown = prompts("show", "javisbench-mini", "--format", "jsonl", "--limit", "1", AVBENCH_PROMPTS=str(folder)).stdout
    assert json.loads(shown) == {
        "id": "r0",
        "prompt_id": "r0",
        "prompt_av": "both 0",
        "prompt_v": "seen 0",
        "prompt_a": "heard 0",
        "cat:Event Scenario": "Urban Scenario",
    }
    (folder / "JavisBench-mini.csv").write_text("id,path\n1,a.mp4\n")
    assert "no text column" in one_line(prompts("pull", "javisbench-mini", "--prompts-dir", folder), 2)


def test_what_comes_with_avbench_is_not_pulled(prompts):
    done = prompts("pull", "avbench-175", "vbench")
    assert done.returncode == 0 and done.stderr == ""
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == [
        "175 prompts, already here",
        "946 prompts, already here",
    ]


class Hub(BaseHTTPRequestHandler):
    """The few answers that the hub's client asks for when it gets one file of a commit."""

    seen: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _answer(self, *, body: bool) -> None:
        self.seen.append(self.path)
        suite = get_prompt_suite("javisbench-mini")
        assert suite.hub is not None
        wanted = f"/datasets/{suite.hub.repos[0]}/resolve/{suite.hub.revision}/{suite.file}"
        content = MINI.encode() if self.path == wanted else b""
        self.send_response(200 if content or self.path == "/" else 404)
        self.send_header("Content-Length", str(len(content)))
        if content:
            self.send_header("ETag", '"0123456789abcdef0123456789abcdef01234567"')
            self.send_header("X-Repo-Commit", suite.hub.revision)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.mark.parametrize("own_folder", [pytest.param(False, marks=pytest.mark.long), True])
def test_pull_gets_the_pinned_revision_once(prompts, tmp_path, own_folder):
    pytest.importorskip("huggingface_hub")
    handler = type("OwnHub", (Hub,), {"seen": []})
    folder = tmp_path / "lists"
    option = ("--prompts-dir", folder) if own_folder else ()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        extra = {"HF_ENDPOINT": f"http://127.0.0.1:{http.server_port}", "no_proxy": "127.0.0.1"}
        run = partial(prompts, **extra)
        done = run("pull", "javisbench-mini", *option)
        assert done.returncode == 0, done.stderr
        path, count = done.stdout.strip().split("\t")
        assert count == "5 prompts, downloaded"
        assert (folder in Path(path).parents) == own_folder
        assert Path(path).read_text() == MINI
        before = len(handler.seen)
        assert run("pull", "javisbench-mini", *option).stdout == f"{path}\t5 prompts, already here\n"
        assert run("show", "javisbench-mini", "--path", *option, HF_HUB_OFFLINE="1").stdout == f"{path}\n"
        assert len(handler.seen) == before
        missing = one_line(run("pull", "javisbench", *option), 4)
        assert "cannot get JavisBench.csv of JavisVerse/JavisBench at 2be39272" in missing
        http.shutdown()
