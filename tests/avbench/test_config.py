"""TOML files that do not fit: of each kind, one line with file, line, key and what was expected, and exit code 2."""

from __future__ import annotations

import pickle
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.check import load_policy
from avbench.check.noise import load_noise
from avbench.config import NOT_EMPTY, at_least, build, key, load
from avbench.errors import AvbenchError, UsageError
from avbench.leaderboard import read_folder
from avbench.toml import ConfigError, Origin, merge, parse_toml, toml_key, toml_value

NOISE = """
schema_version = 1
prompts_digest = "d"
protocol = ""
runs = ["a", "b"]
notes = []

[metric.desync]
kind = "clip"
version = 1
weights_digest = "w"
params_digest = ""
runs = 2
prompts = 9
clip_sd = 0.1
run_sd = 0.1
floor = 0.1
source = "clips"
"""
VIEW = """
[[view]]
name = "main"
title = "Main"
rows = [
  { label = "base", from = [{ paper = "P", row = "base" }] },
]
"""
GRID = """
seeds = [0, 1]

[evaluate]
samples = 2

[variant.base]

[variant.vanilla]
recipe = "gdpo"
set.optimizer.lr = 1e-4

[table.table3]
rows = [
  { variant = "base" },
  { variant = "vanilla" },
]

[budget.smoke]
evaluate.samples = 1
"""
RECIPE = """
recipe = "omninft"

[run]
steps = 3

[[rewards.reward]]
scorer = "clap"
weight = 1.0
route = "audio"

[optimizer]
betas = [0.9, 0.99]
"""


def read_views(path: Path) -> None:
    """Read a folder whose views are in `path`, and raise its only problem."""
    folder = path.parent
    header = "quantity,label,group,unit,direction,low,high,avbench,meaning\n"
    (folder / "quantities.csv").write_text(header)
    (folder / "conflicts.toml").write_text("")
    (folder / "published").mkdir(exist_ok=True)
    (problem,) = read_folder(folder).problems
    raise UsageError(f"{folder}/{problem}")


def read_grid(path: Path) -> None:
    pytest.importorskip("torch")
    from omninft_train.ablation import load_grid

    load_grid(path)


def read_recipe(path: Path) -> None:
    pytest.importorskip("torch")
    from omninft_train.recipe import load as load_recipe

    load_recipe(path)


