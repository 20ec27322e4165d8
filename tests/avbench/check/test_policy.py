"""Policy files: what is read, and what is refused with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench.check import MetricPolicy, Policy, load_policy
from avbench.errors import UsageError

EXAMPLE = Path(__file__).parents[3] / "examples" / "ci" / "check.toml"


def test_everything_is_read(tmp_path):
    path = tmp_path / "check.toml"
    path.write_text(
        'alpha = 0.01\nmin_effect = 0.5\nmax_unpaired = 0\nmetrics = ["a", "b", "a"]\nenvironment = "refuse"\n'
        'noise = "floors/noise.toml"\n[metric.a]\nmin_difference = 2\ndirection = "keep"\n[metric.b]\n'
    )
    assert load_policy(path) == Policy(
        alpha=0.01,
        min_effect=0.5,
        max_unpaired=0.0,
        metrics=("a", "b"),
        environment="refuse",
        noise=tmp_path / "floors" / "noise.toml",
        metric={"a": MetricPolicy("keep", 2.0), "b": MetricPolicy()},
        source=str(path),
    )


def test_an_empty_file_is_the_default(tmp_path):
    path = tmp_path / "check.toml"
    path.write_text("")
    assert load_policy(path) == Policy(source=str(path))


def test_the_example_is_valid():
    assert load_policy(EXAMPLE).of("loudness") == MetricPolicy("keep", 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alpa = 0.1", ["unknown key 'alpa'", "Did you mean alpha"]),
        ("alpha = 0", ["line 1: alpha = 0: expected a number from 1e-06 to 0.5."]),
        ("alpha = true", ["alpha = true: expected a number"]),
        ('alpha = "5 %"', ['alpha = "5 %": expected a number']),
        ("alpha = nan", ["alpha = nan: expected a number"]),
        ("max_unpaired = 2", ["max_unpaired = 2: expected a number from 0 to 1"]),
        ("min_effect = -1", ["min_effect"]),
        ('metrics = "desync"', ['metrics = "desync": expected a list of texts']),
        ("metrics = []", ["metrics = []: expected a list of texts that is not empty"]),
        ("environment = 'warn'", ['environment = "warn": expected one of "note", "refuse", "ignore"']),
        ("noise = 3", ["noise = 3: expected the path of a file"]),
        ("metric = 3", ["metric = 3: expected a table"]),
        ("[metric]\ndesync = 3", ["line 2: metric.desync = 3: expected a table"]),
        (
            "[metric.desync]\nmin_diference = 1",
            ["line 2: unknown key 'metric.desync.", "Did you mean min_difference?"],
        ),
        (
            "[metric.desync]\nmin_difference = -1",
            ["line 2: metric.desync.", "min_difference = -1: expected a number of at least 0"],
        ),
        ("[metric.desync]\nmin_difference = inf", ["min_difference"]),
        ("[metric.desync]\ndirection = 'up'", ['direction = "up": expected one of "higher", "lower", "keep"']),
        ("alpha = 0.1\nalpha = 0.2\n# end", ["not a TOML file", "line 2, column 12"]),
        ("alpha 0.1", ["not a TOML file", "line 1, column 7"]),
        (b"\xff\xfe", ["not a TOML file"]),
        ("alpha = " + "[" * 100_000, ["not a TOML file"]),
        ("alpha = " + "9" * 5000, ["not a TOML file"]),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, words):
    path = tmp_path / "check.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        load_policy(path)
    assert all(word in str(caught.value) for word in [str(path), *words]), str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*nowhere\.toml"):
        load_policy(tmp_path / "nowhere.toml")
