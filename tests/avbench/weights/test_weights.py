"""Where checkpoints are looked for, what makes them unusable, what identifies them, and how they are downloaded."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest

from avbench.errors import EnvironmentProblem
from avbench.weights import checksums, download, locate
from avbench.weights.checkpoints import CHECKPOINTS, with_required
from avbench.weights.config import WeightsConfig
from avbench.weights.schema import Checkpoint, CheckpointFile

BODY = bytes(range(256)) * 8192  # 2 MiB
SHA = hashlib.sha256(BODY).hexdigest()


def silent(name: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this machine is read or written."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "AVBENCH_WEIGHTS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(locate, "_in_hub_cache", lambda row, hub: {})
    monkeypatch.setattr(checksums, "_known", {})
    return tmp_path


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A checkpoint of two small files."""
    made = Checkpoint(
        "toy",
        (
            CheckpointFile("toy.bin", 4, hashlib.sha256(b"good").hexdigest()),
            CheckpointFile("toy.json", remote="deep/toy.json"),
        ),
        "MIT",
        "https://example.org",
        folders=("", "Collection"),
    )
    monkeypatch.setitem(CHECKPOINTS, "toy", made)
    return made


def put(folder: Path, **content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


# The table


def test_rows_are_complete_and_names_stay_inside_their_folder():
    assert {"imagebind_huge", "clip_vit_b32", "clap_htsat_unfused", "clap_laion", "audiobox_aesthetics"} <= set(
        CHECKPOINTS
    )
    for row in CHECKPOINTS.values():
        assert row.licence and row.page.startswith("https://") and row.files
        assert set(row.requires) <= set(CHECKPOINTS)
        assert len({file.name for file in row.files}) == len(row.files)
        for path in (row.name, *row.folders, *(f.name for f in row.files), *(f.hub_path for f in row.files)):
            assert not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
        for file in row.files:
            assert file.sha256 is None or (16 <= len(file.sha256) <= 64 and int(file.sha256, 16) >= 0)
            # Only the hub's client notices that a file changed between two attempts.
            assert not file.url or (file.url.startswith("https://") and file.sha256)
            assert not file.url or file.size or len(file.sha256 or "") < 64
            assert bool(file.url) != bool(row.hubs)
        assert not row.hubs or (row.revision is not None and len(row.revision) == 40)


def test_required_rows_come_along_once():
    assert with_required(["hpsv3", "hpsv3_template"]) == ["hpsv3", "qwen2_vl_7b", "hpsv3_template"]


# Where files are


@pytest.mark.parametrize("folder", ["toy", "", "Collection"])
def test_files_are_found_in_each_layout_of_the_weights_folder(row, home, folder):
    place = put(home / "w" / folder, toy_bin=b"good")
    put(place / "deep", toy_json=b"{}")
    found = locate.files("toy", WeightsConfig(weights_dir=home / "w"))
    assert found == {"toy.bin": place / "toy.bin", "toy.json": place / "deep" / "toy.json"}


def test_one_place_gives_all_files_and_the_weights_folder_wins(row, home):
    own = put(locate.weights_root() / "toy", toy_bin=b"good", toy_json=b"own")
    put(home / "w" / "toy", toy_bin=b"good")  # half a checkpoint is none
    assert set(locate.files("toy", WeightsConfig(weights_dir=home / "w")).values()) == {
        own / "toy.bin",
        own / "toy.json",
    }
    put(home / "w" / "toy", toy_json=b"{}")
    assert locate.files("toy", WeightsConfig(weights_dir=home / "w"))["toy.bin"].parent == home / "w" / "toy"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("imagebind_huge", "ImageBind/imagebind_huge.pth"),
        ("hpsv3", "HPSv3/HPSv3.safetensors"),
        ("videoalign", "VideoReward/checkpoint-11352/model.pth"),
        ("synchformer", "synchformer/synchformer_state_dict.pth"),
        ("audiobox_aesthetics", "audiobox-aesthetics/model.safetensors"),
        ("audioclip", "CLAP/AudioCLIP-Full-Training.pt"),
        ("imagebind_huge", "imagebind_huge.pth"),
        ("cavp", "cavp_epoch66.ckpt"),
        ("i3d_k400", "i3d_pretrained_400.pt"),
        ("synchformer", "synchformer_state_dict.pth"),
    ],
)
def test_layouts_of_omninft_reward_series_and_javisdit_are_understood(home, name, path):
    target = home / "w" / path
    put(target.parent)
    target.write_bytes(b"")
    assert target in locate.location(name, WeightsConfig(weights_dir=home / "w")).paths.values()