KINDS: Mapping[str, tuple[str, str, Callable[[Path], Any]]] = {
    "policy": ("check.toml", 'alpha = 0.1\n[metric.desync]\ndirection = "lower"\n', load_policy),
    "noise": ("noise.toml", NOISE, load_noise),
    "views": ("views.toml", VIEW, read_views),
    "grid": ("grid.toml", GRID, read_grid),
    "recipe": ("own.toml", RECIPE, read_recipe),
}
BAD = [
    ("policy", "alpha =", "alhpa =", 1, "unknown key 'alhpa'. Did you mean alpha?"),
    ("policy", "0.1", "0.7", 1, "alpha = 0.7: expected a number from 1e-06 to 0.5."),
    ("policy", "0.1", '"5 %"', 1, 'alpha = "5 %": expected a number from 1e-06 to 0.5.'),
    ("policy", "direction", "diretcion", 3, "unknown key 'metric.desync.diretcion'. Did you mean direction?"),
    ("policy", '"lower"', "true", 3, 'direction = true: expected one of "higher", "lower", "keep".'),
    ("policy", '[metric.desync]\ndirection = "lower"', "metric = 3", 2, "metric = 3: expected a table."),
    ("policy", "0.1", "0.1\nmetrics = []", 2, "metrics = []: expected a list of texts that is not empty."),
    ("policy", "0.1", "0.1\nmetrics = ['a', 3]", 2, "metrics[1] = 3: expected a text."),
    ("noise", "prompts = 9", "prompt = 9", 14, "unknown key 'metric.desync.prompt'. Did you mean prompts"),
    ("noise", "prompts = 9", "", 8, "missing metric.desync.prompts."),
    ("noise", "runs = 2", "runs = 1", 13, "metric.desync.runs = 1: expected a whole number of at least 2."),
    ("noise", "runs = 2", "runs = 2.0", 13, "metric.desync.runs = 2.0: expected a whole number of at least 2."),
    ("noise", "floor = 0.1", "floor = nan", 17, "metric.desync.floor = nan: expected a number of at least 0."),
    ("noise", 'kind = "clip"', 'kind = "film"', 9, 'kind = "film": expected one of "clip", "set".'),
    ("noise", 'runs = ["a", "b"]', 'runs = "a"', 5, 'runs = "a": expected a list of texts.'),
    ("views", "title =", "titel =", 4, "unknown key 'view[0].titel'. Did you mean title?"),
    ("views", '"main"', '"../up"', 3, 'view[0].name = "../up": expected a text of small letters'),
    ("views", "label =", "lable =", 6, "unknown key 'view[0].rows[0].lable'. Did you mean label?"),
    ("views", '"base", from', "3, from", 6, "view[0].rows[0].label = 3: expected a text that is not empty."),
    ("views", "paper =", "papers =", 6, "unknown key 'view[0].rows[0].from[0].papers'. Did you mean paper?"),
    ("views", "rows = [", "row = 3\nrows = [", 5, "unknown key 'view[0].row'. Did you mean rows"),
    ("views", "[[view]]", "[[veiw]]", 2, "unknown key 'veiw'. Did you mean view?"),
    ("views", 'title = "Main"', 'title = "Main"\nkind = "table "', 5, 'kind = "table ": expected one of "table", '),
    ("grid", "seeds =", "seedz =", 2, "unknown key 'seedz'. Did you mean seeds?"),
    ("grid", "[0, 1]", "[0, 0]", 2, "seeds = [0, 0]: expected a list of whole numbers that differ"),
    ("grid", "samples = 2", "sampels = 2", 5, "unknown key 'evaluate.sampels'. Did you mean samples?"),
    ("grid", "samples = 2", "samples = true", 5, "evaluate.samples = true: expected a whole number of at least 1."),
    ("grid", 'recipe = "gdpo"', "recipe = 1", 10, "variant.vanilla.recipe = 1: expected a text."),
    ("grid", 'variant = "vanilla"', 'varient = "vanilla"', 16, "unknown key 'table.table3.rows[1].varient'. Did you"),
    ("grid", 'variant = "vanilla"', 'variant = "vanila"', 16, "unknown variant 'vanila'. Did you mean vanilla?"),
    ("grid", "evaluate.samples = 1", "evaluate.samples = 0", 20, "evaluate.samples = 0: expected a whole number"),
    ("grid", "evaluate.samples = 1", "evaluate.sampels = 1", 20, "unknown key 'evaluate.sampels'. Did you mean"),
    ("recipe", "steps =", "stepz =", 5, "unknown key 'run.stepz'. Did you mean steps?"),
    ("recipe", "[run]", "[rum]", 4, "unknown key 'rum'. Did you mean run?"),
    ("recipe", "steps = 3", "steps = 0", 5, "run.steps = 0: expected a whole number of at least 1."),
    ("recipe", "weight = 1.0", "", 7, "missing rewards.reward[0].weight."),
    ("recipe", "weight =", "wieght =", 9, "unknown key 'rewards.reward[0].wieght'. Did you mean weight?"),
    ("recipe", '"audio"', '"sound"', 10, 'route = "sound": expected one of "video", "audio", "both".'),
    ("recipe", "weight = 1.0", "weight = inf", 7, "rewards.reward[0]: reward 'clap': weight inf and scale 1.0 must be"),
    ("noise", "schema_version = 1", "schema_version = 9", 2, "schema_version = 9: this avbench reads up to 1."),
    ("views", 'row = "base"', 'row = "bass"', 6, "row base: {'paper': 'P', 'row': 'bass'} fits 0 rows, expected 1."),
    ("views", 'title = "Main"', 'title = "Main"\nselect = {}', 2, "needs either rows or select."),
    ("recipe", '"omninft"', '"omnift"', 2, "unknown recipe or backbone 'omnift'. Did you mean omninft"),
    ("recipe", "3", "3\n[backbone]\nkind = 'ltx'", 7, "unknown recipe or backbone 'ltx'. Did you mean ltx2"),
    ("recipe", "3", "3\n[loss]\nbeta = 0", 7, "loss.beta = 0: must be above 0 and finite."),
    ("recipe", "3", "3\n[loss]\nkl_coef = -1", 7, "loss.kl_coef = -1: must be at least 0 and finite."),
    ("recipe", "3", "3\n[advantages]\neps = inf", 7, "advantages.eps = inf: must be above 0 and finite."),
    ("recipe", "3", "3\n[regions]\nweights.maximum = 0.5", 7, "regions.weights.maximum = 0.5: must be at least 1"),
    ("recipe", "3", "3\n[regions]\nwindow = [0.9, 0.5]", 7, "regions.window = [0.9, 0.5]: needs 0 <= first"),
    ("recipe", "3", "3\n[surgery]\nrules = [{blocks = '0-x', keep = 1}]", 7, "surgery rule for blocks '0-x': expected"),
    ("recipe", "3", "3\n[surgery]\nrules = [{blocks = '0', keep = 2}]", 7, "keep 2.0 is not in [0, 1]."),
    ("recipe", "3", "3\n[sampling]\nguidance.video = nan", 7, "must be finite."),
    ("recipe", "3", "3\n[prompts]\ngroup_size = 1", 7, "prompts.group_size = 1: a group of one has no advantage"),
    ("recipe", "3", "3\n[marble]\nenabled = true", 7, "marble.enabled with advantages.mode = 'routed'"),
    ("recipe", "3", "3\n[policy]\nparameters = 'full'\ninit = 'a'", 8, "policy.init with policy.parameters = 'full'"),
    ("recipe", "[0.9, 0.99]", "[0.9]", 13, "optimizer.betas = [0.9]: expected a list of 2 numbers."),
    (
        "recipe",
        "[0.9, 0.99]",
        "[0.9, 'x']",
        13,
        'optimizer.betas[1] = "x": expected a number of at least 0 and below 1.',
    ),
]


