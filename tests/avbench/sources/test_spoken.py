"""The words that a prompt asks for: read from columns, benchmarks' fields and Ovi's tags; kept, and in the digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avbench.clips import Clip, Prompt
from avbench.errors import UsageError
from avbench.metrics.base import get_scorers
from avbench.prompts import load_prompt_suite
from avbench.prompts.export import render
from avbench.results.schema import ClipRow
from avbench.run.rows import clip_row
from avbench.sources import load_source
from avbench.sources.prompts import read_prompts

VERSE = {"text": "We leave at dawn.", "speaker": "an old man"}
COMPASS = [
    {"speaker": "woman", "description": "calm", "text": "Is it  far?"},
    {"speaker": "man", "description": "", "text": ""},
    {"speaker": "man", "description": "hoarse", "text": "Two days."},
]


def read(folder: Path, **row: object) -> Prompt:
    path = folder / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "A man nods.", **row}) + "\n")
    return read_prompts(path).rows[0].prompt


@pytest.mark.parametrize(
    ("row", "spoken"),
    [
        ({"prompt_speech": "Hello there."}, "Hello there."),
        ({"prompt_speech": ""}, None),
        ({"speech_prompt": VERSE}, "We leave at dawn."),
        ({"speech_prompt": json.dumps(VERSE)}, "We leave at dawn."),
        ({"speech_prompt": COMPASS}, "Is it far? Two days."),
        ({"speech_prompt": []}, None),
        ({"speech_prompt": {"text": None}}, None),
        ({"speech_prompt": None}, None),
        ({"speech_prompt": VERSE, "prompt_speech": "Go."}, "Go."),
        ({"prompt": "She smiles. <S>Hello,\n you.<E> A pause. <S>Sit.<E> <AUDCAP>soft<ENDAUDCAP>"}, "Hello, you. Sit."),
        ({"prompt_a": "<S>Only in the sound.<E>"}, "Only in the sound."),
        ({"prompt_speech": "N/A"}, None),
        ({"prompt_speech": "None", "speech_prompt": VERSE}, "We leave at dawn."),
        ({"speech_prompt": [{"text": "Go."}, {"text": "None"}]}, "Go."),
        ({"prompt": "<S>An open tag"}, None),
        ({"prompt": "She says <S>open. He walks in. <S>Hi.<E> They leave."}, "Hi."),
        ({"prompt": "<S>One.<E> stray <E> and <S>two.<E>"}, "One. two."),
        ({"prompt": "< s >Quietly.</E> no end, <s>Now.< e >"}, "Now."),
        ({"prompt": "<S><E> nothing"}, None),
        ({"prompt_speech": "<S>Hello.<E> (a pause) <S>Sit.<E>"}, "Hello. Sit."),
        ({"prompt_speech": "<S>Hello there."}, "Hello there."),
        ({"prompt_speech": "<S> <E>", "speech_prompt": VERSE}, "We leave at dawn."),
        ({"prompt": 'A man says, "Follow me."'}, None),
        ({"prompt": "A sign reads “Open”."}, None),
    ],
)
def test_where_spoken_words_come_from(tmp_path: Path, row: dict[str, object], spoken: str | None) -> None:
    assert read(tmp_path, **row).speech_text == spoken


@pytest.mark.parametrize("word", ["None", "N/A", "nan", "null"])
@pytest.mark.parametrize("column", ["prompt_speech", "prompt_language", "speech_prompt"])
def test_words_for_a_missing_value_mean_one_thing_in_each_column(tmp_path: Path, column: str, word: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "A man nods.", column: word}) + "\n")
    found = read_prompts(path)
    assert (found.rows[0].prompt.speech_text, found.rows[0].prompt.speech_language) == (None, None)
    (note,) = found.notes
    assert note.startswith("1 text cells say only None, N/A or the like") and note.endswith(f"{column}, line 1")


def test_tags_without_an_end_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    rows = [["She says <S>open. <S>Hi.<E>", ""], ["<S>Whole.<E>", "<S>Hello"], ["plain <E>", ""]]
    lines = [{"video": "a.mp4", "prompt": prompt, "prompt_speech": speech} for prompt, speech in rows]
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (note,) = (note for note in load_source(tmp_path / "clips.jsonl").notes if "<S>" in note)
    assert note.startswith("2 text cells have a tag <S> without an <E>")
    assert note.endswith("prompt, line 1, prompt_speech, line 2")


@pytest.mark.parametrize("field", [{"words": "Go."}, ["Go."], {"text": 3}, "Go."])
def test_another_form_of_the_field_is_one_line_with_a_cure(tmp_path: Path, field: object) -> None:
    with pytest.raises(UsageError, match=r"line 1: speech_prompt is .*the key `text`.*prompt_speech"):
        read(tmp_path, speech_prompt=field)


CODES = {
    "de": "de", "zh-CN": "zh", "EN_us": "en", "": None, "eng": "en", "zho": "zh", "CMN": "zh", "jpn": "ja", "fra": "fr",
    "deu-AT": "de", "nb": "no", "jv": "jw", "yue-HK": "yue", "ga": "ga",
}  # fmt: skip


@pytest.mark.parametrize(("cell", "code"), CODES.items())
def test_language_is_a_code_that_the_transcriber_knows(tmp_path: Path, cell: str, code: str | None) -> None:
    assert read(tmp_path, prompt_language=cell).speech_language == code


@pytest.mark.parametrize("cell", ["German", "xq", "und", "e", "jp"])
def test_what_names_no_language_is_refused_with_its_place(tmp_path: Path, cell: str) -> None:
    with pytest.raises(UsageError, match=f"line 1: prompt_language is {cell}; expected a code"):
        read(tmp_path, prompt_language=cell)


def test_role_speech_is_the_words_with_their_language() -> None:
    assert Prompt("a man nods", speech_text="Go.").for_role("speech") == "Go."
    assert Prompt("a man nods", speech_text="Los.", speech_language="de").for_role("speech") == "de: Los."
    assert Prompt('a man says "Go."', speech_language="de").for_role("speech") is None


def test_a_manifest_of_spoken_words_alone_has_prompts(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    rows = ["video,prompt_speech", "a.mp4,Go.", "a.mp4,Go.", "a.mp4,Stay.", "a.mp4,"]
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    source = load_source(tmp_path / "clips.csv")
    assert "3 of 4 clips have a prompt" in source.matching
    assert [clip.sample_index for clip in source.clips] == [0, 1, 0, 0]
    with pytest.raises(UsageError, match="has prompts of its own"):
        load_source(tmp_path / "clips.csv", prompts=tmp_path / "clips.csv")


def test_digests_of_other_roles_do_not_see_the_words() -> None:
    (clap, clip) = get_scorers(("clap_score", "clip_score"))
    bare, spoken = Prompt("a man nods"), Prompt("a man nods", speech_text="Go.", speech_language="en")
    for scorer in (clap, clip):
        assert scorer.params_digest(bare) == scorer.params_digest(spoken)


def test_words_survive_an_export(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "a", "speech_prompt": COMPASS, "prompt_language": "en"}, {"prompt": "b"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "again.csv").write_text(render(read_prompts(path).rows, "csv"))
    again = [row.prompt for row in read_prompts(tmp_path / "again.csv").rows]
    assert [(p.speech_text, p.speech_language) for p in again] == [("Is it far? Two days.", "en"), (None, None)]


def test_the_clip_table_keeps_the_words_apart_from_the_media() -> None:
    prompt = Prompt("a", speech_text="Go.", speech_language="en")
    row = clip_row(Clip("one", Path("one.mp4"), prompt=prompt), "0" * 64, Path())
    assert (row.speech_text, row.speech_language) == ("Go.", "en")
    other: ClipRow = clip_row(Clip("two", Path("two.mp4")), "0" * 64, Path())
    assert row.with_media_of(other).speech_text == "Go."


def test_talking_prompts_of_the_own_list_say_their_words() -> None:
    rows = load_prompt_suite("avbench-175").rows
    talking = [row for row in rows if any(category.name == "Speech sounds" for category in row.categories)]
    spoken = [row for row in rows if row.prompt.speech_text]
    assert spoken == talking and len(spoken) == 59
    assert [row for row in rows if row.prompt.speech_language == "en"] == spoken
    for row in spoken:
        for word in str(row.prompt.speech_text).strip(".").split(". ")[0].split():
            assert word in str(row.prompt.audio_text)
