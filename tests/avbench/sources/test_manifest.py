"""Manifests: CSV, JSON lines, JSON and Parquet with one row per video."""

from __future__ import annotations

import json

import pyarrow
import pytest
from pyarrow import parquet

from avbench.clips import Category
from avbench.errors import UsageError
from avbench.sources import load_source


def only(source):
    assert len(source.clips) == 1
    return source.clips[0]


@pytest.fixture
def load(touch, write):
    """Load a CSV manifest with the given text beside a.mp4, b.mp4 and sounds."""
    touch("a.mp4", "b.mp4", "v/c.mp4", "s.wav")

    def call(text, name="list.csv", **options):
        return load_source(write(name, text), **options)

    return call


RECORDS = [
    {"video": "a.mp4", "prompt": "a dog", "audio_prompt": "bark", "model": "m1", "note": "x"},
    {"video": "v/c.mp4", "prompt": "a cat", "audio_prompt": None, "model": "m1", "note": None},
]


def as_file(folder, suffix):
    path = folder / f"list{suffix}"
    if suffix == ".csv":
        path.write_text("video,prompt,audio_prompt,model,note\na.mp4,a dog,bark,m1,x\nv/c.mp4,a cat,,m1,\n")
    elif suffix == ".tsv":
        path.write_text("video\tprompt\taudio_prompt\tmodel\tnote\na.mp4\ta dog\tbark\tm1\tx\nv/c.mp4\ta cat\t\tm1\t\n")
    elif suffix in (".jsonl", ".ndjson"):
        path.write_text("\n\n".join(json.dumps(record) for record in RECORDS) + "\n")
    elif suffix == ".json":
        path.write_text(json.dumps(RECORDS))
    else:
        parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".CSV"])
def test_all_formats_say_the_same(touch, clips, suffix):
    touch("a.mp4", "v/c.mp4")
    path = as_file(clips, suffix.lower())
    source = load_source(path.rename(path.with_suffix(suffix)))
    first, second = source.clips
    assert (source.kind, source.root) == ("manifest", clips.resolve())
    assert (first.clip_id, first.video, first.model) == ("a.mp4", clips / "a.mp4", "m1")
    assert (first.prompt.text, first.prompt.audio_text, first.prompt.video_text) == ("a dog", "bark", None)
    assert (second.clip_id, second.prompt.audio_text) == ("v/c.mp4", None)
    assert source.notes == ("1 columns ignored: note",)
    assert "2 of 2 clips have a prompt" in source.matching


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("text", "text"),
        ("Prompt", "text"),
        ("Text-Prompt", "text"),
        ("prompt_av", "text"),
        ("caption", "text"),
        ("video prompt", "video_text"),
        ("prompt_v", "video_text"),
        ("Video Caption", "video_text"),
        ("AUDIO_TEXT", "audio_text"),
        ("prompt-a", "audio_text"),
        ("audio__caption", "audio_text"),
        ("prompt_id", "prompt_id"),
    ],
)
def test_aliases_of_text_columns(load, header, field):
    assert getattr(only(load(f"video,{header}\na.mp4,hello\n")).prompt, field) == "hello"


@pytest.mark.parametrize("header", ["video", "Video Path", "path", "FILE", "filename", "pred-video-path"])
def test_aliases_of_the_video_column(load, clips, header):
    assert only(load(f"{header}\na.mp4\n")).video == clips / "a.mp4"


def test_a_column_name_of_two_lines_or_with_escapes_is_shown_on_one(load):
    source = load('"Video\nPath",\x1b]0;own\na.mp4,x\n')
    assert only(source).clip_id == "a.mp4"
    assert source.notes == (r"1 columns ignored: \x1b]0;own",)


@pytest.mark.parametrize("header", ["audio", "audio_path", "Pred Audio Path", "sound"])
def test_aliases_of_the_audio_column(load, clips, header):
    assert only(load(f"video,{header}\na.mp4,s.wav\n")).audio == clips / "s.wav"


def test_generated_paths_win_over_the_ground_truth(load, clips):
    source = load("path,audio_path,pred_video_path,pred_audio_path,text\nb.mp4,b.mp4,a.mp4,s.wav,t\n")
    assert (only(source).video, only(source).audio) == (clips / "a.mp4", clips / "s.wav")
    assert any("ground truth" in note and "audio_path" in note for note in source.notes)