VBENCH_CACHE = {
    "dino_vitb16": "dino_model/dino_vitbase16_pretrain.pth",
    "laion_aesthetic_l14": "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth",
    "amt_s": "amt_model/amt-s.pth",
    "raft_things": "raft_model/models/raft-things.pth",
    "musiq_spaq": "pyiqa_model/musiq_spaq_ckpt-358bb6af.pth",
    "grit_b_densecap_objectdet": "grit_model/grit_b_densecap_objectdet.pth",
    "umt_l16_k400": "umt_model/l16_ptk710_ftk710_ftk400_f16_res224.pth",
    "viclip_l14_internvid_10m": "ViCLIP/ViClip-InternVid-10M-FLT.pth",
    "tag2text_swin_b": "caption_model/tag2text_swin_14m.pth",
}


@pytest.mark.parametrize(("name", "path"), VBENCH_CACHE.items())
def test_the_cache_of_vbench_serves_as_a_weights_folder(home, name, path):
    target = home / "w" / path
    target.parent.mkdir(parents=True)
    target.write_bytes(b"")
    assert target in locate.location(name, WeightsConfig(weights_dir=home / "w")).paths.values()
    flat = home / "flat" / target.name  # as in a copy of OpenGVLab/VBench_Used_Models
    flat.parent.mkdir()
    flat.write_bytes(b"")
    assert flat in locate.location(name, WeightsConfig(weights_dir=home / "flat")).paths.values()


@pytest.mark.parametrize("name", ["amt_s", "musiq_spaq", "nisqa", "nisqa_tts"])
def test_non_commercial_weights_are_accepted_once(home, name):
    setup = WeightsConfig(weights_dir=home / "w")
    put(home / "w")
    for file in CHECKPOINTS[name].files:
        (home / "w" / file.name).write_bytes(b"")
    assert "licence not accepted" in str(locate.unusable(name, setup))
    locate.accept(name)
    assert locate.unusable(name, setup) is None


