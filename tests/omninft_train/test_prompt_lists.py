"""Published prompt lists, from a server of this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omninft_train import prompt_lists
from omninft_train.cli import app
from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.prompt_lists import PUBLISHED, lists_folder, pull_list
from omninft_train.prompts import load_prompts

LINE = {"prompt_v": "a dog", "prompt_a": "a bark", "prompt_av": "a dog barks", "idx": 0, "category": "animal"}
CONTENT = "".join(json.dumps(LINE | {"idx": index}) + "\n" for index in range(3)).encode()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that the list's address leads to."""
    (tmp_path / "server").mkdir()
    path = tmp_path / "server" / "train.jsonl"
    path.write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(path.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # What "git hash-object" says of these bytes.
    blob = hashlib.sha1(b"blob " + str(len(CONTENT)).encode() + b"\x00" + CONTENT).hexdigest()
    url = f"http://127.0.0.1:{server.server_port}/train.jsonl"
    digest = hashlib.sha256(CONTENT).hexdigest()
    entry = replace(PUBLISHED["vggsound-20k"], url=url, blob=blob, sha256=(digest[:8], digest[-5:]))
    monkeypatch.setattr(prompt_lists, "PUBLISHED", {"vggsound-20k": entry})
    yield path
    server.shutdown()
    server.server_close()


def test_a_list_is_downloaded_once_and_read(served: Path, tmp_path: Path) -> None:
    first = pull_list("vggsound-20k", tmp_path / "lists")
    assert (first.fresh, first.count, first.sha256) == (True, 3, hashlib.sha256(CONTENT).hexdigest())
    served.unlink()
    again = pull_list("vggsound-20k", tmp_path / "lists")
    assert not again.fresh and again.path == first.path
    assert load_prompts(again.path)[2].metadata == {"idx": 2, "category": "animal"}
    assert [path.name for path in (tmp_path / "lists").iterdir()] == ["vggsound-20k.jsonl"]


def test_another_content_is_refused_and_does_not_stay(served: Path, tmp_path: Path) -> None:
    served.write_bytes(CONTENT.replace(b"dog", b"cat"))
    with pytest.raises(EnvironmentProblem, match="is not the published list"):
        pull_list("vggsound-20k", tmp_path / "lists")
    assert not list((tmp_path / "lists").iterdir())


def test_a_file_that_was_changed_here_is_refused(served: Path, tmp_path: Path) -> None:
    path = pull_list("vggsound-20k", tmp_path).path
    path.write_bytes(CONTENT + b"\n")
    with pytest.raises(EnvironmentProblem, match="git id"):
        pull_list("vggsound-20k", tmp_path)


@pytest.mark.parametrize("known", [("00000000", None), (None, "00000")])
def test_what_is_known_of_the_sha256_is_compared_too(
    known: tuple[str | None, str | None], served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the file, both digests that were expected, and what to do."""
    entry = prompt_lists.PUBLISHED["vggsound-20k"]
    ends = tuple(new or old for new, old in zip(known, entry.sha256, strict=True))
    monkeypatch.setattr(prompt_lists, "PUBLISHED", {"vggsound-20k": replace(entry, sha256=ends)})
    with pytest.raises(EnvironmentProblem) as caught:
        pull_list("vggsound-20k", tmp_path / "lists")
    message = str(caught.value)
    assert "vggsound-20k.jsonl" in message and f"expected {entry.blob} and {ends[0]}...{ends[1]}" in message
    assert hashlib.sha256(CONTENT).hexdigest() in message and "prompts.path" in message
    assert not list((tmp_path / "lists").iterdir())


def test_an_unknown_list_and_a_server_that_is_not_there(tmp_path: Path, served: Path) -> None:
    with pytest.raises(UsageError, match="vggsound-20k"):
        pull_list("vggsound", tmp_path)
    served.unlink()
    with pytest.raises(EnvironmentProblem, match="404"):
        pull_list("vggsound-20k", tmp_path)


@pytest.mark.usefixtures("served")
def test_the_command_says_where_the_list_is_and_its_checksum(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["prompts", "pull", "vggsound-20k", "--prompts-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path}/vggsound-20k.jsonl\t3 prompts, downloaded\n"
    assert hashlib.sha256(CONTENT).hexdigest() in result.stderr and "class_key=category" in result.stderr


def test_the_folder_is_the_one_named_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVBENCH_PROMPTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert lists_folder() == tmp_path / "omninft-train" / "lists"
    monkeypatch.setenv("AVBENCH_PROMPTS", str(tmp_path / "mine"))
    assert lists_folder() == tmp_path / "mine"
    assert lists_folder(tmp_path / "given") == tmp_path / "given"