def test_sound_of_the_ground_truth_never_replaces_generated_sound(load):
    source = load("path,audio_path,pred_video_path\nb.mp4,s.wav,a.mp4\n")
    assert only(source).audio is None


def test_empty_generated_path_never_falls_back_to_the_ground_truth(load):
    with pytest.raises(UsageError, match=r"line 3.*'pred_video_path' is empty"):
        load("path,pred_video_path\nb.mp4,a.mp4\nb.mp4,\n")


@pytest.mark.parametrize("cell", ["a.mp4", "./a.mp4", "v/../a.mp4", "", "nan"])
def test_audio_path_equal_to_the_video_is_the_embedded_track(load, cell):
    assert only(load(f"path,audio_path\na.mp4,{cell}\n")).audio is None


def test_without_audio_column_the_sound_file_beside_the_video_counts(load, touch, clips):
    touch("a.wav")
    source = load("video\na.mp4\nb.mp4\n")
    assert [clip.audio for clip in source.clips] == [clips / "a.wav", None]
    assert any("beside the video" in note for note in source.notes)
    assert only(load("video,audio\na.mp4,\n")).audio is None


def test_texts_are_kept_as_they_are(load):
    source = load('video,text\na.mp4," two\nlines, ""quoted"" "\na.mp4,None of it\na.mp4,5\na.mp4,"[x] y"\n')
    texts = [clip.prompt.text for clip in source.clips]
    assert texts == [' two\nlines, "quoted" ', "None of it", "5", "[x] y"]


@pytest.mark.parametrize("cell", ["", "   ", "nan", "NaN", '" "'])
def test_missing_texts_are_none(load, cell):
    source = load(f"video,text,model\na.mp4,{cell},{cell}\n")
    assert only(source).prompt.is_empty
    assert only(source).model is None
    assert "0 of 1 clips have a prompt" in source.matching


def test_nan_in_json_and_parquet_is_none(load, clips):
    assert only(load('{"video": "a.mp4", "text": NaN, "model": null}', "l.jsonl")).prompt.text is None
    table = pyarrow.table({"video": ["a.mp4"], "text": pyarrow.array([float("nan")]), "blob": [b"\xff"]})
    parquet.write_table(table, clips / "l.parquet")
    assert only(load_source(clips / "l.parquet")).prompt.text is None


def test_byte_order_mark_is_accepted(load):
    assert only(load("\ufeffvideo,text\r\na.mp4,t\r\n")).prompt.text == "t"
    assert only(load('\ufeff{"video": "a.mp4"}', "l.jsonl")).clip_id == "a.mp4"


def test_line_separators_inside_json_texts(load):
    assert only(load('{"video": "a.mp4", "text": "x\u2028y"}', "l.jsonl")).prompt.text == "x\u2028y"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("Sound Type: Speech; mood: calm", [("Sound Type", "Speech"), ("mood", "calm")]),
        ("calm; loud; calm", [("category", "calm"), ("category", "loud")]),
        ('"{""Sound"": [""a"", ""b""], ""mood"": ""c""}"', [("Sound", "a"), ("Sound", "b"), ("mood", "c")]),
        ('"[""x"", ""Sound: y""]"', [("category", "x"), ("Sound", "y")]),
        ('"[{""aspect"": ""A"", ""name"": ""n""}]"', [("A", "n")]),
        ("", []),
    ],
)
@pytest.mark.parametrize("header", ["categories", "Category"])
def test_categories(load, header, row, expected):
    clip = only(load(f"video,{header}\na.mp4,{row}\n"))
    assert clip.categories == tuple(Category(*pair) for pair in expected)


def test_categories_by_aspect_column_and_from_json(load):
    clip = only(load("video,cat:Sound Type,CAT: mood\na.mp4,Speech; Music,calm\n"))
    assert clip.categories == (
        Category("Sound Type", "Speech"),
        Category("Sound Type", "Music"),
        Category("mood", "calm"),
    )
    line = json.dumps({"video": "a.mp4", "categories": {"A": ["x", 3]}, "cat:B": ["y; z"]})
    assert only(load(line, "l.jsonl")).categories == (
        Category("A", "x"),
        Category("A", "3"),
        Category("B", "y; z"),
    )


