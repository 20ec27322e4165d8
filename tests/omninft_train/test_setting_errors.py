"""Values of a recipe that fit no run are reported with file and line, whichever module finds them."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import omninft_train
from avbench.config import located
from avbench.errors import SettingError, UsageError
from omninft_train.config import Config
from omninft_train.recipe import read
from omninft_train.rewards.local import find_source, make_rewards
from omninft_train.rewards.spec import RewardSpec
from omninft_train.training.tracking import Tracker

PACKAGE = Path(omninft_train.__file__).parent
# Keys of the ablation are those of grids.
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if "ablation" not in path.relative_to(PACKAGE).parts]
SECTIONS = "|".join(name for name, kind in get_type_hints(Config).items() if is_dataclass(kind))


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Calls of a function by its name, and where they stand."""
    return [
        (f"{path.name}:{node.lineno}", node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def start(message: ast.expr) -> str:
    """The text that a message starts with."""
    parts = message.values if isinstance(message, ast.JoinedStr) else [message]
    return str(parts[0].value) if parts and isinstance(parts[0], ast.Constant) else ""


def is_key(path: str) -> bool:
    """Whether a configuration has this key."""
    kind: Any = Config
    for part in path.split("."):
        if not is_dataclass(kind) or part not in get_type_hints(kind):
            return False
        kind = get_type_hints(kind)[part]
    return True


def test_each_key_in_an_error_is_one_of_the_configuration():
    keys = {
        (where, arg.value)
        for where, call in calls("SettingError")
        for arg in call.args[1:]
        if isinstance(arg, ast.Constant)
    }
    assert len(keys) > 30
    assert [key for key in keys if not is_key(str(key[1]))] == []


def test_no_error_speaks_of_a_key_without_naming_it():
    speaking = re.compile(rf"({SECTIONS})\.[a-z]")
    assert [where for where, call in calls("UsageError") if call.args and speaking.match(start(call.args[0]))] == []


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[run]\nkeep_policies = "best"\n', 2, 'run.keep_policies = "best": run.best_by has to name'),
        ('[run]\neval_every = 1\nbest_by = "eval_gone"\n', 3, "run.best_by = 'eval_gone': no evaluation has that."),
        ('[prompts]\npath = "gone.jsonl"\n', 2, "prompts.path: gone.jsonl: cannot be read"),
        ('[backbone]\npath = ""\n', 2, "backbone.path is empty"),
    ],
)
def test_training_names_file_and_line(text, line, words, tmp_path, monkeypatch, capfd):
    from omninft_train.cli import main

    path = tmp_path / "own.toml"
    path.write_text(f"{text}" + '[[rewards.reward]]\nscorer = "sharpness"\nweight = 1.0\nroute = "video"\n')
    arguments = ["train", "--out", str(tmp_path / "run"), "--recipe", str(path)]
    monkeypatch.setattr(sys, "argv", ["omninft-train", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    *_, last = capfd.readouterr().err.splitlines()
    assert end.value.code == 2
    assert last.startswith(f"omninft-train: {path} line {line}: {words}"), last


def test_an_unknown_reward_is_named_with_its_line_and_near_matches(tmp_path):
    path = tmp_path / "own.toml"
    good, bad = (
        f'[[rewards.reward]]\nscorer = "{name}"\nweight = 1.0\nroute = "both"\n' for name in ("desync", "av_alig")
    )
    path.write_text(good + bad)
    recipe = read(path)
    with (
        pytest.raises(UsageError, match=r"own\.toml line 6: unknown reward 'av_alig'\. Did you mean av_align"),
        located(recipe.origins),
    ):
        make_rewards(recipe.config.rewards)


def test_without_a_file_the_key_is_named():
    with pytest.raises(SettingError, match=r"^no rewards: add"):
        make_rewards(Config().rewards)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def judge(:\n", r"fails with SyntaxError: .* \(.*own_rewards\.py, line 2\)"),
        ("x = undefined\n", r"fails with NameError: .*undefined.* \(.*own_rewards\.py, line 2\)"),
        ("import json; json.loads('{')\n", r"fails with JSONDecodeError: .* \(.*, line \d+\)"),
        ("raise SystemExit(3)\n", r"fails with SystemExit: 3 \(.*own_rewards\.py, line 2\)"),
        ("import not_here_at_all\n", r"fails with ModuleNotFoundError: .*not_here_at_all.*own_rewards\.py, line 2\)"),
    ],
    ids=["syntax", "name", "value", "exit", "import"],
)
@pytest.mark.parametrize("what", ["reward", "tracker"])
def test_what_code_of_ones_own_raises_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str, what: str
) -> None:
    """It is no fault of the trainer, and its author has to find it."""
    (tmp_path / "own_rewards.py").write_text("\n" + code)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("own_rewards", None)
    with pytest.raises(UsageError, match=f"{what} 'own_rewards:judge': importing own_rewards {said}"):
        if what == "reward":
            find_source(RewardSpec("own_rewards:judge", 1.0, "both"))
        else:
            Tracker(tmp_path / "run", mirror="own_rewards:judge")


def test_a_module_that_is_nowhere_is_told_with_how_it_is_found() -> None:
    with pytest.raises(UsageError, match=r"No module named 'own_rewards_2'\. Expected module:function.*PYTHONPATH=\."):
        find_source(RewardSpec("own_rewards_2:judge", 1.0, "both"))
