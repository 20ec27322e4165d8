"""Names that look equal: Unicode's composed and decomposed form are one name, unless one fits as it is."""

from __future__ import annotations

import unicodedata

import pytest

from avbench.clips import Category
from avbench.errors import UsageError
from avbench.sources import load_source

NAMES = ("Café déjà", "über", "나비", "ñandú x", "ぱぴぷ")


def form(name: str, text: str) -> str:
    return unicodedata.normalize(name, text)


@pytest.fixture(params=[("NFD", "NFC"), ("NFC", "NFD")], ids=["decomposed files", "decomposed lists"])
def forms(request, clips):
    """The form of file names and that of lists, on a file system that keeps both."""
    probe = clips / form("NFD", "é")
    probe.write_bytes(b"")
    if not probe.exists() or (clips / form("NFC", "é")).exists():
        pytest.skip("this file system does not tell the forms apart")
    probe.unlink()
    return request.param


@pytest.mark.parametrize("name", NAMES)
def test_manifest(forms, touch, write, name):
    on_disk, in_list = (form(kind, name) for kind in forms)
    root = touch(f"{on_disk}/{on_disk}.mp4", f"{on_disk}/s{on_disk}.wav")
    text = f"video,audio,text\n{in_list}/{in_list}.mp4,{in_list}/s{in_list}.wav,x\n"
    source = load_source(write("list.csv", text))
    assert source.clips[0].video == root / on_disk / f"{on_disk}.mp4"
    assert source.clips[0].audio == root / on_disk / f"s{on_disk}.wav"
    assert source.clips[0].video.is_file() and source.clips[0].audio.is_file()
    assert source.notes == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["", ".mp4"])
def test_prompt_list_with_categories(forms, touch, write, name, suffix):
    on_disk, in_list = (form(kind, name) for kind in forms)
    prompts = write(
        "p.csv", f"video,text,categories\nother.mp4,Other.,mood: dull\n{in_list}{suffix},A cafe.,mood: warm\n"
    )
    source = load_source(touch(f"{on_disk}.mp4", "other.mp4"), prompts=prompts)
    found = {form("NFC", clip.clip_id): (clip.prompt.text, clip.categories) for clip in source.clips}
    assert found == {
        f"{form('NFC', name)}.mp4": ("A cafe.", (Category("mood", "warm"),)),
        "other.mp4": ("Other.", (Category("mood", "dull"),)),
    }


@pytest.mark.parametrize("name", NAMES)
def test_sound_beside_the_video(forms, touch, write, name):
    video, sound = (form(kind, name) for kind in forms)
    root = touch(f"{video}.mp4", f"{sound}.wav")
    for source in (
        load_source(root),
        load_source(root / f"{video}.mp4"),
        load_source(write("l.csv", f"video\n{video}.mp4\n")),
    ):
        assert source.clips[0].audio == root / f"{sound}.wav"
        assert not any("no video of the same name" in note for note in source.notes)


def test_source_and_prompts_on_the_command_line(forms, touch, write, clips):
    on_disk, typed = (form(kind, "Café") for kind in forms)
    touch(f"{on_disk}/a.mp4")
    write(f"{on_disk}.txt", "x")
    assert load_source(clips / typed, prompts=clips / f"{typed}.txt").clips[0].prompt.text == "x"


def test_a_name_that_fits_as_it_is_comes_first(forms, touch, write):
    one, other = (form(kind, "é") for kind in forms)
    root = touch(f"{one}.mp4", f"{other}.mp4", f"{one}.wav")
    source = load_source(write("l.csv", f"video,text\n{one}.mp4,x\n{other}.mp4,y\n"))
    assert [clip.video.name for clip in source.clips] == [f"{one}.mp4", f"{other}.mp4"]
    sounds = {clip.video.stem: clip.audio for clip in load_source(root, layout="folder").clips}
    assert sounds == {one: root / f"{one}.wav", other: None}
    source = load_source(root, prompts=write("p.csv", f"video,text\n{one}.mp4,x\nq.mp4,y\n"), layout="folder")
    assert {clip.video.stem: clip.prompt.text for clip in source.clips} == {one: "x", other: None}


def test_two_files_that_one_name_means(forms, touch, write):
    """Of three forms of a name with two accents, the list has the one that no file has."""
    half, whole = form("NFD", "é") + form("NFC", "à"), form("NFC", "é") + form("NFD", "à")
    touch(f"{half}.mp4", f"{whole}.mp4")
    name = form("NFC", "éà")
    with pytest.raises(UsageError, match=r"line 2.*2 files have this name in other Unicode forms.*\\u0301.*Rename"):
        load_source(write("l.csv", f"video\n{name}.mp4\n"))
    with pytest.raises(UsageError, match=r"two names of clips are one name to column 'video'.*u0301.*Rename one"):
        load_source(touch(), prompts=write("p.csv", f"video,text\n{name}.mp4,x\nq,y\n"), layout="folder")
    touch(f"{half}.wav", f"{whole}.wav", f"only/{name}.mp4", f"only/{half}.wav", f"only/{whole}.wav")
    with pytest.raises(UsageError, match=r"several sound files have its name in other Unicode forms"):
        load_source(touch(), layout="folder")


def test_letters_that_only_look_alike_stay_apart(touch, write):
    root = touch("ﬁlm.mp4", "x.mp4")
    source = load_source(root, prompts=write("p.csv", "video,text\nx.mp4,x\nfi lm.mp4,y\n"))
    assert {clip.clip_id: clip.prompt.text for clip in source.clips} == {"x.mp4": "x", "ﬁlm.mp4": None}