@pytest.mark.parametrize("cell", ["{bad", '"[""""]"', '"{""a"": {}}"', "[" * 5000, '"[null]"', '"[""\\ud800""]"'])
def test_bad_categories_name_the_line(load, cell):
    with pytest.raises(UsageError, match=r"list\.csv, line 3"):
        load(f"video,categories\na.mp4,ok\na.mp4,{cell}\n")


def test_javisbench_indices(load):
    text = 'path,cat0_ind,cat1_ind,cat2_ind,cat3_ind,cat4_ind\na.mp4,4,"0, 2",4.0,,[1]\n'
    assert only(load(text)).categories == (
        Category("Event Scenario", "Virtual Scenario"),
        Category("Visual Style", "Camera Shooting"),
        Category("Visual Style", "3D-Animate"),
        Category("Sound Type", "Speech sounds"),
        Category("Spatial Composition", "Multiple subjects"),
    )


@pytest.mark.parametrize(("column", "cell"), [("cat1_ind", "3"), ("cat0_ind", "-1"), ("cat4_ind", "x")])
def test_javisbench_index_out_of_range(load, column, cell):
    with pytest.raises(UsageError, match=rf"list\.csv, line 4: {column}.*'{cell}'; expected 0 to"):
        load(f'path,text,{column}\na.mp4,"two\nlines",0\na.mp4,t,{cell}\n')


def test_model_and_sample_index(load):
    source = load("video,text,model,sample_index\na.mp4,t,m,3\nb.mp4,t,m,1.0\n")
    assert [(clip.model, clip.sample_index) for clip in source.clips] == [("m", 3), ("m", 1)]
    source = load("video,text,model\n" + "".join(f"a.mp4,{t},{m}\n" for t, m in ["xm", "xm", "xn", "ym", "xm"]))
    assert [clip.sample_index for clip in source.clips] == [0, 1, 0, 0, 2]
    assert [clip.sample_index for clip in load("video\na.mp4\nb.mp4\n").clips] == [0, 0]


@pytest.mark.parametrize("cell", ["-1", "x", "1.5", "9" * 5000])
def test_bad_sample_index(load, cell):
    with pytest.raises(UsageError, match="line 2: sample_index"):
        load(f"video,sample_index\na.mp4,{cell}\n")


def test_ids_are_unique_and_repeatable(load):
    text = "video,id,text\na.mp4,p,x\nb.mp4,p,x\na.mp4,,x\na.mp4,,y\na.mp4,,z\na.mp4,p#1,x\n"
    source = load(text)
    names = [clip.clip_id for clip in source.clips]
    assert names == ["p", "p#1", "a.mp4", "a.mp4#1", "a.mp4#2", "p#1#3"]
    assert names == [clip.clip_id for clip in load(text).clips]
    assert any("repeated clip ids" in note for note in source.notes)


def test_missing_files_stay_clips_and_are_noted(load, clips):
    source = load("video,audio\na.mp4,gone.wav\ngone.mp4,\n")
    assert [clip.video.name for clip in source.clips] == ["a.mp4", "gone.mp4"]
    assert source.clips[0].audio == clips / "gone.wav"
    assert any("1 of 2 clips name a video" in note and "gone.mp4 (line 3)" in note for note in source.notes)
    assert any("1 of 2 clips name a sound" in note and "gone.wav (line 2)" in note for note in source.notes)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("video,text\na.mp4,x\na.mp4,x,y\n", "l.csv", "line 3: expected 2 cells.*got 3"),
        ("video,text\na.mp4\n", "l.csv", "line 2: expected 2 cells.*got 1"),
        ('video,text\na.mp4,"x\n', "l.csv", "line 2: malformed CSV"),
        ('video,text\na.mp4,"x" y\n', "l.csv", "line 2: malformed CSV"),
        ("video,text\na.mp4,x\0\n", "l.csv", "line 2: NUL"),
        ("video,video\na.mp4,x\n", "l.csv", "line 1: column 'video' appears twice"),
        ("video,text\n", "l.csv", "no rows"),
        ("", "l.csv", "no rows"),
        ("name,foo\nx,y\n", "l.csv", "no video column.*got name, foo"),
        ("video," + "A dog barks. " * 20 + "\na.mp4,x\n", "l.csv", "line 1: a column name of 260 characters"),
        ("video,text\n,x\n", "l.csv", "line 2: column 'video' is empty"),
        ('{"video": "a.mp4"}\n{"video": ', "l.jsonl", "line 2: invalid JSON"),
        ('{"video": "a.mp4"}\n["a.mp4"]', "l.jsonl", "line 2: expected an object, got a list of 1"),
        ('{"video": "a.mp4", "text": "\\u0000"}', "l.jsonl", "line 1.*NUL"),
        ('{"video": "a.mp4", "text": "\\ud800"}', "l.jsonl", "line 1.*Unicode"),
        ('{"video": ' + "9" * 5000 + "}", "l.jsonl", "line 1: JSON that cannot be read"),
        ("[" * 100_000, "l.json", "JSON"),
        ('{"video": "a.mp4"}', "l.json", "expected a list of objects, got an object with the key 'video'"),
        ("5", "l.json", "expected a list of objects, got the number 5"),
        ("[]", "l.json", "no rows"),
        ("no parquet", "l.parquet", "not a readable Parquet file"),
        ("PAR1\0\0\0\0PAR1", "l.parquet", "not a readable Parquet file"),
    ],
)
def test_malformed_manifests(load, text, name, message):
    with pytest.raises(UsageError, match=rf"(?s){name}.*{message}"):
        load(text, name)


