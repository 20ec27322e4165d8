"""Grid files: what they mean, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from avbench.errors import UsageError
from omninft_train.ablation.grid import Cost
from omninft_train.ablation.plan import wall_seconds
from omninft_train.ablation.reading import SHIPPED, load_grid
from omninft_train.ablation.steps import make_steps
from omninft_train.ablation.variants import pretraining, resolve, settings
from omninft_train.miniature.pretrain import PretrainOptions


@pytest.mark.parametrize("name", ["miniature", "ltx2"])
def test_grids_of_the_paper_have_its_two_tables(name):
    grid = load_grid(name)
    tables = {table.name: table for table in grid.tables}
    assert set(tables) == {"table2", "table3"}
    assert [row.variant for row in tables["table3"].rows] == ["base", "vanilla", "routing", "surgery", "region"]
    recipes = [grid.variants[row.variant].recipe for row in tables["table3"].rows]
    assert recipes == ["", "gdpo", "omninft-routing", "omninft-routing-surgery", "omninft"]
    assert len(tables["table2"].rows) == 5
    assert len({row.variant for row in tables["table2"].rows}) == 4, "the two defaults are the same runs"
    assert len(grid.seeds) >= 3
    for lam, variant in ((1.25, "lambda-125"), (1.5, "shallow"), (1.75, "lambda-175")):
        assert grid.variants[variant].overrides["regions"]["weights"]["maximum"] == 1 + lam


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_grids_resolve_and_smoke_tests_are_smaller(name):
    grid, smoke = load_grid(name, all_tables=True), load_grid(name, "smoke")
    assert set(resolve(grid, grid.used)) == {name for name in grid.used if grid.variants[name].recipe}
    assert len(smoke.seeds) < len(grid.seeds)
    assert smoke.benchmark != grid.benchmark, "figures of a smoke test do not stand beside others"


@pytest.mark.parametrize("name", ["miniature", "crowd", "methods"])
def test_grids_of_miniatures_fit_within_90_minutes_of_two_cores(name):
    grid = load_grid(name)
    steps = make_steps(grid, resolve(grid, grid.used), pretraining(grid))
    assert len(grid.seeds) >= (3 if name == "miniature" else 5)
    assert grid.jobs == 2 and wall_seconds([(step.kind, step.seconds) for step in steps], 2) < 90 * 60


def test_the_grid_of_the_paper_judges_as_the_release_does():
    """With the guidance of its evaluation, which is not that of rollouts."""
    grid = load_grid("ltx2", all_tables=True)
    steps = [one for one in make_steps(grid, resolve(grid, grid.used), pretraining(grid)) if one.kind == "generate"]
    assert len(steps) == len(grid.used) * 3 * 10
    for step in steps:
        scales = step.command[step.command.index("--guidance") + 1 :][:2]
        assert scales == ("3.0", "7.0") and step.command[step.command.index("--steps") + 1] == "40"
        assert step.settings["guidance"] == [3.0, 7.0]


def test_steps_of_a_pretraining_that_the_grid_leaves_to_the_trainer_are_counted():
    assert Cost().pretrain_steps == PretrainOptions().steps


def test_the_crowd_is_pretrained_as_such():
    grid = load_grid("crowd")
    assert pretraining(grid).startswith("crowd-")
    steps = make_steps(grid, resolve(grid, grid.used), pretraining(grid))
    commands = {step.kind: " ".join(step.command) for step in steps}
    assert "--world crowd" in commands["pretrain"] and "--backbone crowd" in commands["train"]


def test_a_budget_replaces_values_and_keeps_the_rest(grid_file):
    whole, smoke = load_grid(grid_file), load_grid(grid_file, "smoke")
    assert (whole.seeds, smoke.seeds) == ((0, 1, 2), (0,))
    assert (whole.train["run"]["steps"], smoke.train["run"]["steps"]) == (4, 2)
    assert [table.name for table in smoke.tables] == ["table3"]
    assert smoke.evaluation == whole.evaluation


def test_overrides_of_a_variant_win_and_are_toml(grid_file):
    grid = load_grid(grid_file)
    assert settings(grid, grid.variants["routing"]) == ["run.steps=4", "optimizer.lr=0.0002"]
    rules = load_grid("miniature", all_tables=True).variants["shallow"]
    assert 'surgery.rules=[{blocks = "0.0-0.2084", keep = 0.1}]' in settings(grid, rules)


WRONG = [
    ("seeds = [0, 1, 2]", "seedz = [0, 1, 2]", "tiny.toml line 5: unknown key 'seedz'. Did you mean seeds?"),
    ("samples = 2", "sampels = 2", "tiny.toml line 16: unknown key 'evaluate.sampels'. Did you mean samples?"),
    ('recipe = "gdpo"', 'recipes = "gdpo"', "line 23: unknown key 'variant.vanilla.recipes'. Did you mean recipe?"),
    ('title = "Table 3"', 'titel = "Table 3"', "line 31: unknown key 'table.table3.titel'. Did you mean title?"),
    ("samples = 2", "samples = 0", "line 16: evaluate.samples = 0: expected a whole number of at least 1"),
    ("samples = 2", 'samples = "2"', 'evaluate.samples = "2": expected a whole number'),
    ("samples = 2", "samples = true", "evaluate.samples = true: expected a whole number"),
    ("seeds = [0, 1, 2]", "seeds = [0, 0]", "line 5: seeds = [0, 0]: expected a list of whole numbers that differ"),
    ("seeds = [0, 1, 2]", "seeds = []", "seeds = []: expected a list of whole numbers that differ"),
    ("samples = 2", "parts = 4", 'parts and metrics need judge = "avbench"'),
    ('baseline = "vanilla"', 'baseline = "vanila"',
     "baseline 'vanila' is no variant of its rows. Did you mean vanilla"),
    ('{ variant = "base" }', '{ variant = "bass" }', "unknown variant 'bass'. Did you mean base?"),
    ('{ variant = "base" }', '{ varient = "base" }', "key 'table.table3.rows[0].varient'. Did you mean variant?"),
    ('direction = "lower"', 'direction = "down"', 'direction = "down": expected one of "higher", "lower", "none"'),
    ('label = "base"', 'set.run = { steps = 1 }', "variant.base: has 'set' and no recipe"),
    ("run.steps = 4", "run.steps = ", "not a TOML file"),
    ("run.steps = 4", "run.steps = " + "[" * 100_000, "not a TOML file"),
    ("run.steps = 4", "run.steps = " + "9" * 5000, "not a TOML file"),
    ("train.run.steps = 2", "variant.x.label = 'y'", "unknown key 'budget.smoke.variant'"),
    ("[variant.base]", "[variant.Base]", "a name has small letters"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_what_is_wrong_is_one_line_with_its_place(tmp_path, grid_text, old, new, message):
    assert old in grid_text
    path = tmp_path / "tiny.toml"
    path.write_text(grid_text.replace(old, new, 1))
    with pytest.raises(UsageError) as error:
        load_grid(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("run.steps = 4", "run.stepz = 4", "line 13: [variant.vanilla]: unknown key 'run.stepz'. Did you mean steps?"),
        ("{ lr = 2e-4 }", "{ lr = -1 }", "line 28: [variant.routing]: optimizer.lr = -1: expected a number above 0."),
        (
            "set.optimizer = { lr = 2e-4 }",
            "set.loss.beta = 0",
            "line 28: [variant.routing]: loss.beta = 0: must be above 0",
        ),
        ("set.optimizer = { lr = 2e-4 }", 'set."loss.beta" = 0', "line 28: [variant.routing]: loss.beta = 0: must be"),
        ('"omninft-routing"', '"rooting"', "line 27: [variant.routing]: unknown recipe or backbone 'rooting'."),
    ],
)
def test_what_is_wrong_with_a_variant_has_the_line_that_sets_it(tmp_path, grid_text, old, new, message):
    path = tmp_path / "tiny.toml"
    path.write_text(grid_text.replace(old, new, 1))
    grid = load_grid(path)
    with pytest.raises(UsageError, match=r"^[^\n]*$") as error:
        resolve(grid, grid.used)
    assert f"{path} {message}" in str(error.value)


def test_unknown_grids_and_budgets_are_named_with_near_matches(grid_file, tmp_path):
    for call, words in (
        (("miniture",), "unknown grid 'miniture'. Did you mean miniature?"),
        ((tmp_path / "none.toml",), "cannot read"),
        ((grid_file, "smok"), "unknown budget 'smok'. Did you mean smoke?"),
    ):
        with pytest.raises(UsageError, match=r"^[^\n]*$") as error:
            load_grid(*call)
        assert words in str(error.value)