def test_the_hubs_cache_is_read_at_the_pinned_revision(home, monkeypatch):
    """In the layout that the hub's client writes: snapshots/<revision>/<path>."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.undo()
    row = CHECKPOINTS["clip_vit_b32"]
    repository = home / "hub" / f"models--{row.hubs[0].replace('/', '--')}"
    snapshot = put(repository / "snapshots" / str(row.revision))
    (snapshot / row.files[0].name).write_bytes(b"tensors")
    original = hub.try_to_load_from_cache
    monkeypatch.setattr(
        hub, "try_to_load_from_cache", lambda *a, **k: original(*a, **{**k, "cache_dir": str(home / "hub")})
    )
    assert locate._in_hub_cache(row, row.hubs[0]) == {row.files[0].name: snapshot / row.files[0].name}
    snapshot.rename(snapshot.with_name("0" * 40))
    assert locate._in_hub_cache(row, row.hubs[0]) == {}


# Whether they may be used


def test_missing_weights_name_size_and_command(row, home):
    setup = WeightsConfig(weights_dir=home / "w")
    assert locate.unusable("toy", setup) == "weights missing: toy (4 B); get them with: avbench models pull toy"
    put(home / "w" / "toy", toy_bin=b"good")
    assert "lacks toy.json" in str(locate.unusable("toy", setup))
    with pytest.raises(EnvironmentProblem, match=r"toy lacks toy\.json.*avbench models pull toy"):
        locate.files("toy", setup)


def test_a_required_row_is_missing_too(row, home, monkeypatch):
    monkeypatch.setitem(
        CHECKPOINTS,
        "head",
        Checkpoint("head", (CheckpointFile("head.bin"),), "MIT", "https://e.org", requires=("toy",)),
    )
    put(home / "w" / "head", head_bin=b"1")
    reason = locate.unusable("head", WeightsConfig(weights_dir=home / "w"))
    assert reason == "weights missing: toy (4 B); get them with: avbench models pull head"


def test_test_modes_need_no_files_and_never_share_a_digest(row):
    for mode in ("keyed-random", "keyed-random-reduced"):
        assert locate.unusable("toy", WeightsConfig(weights=mode)) is None
        assert locate.checkpoint_digest("toy", WeightsConfig(weights=mode)) == f"{mode}:toy"


def test_a_restricted_licence_is_accepted_once(row, home, monkeypatch):
    monkeypatch.setitem(CHECKPOINTS, "toy", Checkpoint("toy", row.files, "CC BY-NC 4.0", row.page, must_accept=True))
    setup = WeightsConfig(weights_dir=put(home / "w", toy=b"").parent / "w")
    put(home / "w" / "toy2")
    (home / "w" / "toy").unlink()
    put(home / "w" / "toy", toy_bin=b"good", toy_json=b"{}")
    expected = "licence not accepted: toy is CC BY-NC 4.0; read it and run: avbench models accept toy"
    assert locate.unusable("toy", setup) == expected
    with pytest.raises(EnvironmentProblem, match="licence not accepted"):
        locate.files("toy", setup)
    for word in ("toy", "CC BY-NC 4.0"):
        assert locate.unusable("toy", WeightsConfig(weights_dir=setup.weights_dir, accepted=frozenset({word}))) is None
    locate.accept("toy")
    assert locate.unusable("toy", setup) is None
    # Another licence is another question.
    monkeypatch.setitem(CHECKPOINTS, "toy", Checkpoint("toy", row.files, "CC BY-NC 5.0", row.page, must_accept=True))
    assert "CC BY-NC 5.0" in str(locate.unusable("toy", setup))


def test_a_wrong_checksum_stops_loading_with_both_values_and_the_cure(row, home):
    put(home / "w" / "toy", toy_bin=b"evil", toy_json=b"{}")
    with pytest.raises(EnvironmentProblem) as caught:
        locate.files("toy", WeightsConfig(weights_dir=home / "w"))
    message = str(caught.value)
    assert hashlib.sha256(b"evil").hexdigest() in message and hashlib.sha256(b"good").hexdigest() in message
    assert "avbench models pull toy" in message


def test_a_recorded_checksum_holds_for_its_own_weights_folder_only(row, home):
    put(home / "w" / "toy", toy_bin=b"good", toy_json=b"{}")
    put(home / "v" / "toy", toy_bin=b"good", toy_json=b"other")
    checksums.record(home / "w", "toy", {"toy.json": hashlib.sha256(b"{}").hexdigest()})
    assert locate.files("toy", WeightsConfig(weights_dir=home / "w"))
    assert locate.unchecked("toy", WeightsConfig(weights_dir=home / "w")) == []
    assert locate.unchecked("toy", WeightsConfig(weights_dir=home / "v")) == ["toy.json"]
    (home / "w" / "toy" / "toy.json").write_bytes(b"changed")
    with pytest.raises(EnvironmentProblem, match="recorded at the first download"):
        locate.files("toy", WeightsConfig(weights_dir=home / "w"))
    # What was recorded first stays.
    checksums.record(home / "w", "toy", {"toy.json": "0" * 64})
    assert checksums.recorded(home / "w", "toy") == {"toy.json": hashlib.sha256(b"{}").hexdigest()}


# What identifies them


def test_different_bytes_anywhere_give_different_digests(row, home):
    setup = WeightsConfig(weights_dir=home / "w")
    put(home / "w" / "toy", toy_bin=b"good", toy_json=b"{}")
    first = locate.checkpoint_digest("toy", setup)
    put(home / "elsewhere" / "toy", toy_bin=b"good", toy_json=b"{}")
    assert locate.checkpoint_digest("toy", WeightsConfig(weights_dir=home / "elsewhere")) == first
    (home / "w" / "toy" / "toy.json").write_bytes(b"{ }")
    assert locate.checkpoint_digest("toy", setup) != first
    (home / "w" / "toy" / "toy.json").unlink()
    with pytest.raises(EnvironmentProblem, match="weights missing"):
        locate.checkpoint_digest("toy", setup)


def test_a_file_is_hashed_once_and_again_when_it_changed(home, monkeypatch):
    path = put(home / "w", a_bin=b"one") / "a.bin"
    calls = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: calls.append(a) or digest(*a))
    assert checksums.file_sha256(path) == checksums.file_sha256(path) == hashlib.sha256(b"one").hexdigest()
    monkeypatch.setattr(checksums, "_known", {})  # another process
    checksums.file_sha256(path)
    assert len(calls) == 1
    path.write_bytes(b"other")
    assert checksums.file_sha256(path) == hashlib.sha256(b"other").hexdigest()
    (checksums.cache_folder() / "hashes.json").write_text("{damaged")
    monkeypatch.setattr(checksums, "_known", {})
    assert checksums.file_sha256(path) == hashlib.sha256(b"other").hexdigest()


# Downloads by address


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    """A web server on this machine; `cut` breaks off the first answer after so many bytes."""
    state = SimpleNamespace(body=BODY, cut=0, ranges=True, asked=[], status=0, url="")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.status:
                self.send_error(state.status)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and state.ranges else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(state.body) - start))
            self.end_headers()
            end = start + state.cut if state.cut else len(state.body)
            state.cut = 0
            self.wfile.write(state.body[start:end])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{http.server_port}/w.bin"
        yield state
        http.shutdown()


def address_row(monkeypatch: pytest.MonkeyPatch, url: str, **facts: object) -> None:
    file = CheckpointFile("w.bin", **{"size": len(BODY), "sha256": SHA, "url": url} | facts)  # type: ignore[arg-type]
    monkeypatch.setitem(CHECKPOINTS, "web", Checkpoint("web", (file,), "MIT", "https://example.org"))


def test_a_download_arrives_whole_and_the_second_pull_does_nothing(server, home, monkeypatch):
    address_row(monkeypatch, server.url)
    seen = []
    done = download.pull(["web"], WeightsConfig(), lambda *facts: seen.append(facts))
    assert done == [locate.weights_root() / "web" / "w.bin"]
    assert done[0].read_bytes() == BODY
    assert seen[-1] == ("w.bin", len(BODY), len(BODY))
    assert download.pull(["web"], WeightsConfig(), silent) == []
    assert len(server.asked) == 1
    assert [p.name for p in done[0].parent.iterdir()] == ["w.bin"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_resumed_where_it_broke(server, home, monkeypatch, ranges):
    address_row(monkeypatch, server.url)
    server.cut, server.ranges = 1_000_000, ranges
    (path,) = download.pull(["web"], WeightsConfig(weights_dir=home / "w"), silent)
    assert path == home / "w" / "web" / "w.bin"
    assert path.read_bytes() == BODY
    assert server.asked == [None, "bytes=1000000-"]


def test_an_earlier_command_that_was_killed_is_resumed(server, home, monkeypatch):
    address_row(monkeypatch, server.url)
    put(home / "w" / "web")
    (home / "w" / "web" / "w.bin.part").write_bytes(BODY[:5000])
    (path,) = download.pull(["web"], WeightsConfig(weights_dir=home / "w"), silent)
    assert server.asked == ["bytes=5000-"]
    assert path.read_bytes() == BODY


def test_wrong_bytes_never_appear_under_the_name(server, home, monkeypatch):
    address_row(monkeypatch, server.url)
    server.body = BODY[:-1] + b"!"
    with pytest.raises(EnvironmentProblem, match=f"expected {SHA}"):
        download.pull(["web"], WeightsConfig(weights_dir=home / "w"), silent)
    assert list((home / "w" / "web").iterdir()) == []


def test_no_server_and_a_refusing_server_are_one_line(server, home, monkeypatch):
    address_row(monkeypatch, "http://127.0.0.1:9/w.bin")
    with pytest.raises(EnvironmentProblem, match=r"cannot reach http://127\.0\.0\.1:9/w\.bin \(.*refused\)"):
        download.pull(["web"], WeightsConfig(), silent)
    address_row(monkeypatch, server.url)
    server.status = 404
    with pytest.raises(EnvironmentProblem, match="answers 404"):
        download.pull(["web"], WeightsConfig(), silent)
    server.status, server.body = 0, b""
    with pytest.raises(EnvironmentProblem, match=r"broke off|sha256"):
        download.pull(["web"], WeightsConfig(), silent)


def test_offline_mode_licence_and_disk_stop_before_anything_is_asked(server, home, monkeypatch):
    address_row(monkeypatch, server.url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EnvironmentProblem, match=r"HF_HUB_OFFLINE is set.*web"):
        download.pull(["web"], WeightsConfig(), silent)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(EnvironmentProblem, match=r"not enough disk space for web: it takes 2\.1 MB"):
        download.pull(["web"], WeightsConfig(), silent)
    monkeypatch.undo()
    monkeypatch.setitem(
        CHECKPOINTS,
        "nc",
        Checkpoint("nc", (CheckpointFile("n.bin", url=server.url),), "CC NC", "https://e.org", must_accept=True),
    )
    with pytest.raises(EnvironmentProblem, match=r"licence not accepted: nc is CC NC, see https://e\.org"):
        download.pull(["nc"], WeightsConfig(weights_dir=home / "w"), silent)
    assert server.asked == []


def test_a_folder_that_cannot_be_written_says_so(server, home, monkeypatch):
    address_row(monkeypatch, server.url)
    (home / "w").write_bytes(b"a file")
    with pytest.raises(EnvironmentProblem, match=r"cannot write to .*--weights-dir"):
        download.pull(["web"], WeightsConfig(weights_dir=home / "w"), silent)


def test_two_pulls_at_once_do_not_mix(server, home, monkeypatch):
    from filelock import FileLock

    address_row(monkeypatch, server.url)
    put(home / "w")
    with FileLock(home / "w" / ".avbench-pull.lock"), pytest.raises(EnvironmentProblem, match="another"):
        download.pull(["web"], WeightsConfig(weights_dir=home / "w"), silent)


# Downloads from the hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The hub's client, replaced: it writes `content` where the real one would with a local folder."""
    module = pytest.importorskip("huggingface_hub")
    state = SimpleNamespace(content=b"{}", calls=[])

    def fetch(repository, path, *, repo_type, revision, local_dir):
        state.calls.append((repository, path, repo_type, revision))
        target = Path(local_dir) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(state.content)
        return str(target)

    monkeypatch.setattr(module, "hf_hub_download", fetch)
    monkeypatch.setattr(download, "unreachable", lambda _: None)
    return state