def test_wrong_encoding_names_the_line(clips):
    path = clips / "l.csv"
    path.write_bytes("video,text\na.mp4,x\na.mp4,café\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"l\.csv, line 3: byte 0xe9 is not UTF-8 .*'a.mp4,café'.*CSV UTF-8"):
        load_source(path)
    path.write_text("video,text\na.mp4,x\n", encoding="utf-16-le")
    with pytest.raises(UsageError, match=r"line 1.*NUL.*UTF-16 is read only with a byte order mark"):
        load_source(path)


@pytest.mark.parametrize(("text", "name"), [("prompt\na dog\n", "p.csv"), ('{"id": "1", "prompt_av": "x"}', "p.jsonl")])
def test_prompt_list_given_as_the_source(load, text, name):
    with pytest.raises(UsageError, match=f"prompt list.*folder of clips as the source.*--prompts {name}"):
        load(text, name)


def test_prompts_for_a_manifest(load, write):
    prompts = write("p.jsonl", '{"video": "b.mp4", "text": "x"}\n{"video": "c.mp4", "text": "y"}')
    source = load("video\na.mp4\nb.mp4\nv/c.mp4\n", prompts=prompts)
    assert [clip.prompt.text for clip in source.clips] == [None, "x", "y"]
    assert "2 of 3 clips have a prompt" in source.matching
    with pytest.raises(UsageError, match="has prompts of its own"):
        load("video,text\na.mp4,x\n", prompts=prompts)


def test_manifest_in_a_folder_is_used(touch, write):
    root = touch("a.mp4", "b.mp4", "c.mp4")
    write("manifest.csv", "file,text_prompt,audio_prompt\nb.mp4,dog,bark\n")
    source = load_source(root)
    assert source.kind == "manifest"
    assert (only(source).prompt.text, only(source).prompt.audio_text) == ("dog", "bark")
    assert any("2 videos are not listed" in note for note in source.notes)
    plain = load_source(root, layout="folder")
    assert (plain.kind, len(plain.clips)) == ("folder", 3)
    assert any("manifest.csv" in note for note in plain.notes)
    paired = load_source(root, prompts=root / "manifest.csv")
    assert (paired.kind, [clip.prompt.text for clip in paired.clips]) == ("folder", [None, "dog", None])


def test_manifest_in_a_folder_whose_files_are_all_missing(clips, write):
    write("manifest.jsonl", '{"video": "gone.mp4"}')
    assert only(load_source(clips)).clip_id == "gone.mp4"


def test_two_manifests_in_a_folder_are_not_guessed_between(touch, write):
    root = touch("a.mp4")
    write("manifest.csv", "video,text\na.mp4,x\n")
    write("manifest.jsonl", '{"video": "a.mp4", "text": "y"}')
    source = load_source(root)
    assert source.kind == "folder"
    assert source.clips[0].prompt.is_empty
    assert any("manifest.csv, manifest.jsonl" in note for note in source.notes)


def test_prompt_list_called_manifest(touch, write):
    root = touch("a.mp4")
    write("manifest.csv", "text\nx\n")
    with pytest.raises(UsageError, match="prompt list"):
        load_source(root)