@pytest.mark.parametrize(
    ("kind", "old", "new", "line", "words"), BAD, ids=[f"{case[0]}-{number}" for number, case in enumerate(BAD)]
)
def test_a_bad_file_is_one_line_with_its_place(kind, old, new, line, words, tmp_path):
    name, text, read = KINDS[kind]
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(AvbenchError) as caught:
        read(path)
    told = str(caught.value)
    assert f"{path} line {line}" in told and words in told, told
    assert "\n" not in told
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("kind", "fragment"), [(kind, "= =") for kind in KINDS] + [("grid", "x = " + "[" * 9000)])
def test_what_is_no_toml_is_one_line(kind, fragment, tmp_path):
    name, text, read = KINDS[kind]
    path = tmp_path / name
    path.write_text(f"{text}\n{fragment}")
    with pytest.raises(AvbenchError, match="not a TOML file") as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("kind", "program", "arguments"),
    [
        ("policy", "avbench", ["check", "a", "--baseline", "b", "--policy"]),
        ("grid", "avbench", ["ablate", "--dry-run", "--grid"]),
        ("recipe", "omninft-train", ["show-config", "--recipe"]),
    ],
)
def test_commands_end_with_exit_code_2(kind, program, arguments, tmp_path, monkeypatch, capfd):
    name, _, _ = KINDS[kind]
    (tmp_path / name).write_text("\nsurprise = 1\n")
    if kind != "policy":
        pytest.importorskip("torch")  # the trainer reads it, under either name
    if program == "avbench":
        from avbench.cli import main
    else:
        from omninft_train.cli import main
    monkeypatch.setattr(sys, "argv", [program, *arguments, str(tmp_path / name)])
    with pytest.raises(SystemExit) as end:
        main()
    (line,) = capfd.readouterr().err.splitlines()
    assert end.value.code == 2
    assert line.startswith(f"{program}: {tmp_path / name} line 2: unknown key 'surprise'. Known: ")