def test_hub_files_come_at_the_pinned_revision_and_first_digests_are_recorded(hub, home, monkeypatch):
    made = Checkpoint(
        "hubby",
        (CheckpointFile("h.json", remote="deep/h.json"),),
        "MIT",
        "https://e.org",
        hubs=("a/b",),
        revision="0" * 40,
    )
    monkeypatch.setitem(CHECKPOINTS, "hubby", made)
    setup = WeightsConfig(weights_dir=home / "w")
    (path,) = download.pull(["hubby"], setup, silent)
    assert hub.calls == [("a/b", "deep/h.json", "model", "0" * 40)]
    assert locate.files("hubby", setup) == {"h.json": path}
    content = json.loads((home / "w" / "avbench-weights.json").read_text())
    assert content == {"hubby": {"h.json": hashlib.sha256(b"{}").hexdigest()}}
    # Trust on first use: a second download must be the same.
    path.unlink()
    hub.content = b"{ }"
    with pytest.raises(EnvironmentProblem, match="source has changed"):
        download.pull(["hubby"], setup, silent)
    assert not path.exists()


def test_what_a_collection_lacks_is_put_beside_the_rest(hub, home, monkeypatch):
    made = Checkpoint(
        "hubby",
        (CheckpointFile("a.bin"), CheckpointFile("b.json")),
        "MIT",
        "https://e.org",
        hubs=("a/b",),
        folders=("Coll",),
    )
    monkeypatch.setitem(CHECKPOINTS, "hubby", made)
    put(home / "w" / "Coll", a_bin=b"weights")
    download.pull(["hubby"], WeightsConfig(weights_dir=home / "w"), silent)
    assert locate.files("hubby", WeightsConfig(weights_dir=home / "w"))["b.json"] == home / "w" / "Coll" / "b.json"
