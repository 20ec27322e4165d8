"""VBench's prompt file: a JSON object that maps file names or paths to prompts."""

from __future__ import annotations

import json

import pytest

from avbench.errors import UsageError
from avbench.sources import load_source


def texts(source):
    return {clip.clip_id: clip.prompt.text for clip in source.clips}


@pytest.mark.parametrize(
    "names",
    [
        ("a.mp4", "m/b.mp4"),
        ("a", "m/b"),
        ("./a.mp4", "./m/b.mp4"),
        ("/data/videos/a.mp4", "/data/videos/m/b.mp4"),
        ("videos\\a.mp4", "videos\\m\\b.mp4"),
    ],
)
def test_names_and_paths(touch, write, names):
    root = touch("a.mp4", "m/b.mp4")
    prompts = write("p.json", json.dumps({names[1]: "A cat.", names[0]: "A dog."}))
    source = load_source(root, prompts=prompts)
    assert texts(source) == {"a.mp4": "A dog.", "m/b.mp4": "A cat."}
    assert "2 of 2 clips have a prompt" in source.matching


def test_as_a_manifest(touch, write):
    touch("a.mp4")
    source = load_source(write("p.json", '{"a.mp4": ["A dog."], "gone.mp4": null}'))
    assert texts(source) == {"a.mp4": "A dog.", "gone.mp4": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a.mp4": "x", "b.mp4": ["x", "y"]}', r"item 2: 'b\.mp4' is a list of 2; expected the prompt of the file"),
        ('{"a.mp4": {"en": "x"}}', r"item 1: 'a\.mp4' is an object with 1 keys \(en\).*list of objects"),
        ('{"a.mp4": 3}', r"item 1: 'a\.mp4' is the number 3"),
        ('{"clips": [{"video": "a.mp4"}, {"video": "b.mp4"}]}', "item 1: 'clips' is a list of 2"),
        ('{"prompts": [{"video": "a.mp4", "text": "x"}]}', "'prompts' is a list of 1 of objects. Give that list"),
        (
            '{"video": {"0": "a.mp4"}, "text": {"0": "x"}}',
            "expected a list of objects, got an object.*'video'.*records",
        ),
        ('{"a.mp4": "x", "a.mp4": "y"}', r"the key 'a\.mp4' appears twice"),
        ("{}", "no rows"),
    ],
)
def test_other_objects_are_refused(touch, write, content, message):
    root = touch("a.mp4")
    with pytest.raises(UsageError, match=rf"p\.json.*{message}"):
        load_source(root, prompts=write("p.json", content))


def test_two_files_of_one_name(touch, write):
    root = touch("a.mp4")
    with pytest.raises(UsageError, match=r"names a\.mp4 again"):
        load_source(root, prompts=write("p.json", '{"x/a.mp4": "A dog.", "y/a.mp4": "A cat."}'))