def test_the_command_for_leaderboards_names_the_view(tmp_path, monkeypatch, capfd):
    from avbench.cli import main

    (tmp_path / "views.toml").write_text(VIEW.replace("title", "titel"))
    with pytest.raises(UsageError):
        read_views(tmp_path / "views.toml")
    monkeypatch.setattr(sys, "argv", ["avbench", "leaderboard", "check", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main()
    (line,) = capfd.readouterr().err.splitlines()
    assert end.value.code == 2
    assert line.startswith(f"{tmp_path}/views.toml line 4, view main: unknown key 'view[0].titel'.")


# The reader itself.


@dataclass(frozen=True)
class Inner:
    """A table."""

    size: Annotated[int, at_least(1)]
    words: Annotated[tuple[str, ...], NOT_EMPTY] = ("a",)

    def __post_init__(self) -> None:
        if len(self.words) > self.size:
            raise UsageError(f"{len(self.words)} words are more than size {self.size}.")


@dataclass(frozen=True)
class Outer:
    """A file."""

    share: float | None = None
    pair: tuple[int, int] = (0, 1)
    kind: Literal["a", 1] = "a"
    renamed: str = key("from", default="")
    hidden: str = key(None, default="never")
    where: Path = Path()
    inner: Mapping[str, Inner] = field(default_factory=dict)
    anything: Any = None


def test_a_file_that_fits_becomes_values(tmp_path):
    path = tmp_path / "f.toml"
    path.write_text('share = 1\nkind = 1\nfrom = "x"\nwhere = "a/b"\nanything = [{ z = 1 }]\n[inner."a b"]\nsize = 2\n')
    found = load(Outer, path)
    assert found == Outer(1.0, kind=1, renamed="x", where=Path("a/b"), inner={"a b": Inner(2)}, anything=[{"z": 1}])
    assert type(found.share) is float


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hidden = 'x'", "f line 1: unknown key 'hidden'. Known: share, pair, kind, from, where, inner, anything."),
        ("renamed = 'x'", "f line 1: unknown key 'renamed'. Known:"),
        ("kind = true", 'f line 1: kind = true: expected one of "a", 1.'),
        ("share = 1" + "0" * 400, "expected a number."),
        ("pair = [1, 2, 3]", "f line 1: pair = [1, 2, 3]: expected a list of 2 whole numbers."),
        ("where = 1979-05-27", "f line 1: where = 1979-05-27: expected the path of a file."),
        ("where = { a = [1.5, 'é\\u007f'] }".replace("'", '"'), 'where = {a = [1.5, "é\\u007f"]}: expected'),
        ('[inner]\n"a b" = 3', 'f line 2: inner."a b" = 3: expected a table.'),
        ('[inner."x\\ny"]\nsize = 0', 'f line 2: inner."x\\ny".size = 0: expected a whole number of at least 1.'),
        ("inner.a.size = 1\ninner.a.words = ['b', 'c']", "f line 1: inner.a: 2 words are more than size 1."),
        ("from = " + "['long'," * 60 + "]" * 60, "..."),
    ],
)
def test_what_does_not_fit_is_told(text, told):
    with pytest.raises(ConfigError) as caught:
        build(Outer, parse_toml(text, "f"), Origin("f", text))
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert len(str(caught.value)) < 250


def test_of_layers_the_one_that_sets_the_value_is_named():
    below, above = "pair = [1, 2]\n[inner.a]\nsize = 1\n", "pair = [1, 'x']\n[inner.a]\nwords = 3\n"
    places = [Origin("below", below), Origin("above", above)]
    merged = merge(tomllib.loads(below), tomllib.loads(above))
    with pytest.raises(ConfigError, match=r"^above line 1: pair\[1\] = \"x\""):
        build(Outer, merged, places)
    with pytest.raises(ConfigError, match=r"^above line 3: inner\.a\.words = 3"):
        build(Outer, {**merged, "pair": [1, 2]}, places)
    with pytest.raises(ConfigError, match=r"^below line 3: inner\.a\.size = 0"):
        build(Outer, {"inner": {"a": {"size": 0}}}, places)


KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
VALUES = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_values_come_back_and_each_key_has_its_line(content, random):
    lines, expected = [], {}
    for name, value in content.items():
        lines += ["# a = 1"] * random.randrange(3)
        expected[name,] = len(lines) + 1
        for path in paths(value, (name,)):
            expected[path] = len(lines) + 1
        lines.append(f"{toml_key(name)} = {toml_value(value)} # [x]")
    text = "\n".join(lines)
    assert tomllib.loads(text) == content
    place = Origin("f", text)
    assert {path: place.line(path) for path in expected} == expected


def paths(value: Any, path: tuple[str | int, ...]) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for name, inner in items for found in ((*path, name), *paths(inner, (*path, name)))]


def test_lines_of_every_form_that_toml_has():
    text = """# a comment
a = 1
b.c = "x # not" # d
"q k".z = 3
[t]
x = [
  { u = 1, v = [1,
   2] },  # k
  { u = 2, "w w" = \"\"\"
multi = 3
\"\"\", k = 1979-05-27T07:32:00Z },
]
[t.y]
z = '''
[no]
n = 1
'''
[[l]]
m = 1
[[l.k]]
n = true
[[l.k]]
n = inf
[[l]]
[l.sub]
p = -1.5e3
"""
    assert tomllib.loads(text)["l"][0]["k"][1]["n"] > 0
    place = Origin("f", text)
    for path, line in {
        ("b", "c"): 3, ("q k", "z"): 4, ("t", "x", 0, "v", 1): 8, ("t", "x", 1, "w w"): 9, ("t", "x", 1, "k"): 11,
        ("t", "y", "z"): 14, ("l", 0, "m"): 19, ("l", 0, "k", 1, "n"): 23, ("l", 1): 24, ("l", 1, "sub", "p"): 26,
        ("no",): 0, ("n",): 0,
    }.items():  # fmt: skip
        assert place.line(path) == line, path
