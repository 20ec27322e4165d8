"""A prompt list from an address: its checksum decides, and it is fetched once."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from avbench.errors import EnvironmentProblem
from avbench.prompts import catalogue, find_prompts, get_prompt_suite, load_prompt_suite, pull
from avbench.prompts.catalogue import PromptSuite
from avbench.weights.schema import CheckpointFile

# In the form of T2AV-Compass's list.
PROMPTS = [
    {
        "index": 1,
        "prompt": 'A baker waves: "Fresh bread!"',
        "core_subject": ["People"],
        "video_prompt": "A baker waves.",
        "audio_prompt": "",
        "speech_prompt": [
            {"speaker": "baker", "description": "loud", "text": "Fresh bread!"},
            {"speaker": "guest", "description": "", "text": "One, please."},
        ],
        "checklist_info": {"Motion": []},
    },
    {"index": 2, "prompt": "Rain falls.", "video_prompt": "Rain.", "audio_prompt": "Rain.", "speech_prompt": []},
]
CONTENT = json.dumps(PROMPTS).encode()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a server that gives this list."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/list.json"
        server.shutdown()


def use(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str) -> PromptSuite:
    web = CheckpointFile("talk.json", len(CONTENT), sha256, url=url)
    suite = PromptSuite("talk", "talk.json", 2, "joint, video, audio", "a list", "MIT", "here", web=(web,))
    monkeypatch.setattr(catalogue, "_SUITES", (*catalogue._SUITES, suite))
    return suite


@pytest.mark.parametrize("named", [True, False])
def test_a_list_is_fetched_once_and_its_spoken_words_are_read(
    address: str, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use(monkeypatch, address, hashlib.sha256(CONTENT).hexdigest())
    folder = tmp_path / "lists" if named else None
    done = pull.pull_prompts("talk", folder)
    assert (done.count, done.fresh, done.note) == (2, True, "")
    assert done.path.parent == (folder or tmp_path / "cache" / "avbench" / "prompts")
    again = pull.pull_prompts("talk", folder)
    assert (again.path, again.fresh) == (done.path, False)
    first, second = (row.prompt for row in load_prompt_suite("talk", folder).rows)
    assert (first.speech_text, first.video_text) == ("Fresh bread! One, please.", "A baker waves.")
    assert second.speech_text is None


def test_a_list_with_another_checksum_is_refused(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, address, "0" * 64)
    with pytest.raises(EnvironmentProblem, match=r"arrived with sha256 .*, expected 0{64}"):
        pull.pull_prompts("talk", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_offline_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EnvironmentProblem, match=r"missing: t2av-compass.*put t2av-compass\.json into"):
        pull.pull_prompts("t2av-compass", tmp_path)


@pytest.mark.parametrize("damaged", [False, True])
def test_several_files_become_one_list_or_none(
    address: str, damaged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [hashlib.sha256(CONTENT).hexdigest(), "0" * 64 if damaged else hashlib.sha256(CONTENT).hexdigest()]
    files = tuple(
        CheckpointFile(f"{name}.json", len(CONTENT), digest, url=address)
        for name, digest in zip(("easy", "hard"), digests, strict=True)
    )
    suite = PromptSuite("both", "both.jsonl", 4, "joint, video, audio", "two lists", "MIT", "here", web=files)
    monkeypatch.setattr(catalogue, "_SUITES", (*catalogue._SUITES, suite))
    if damaged:
        with pytest.raises(EnvironmentProblem, match="arrived with sha256"):
            pull.pull_prompts("both", tmp_path)
        assert list(tmp_path.iterdir()) == []
        return
    assert pull.pull_prompts("both", tmp_path).note == ""
    assert [path.name for path in tmp_path.iterdir()] == ["both.jsonl"]
    rows = load_prompt_suite("both", tmp_path).rows
    assert [row.prompt.prompt_id for row in rows] == ["both-000", "both-001", "both-002", "both-003"]
    assert [row.categories[0].name for row in rows] == ["easy", "easy", "hard", "hard"]
    assert rows[2].prompt.speech_text == "Fresh bread! One, please."


@pytest.mark.parametrize("name", ["t2av-compass", "vabench"])
def test_addresses_name_a_commit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    suite = get_prompt_suite(name)
    assert len({file.sha256 for file in suite.web}) == len({file.name for file in suite.web}) == len(suite.web) > 0
    assert all(suite.source.split("@ ")[1][:12] in file.url and file.size for file in suite.web)
    assert not suite.shipped and find_prompts(suite, tmp_path) is None
