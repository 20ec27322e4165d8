"""Manifests that name addresses, and which web servers are contacted."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from avbench.api import score_clips
from avbench.clips import RemoteFile
from avbench.errors import MediaError, UsageError
from avbench.remote.addresses import shown, without_secrets
from avbench.remote.fetch import Retries, fetch
from avbench.remote.hosts import is_public
from avbench.sources import load_source

QUICK = Retries(attempts=1, stall=5)


def manifest(folder: Path, *cells: str) -> Path:
    path = folder / "list.csv"
    path.write_text("video\n" + "".join(f"{cell}\n" for cell in cells))
    return path


def test_addresses_in_a_manifest_need_leave(tmp_path, web):
    with pytest.raises(UsageError, match=r"line 2.*--allow-remote") as error:
        load_source(manifest(tmp_path, f"{web.url}/a.mp4?X-Amz-Signature=secret"))
    assert "secret" not in str(error.value)
    assert not web.asked


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.8", "[::1]", "169.254.169.254", "localhost", "[::ffff:10.0.0.1]"]
)
def test_private_host_in_a_manifest_is_refused(tmp_path, host):
    with pytest.raises(UsageError, match=r"line 2.*private.*--allow-host"):
        load_source(manifest(tmp_path, f"https://{host}/a.mp4"), allow_remote=True)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:0a00:0001::", False),
        ("2002:5db8:d822::", True),
        ("64:ff9b::5db8:d822", True),
        ("::ffff:93.184.216.34", True),
        ("192.0.0.8", False),
        ("192.88.99.1", False),
        ("fec0::1", False),
        ("::127.0.0.1", False),
        ("::10.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("::ffff:0:127.0.0.1", False),
        ("3fff::1", False),
        ("5f00::1", False),
    ],
)
def test_ranges(address, public):
    assert is_public(address) is public


def test_name_that_resolves_to_a_private_address(tmp_path, web, monkeypatch):
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **most: resolve("127.0.0.1", *more, **most))
    with pytest.raises(MediaError, match=r"clips\.example is on a private"):
        fetch(RemoteFile(f"http://clips.example:{web.port}/a.mp4"), tmp_path / "x", 100, QUICK)
    assert not web.asked


def test_redirect_to_a_private_host(tmp_path, web):
    web.redirects["/a.mp4"] = "http://localhost:1/secret"
    file = RemoteFile(f"{web.url}/a.mp4", hosts=frozenset({f"127.0.0.1:{web.port}"}))
    with pytest.raises(MediaError, match="localhost is on a private"):
        fetch(file, tmp_path / "x", 100, QUICK)


def test_redirect_to_another_scheme(tmp_path, web):
    web.redirects["/a.mp4"] = "file:///etc/hostname"
    file = RemoteFile(f"{web.url}/a.mp4", hosts=frozenset({"127.0.0.1"}))
    with pytest.raises(MediaError, match="not followed"):
        fetch(file, tmp_path / "x", 100, QUICK)


def test_manifest_on_a_web_server(tmp_path, web, small_clip):
    shutil.copy(small_clip, web.folder / "a b.mp4")
    manifest(web.folder, "a b.mp4", "gone.mp4")
    run = score_clips(f"{web.url}/list.csv?sig=secret", tmp_path / "run", metrics=["loudness"])
    assert dict(zip(run.scores.clip_id, run.scores.status, strict=True)) == {"a b.mp4": "ok", "gone.mp4": "error"}
    local = score_clips(small_clip, tmp_path / "local", metrics=["loudness"]).scores
    assert run.scores["clip_sha256"][0] == local["clip_sha256"][0]
    assert run.scores["value"][0] == local["value"][0]
    assert run.info["source"] == f"{web.url}/list.csv"
    asked = len(web.asked)
    score_clips(f"{web.url}/list.csv?sig=secret", tmp_path / "run", metrics=["loudness"])
    assert [path for path in web.asked[asked:] if path == "/a%20b.mp4"] == []  # only its state was asked for


def test_signature_is_written_nowhere(tmp_path, web, small_clip):
    shutil.copy(small_clip, web.folder / "a.mp4")
    path = manifest(tmp_path, f"{web.url}/a.mp4?X-Amz-Signature=secret", f"{web.url}/b.mp4?X-Amz-Signature=secret")
    source = load_source(path, allow_remote=True, allow_hosts=["127.0.0.1"])
    run = score_clips(source, tmp_path / "run", metrics=["loudness"])
    assert list(run.scores["status"]) == ["ok", "error"]
    assert "secret" not in repr(source)
    for written in (tmp_path / "run").rglob("*"):
        assert not written.is_file() or b"secret" not in written.read_bytes(), written


def test_folder_of_a_web_server(web):
    with pytest.raises(UsageError, match="no folder"):
        load_source(f"{web.url}/clips/")


def test_manifest_of_a_web_server_names_no_local_file(tmp_path, web):
    for cell in ("/etc/hostname.mp4", "../a.mp4", "file:///etc/a.mp4"):
        manifest(web.folder, cell)
        with pytest.raises(UsageError):
            load_source(f"{web.url}/list.csv", allow_outside=True)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://me:pass@host:1/a.mp4?sig=s", "https://host:1/a.mp4"),
        ("s3://key:secret@bucket/clips", "s3://bucket/clips"),
        ("az://account:secret@container/clips", "az://container/clips"),
        ("az://container/a.mp4?sv=1&sig=s/x=", "az://container/a.mp4"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("hf://datasets/me/clips@main/a", "hf://datasets/me/clips@main/a"),
        ("s3://bucket/what is this?/a@b:c.mp4", "s3://bucket/what is this?/a@b:c.mp4"),
    ],
)
def test_addresses_are_shown_without_their_secrets(address, said):
    assert shown(address) == said


def test_a_secret_in_the_address_of_a_store_is_written_nowhere(store, small_clip, tmp_path):
    store.write("other", b"")
    base = f"{store.url.replace('://', '://me:secret@')}/clips?sig=secret"
    store.files.pipe_file(f"{base}/a.mp4", small_clip.read_bytes())
    run = score_clips(base, tmp_path / "run", metrics=["loudness"])
    assert list(run.scores["status"]) == ["ok"] and run.info["source"] == f"{store.url}/clips"
    for written in (tmp_path / "run").rglob("*"):
        assert not written.is_file() or b"secret" not in written.read_bytes(), written
    store.files.rm_file(f"{base}/a.mp4")


def test_texts_lose_their_secrets():
    text = "GET https://me:pass@host/a.mp4?X-Amz-Signature=s#f failed, s3://b/c.mp4 too"
    assert without_secrets(text) == "GET https://host/a.mp4 failed, s3://b/c.mp4 too"
