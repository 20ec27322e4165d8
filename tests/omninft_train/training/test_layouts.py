"""Weights whole on each process, spread within nodes, and over all: every run is that of one process (gloo, CPU)."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import tiny_training
from joined_worker import breaking, work_off
from tiny_ltx2_run import ltx2_changes, save_material
from tiny_pipeline import save_full_size_configs
from tiny_training import assert_equal, log, run, tensors, tiny_changes, tiny_config
from torch import Tensor

from omninft_train.config import BackboneSection, Config, RunSection
from omninft_train.errors import UsageError
from omninft_train.evaluation import read_evaluations
from omninft_train.export import ExportOptions, export
from omninft_train.miniature.worlds import WORLDS
from omninft_train.recipe import load
from omninft_train.training.distributed import World
from omninft_train.training.layout import choose_layout, layout_by_memory
from omninft_train.training.memory import estimate

SIZE, NODE_SIZE = 4, 2
SHARDS = {"none": 1, "node": NODE_SIZE, "all": SIZE}
# Four rollouts. Adam divides by what may be rounding alone, if nothing is added to it.
CHANGES = ("prompts.group_size=2", "optimizer.eps=1e-4", "run.save_every=2", "sampling.steps=3", "policy.rank=4")
# Of two gradients of norm 1, the shortest sum has equal parts: a branch needs three rewards for weights that change.
FOUR = "rewards.reward=[{}]".format(
    ", ".join(
        f'{{scorer = "omninft_train.miniature.{name}", weight = 1.0, route = "{route}"}}'
        for name, route in (
            ("judges:picture", "video"),
            ("judges:sound", "audio"),
            ("judges:sync", "both"),
            ("heldout:speed", "both"),
        )
    )
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_training.tiny_weights(tmp_path_factory.mktemp("weights"))


def job(
    weights: Path, out: Path, *changes: str, recipe: str = "omninft", backbone: str = "miniature"
) -> dict[str, Any]:
    what = {"recipe": recipe, "backbone": backbone, "changes": tiny_changes(weights, *CHANGES, *changes)}
    return {"job": "joined_worker:run_training", "out": str(out), **what}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Policy, old policy and Adam's moments, but for the order in which gradients are added up."""
    assert found.keys() == wanted.keys()
    largest: dict[str, float] = {}
    for name, tensor in wanted.items():
        kind = name.rpartition(".")[2]
        largest[kind] = max(largest.get(kind, 0.0), float(tensor.abs().max()))
    assert "exp_avg_sq" in largest
    for name, tensor in wanted.items():
        # Parameters are of about 1, moments of any size; where gradients cancel out, rounding of the largest is left,
        # which differs between processors. A process left out of a mean, or counted twice, would be a fourth off.
        # Adam divides by gradients, and where these are all rounding a parameter is off by a part of a step of 1e-3.
        moment = 1e-3 * float(tensor.abs().max()) + 2e-6 * largest[name.rpartition(".")[2]]
        assert (found[name] - tensor).abs().max() <= (moment if name.startswith("optimizer/") else 1e-5), name


def held(out: Path) -> list[dict[str, int]]:
    return [json.loads((out / f"sizes-{rank}.json").read_text()) for rank in range(SIZE)]


def check_shares(out: Path, shards: int) -> None:
    """Together the processes hold as many copies as there are replicas, and none holds much more than its share."""
    sizes = held(out)
    whole = sizes[0]["whole"]
    assert sum(size["held"] for size in sizes) == whole * SIZE // shards
    assert max(size["held"] for size in sizes) < 1.2 * whole / shards


def check(weights: Path, folder: Path, parameters: str, layouts: tuple[str, ...]) -> None:
    kind = f"policy.parameters={parameters}"
    jobs = [job(weights, folder / layout, kind, f"run.shard={layout}") for layout in layouts]
    work_off(jobs, folder / "work", size=SIZE, node_size=NODE_SIZE)
    one = run(tiny_config(weights, *CHANGES, kind), folder / "one")
    for layout in layouts:
        assert_same(tensors(folder / layout), one)
        check_shares(folder / layout, SHARDS[layout])


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_two_nodes_of_two_processes_train_as_one(weights: Path, tmp_path: Path, parameters: str) -> None:
    check(weights, tmp_path, parameters, ("node",))


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_every_layout_trains_as_one_process(weights: Path, tmp_path: Path, parameters: str) -> None:
    check(weights, tmp_path, parameters, tuple(SHARDS))


@pytest.mark.slow
def test_a_run_goes_on_in_another_layout(weights: Path, tmp_path: Path) -> None:
    """Within nodes, then over all processes, then in one process."""
    out = tmp_path / "out"
    parts = (("node", 1), ("all", 2))
    jobs = [job(weights, out, f"run.shard={layout}", f"run.steps={steps}") for layout, steps in parts]
    work_off(jobs, tmp_path / "work", size=SIZE, node_size=NODE_SIZE)
    found = run(tiny_config(weights, *CHANGES, "run.steps=3"), out)
    assert_same(found, run(tiny_config(weights, *CHANGES, "run.steps=3"), tmp_path / "one"))


@pytest.mark.slow
def test_checkpoints_are_whole_in_the_first_process_alone(weights: Path, tmp_path: Path) -> None:
    """All others never hold more than one whole tensor, nor read a file; they hear of a damaged one all the same."""
    size, out = 2, tmp_path / "out"
    changes = ("policy.parameters=full", "run.shard=all", "run.steps=1")
    one = job(weights, out, *changes) | {"job": "checkpoint_job:save_and_resume"}
    work_off([one], tmp_path / "work", size=size, node_size=size)
    first, *others = (json.loads((out / f"held-{rank}.json").read_text()) for rank in range(size))
    saved = sum(tensor.nbytes for name, tensor in tensors(out).items() if not name.endswith(".step"))
    assert first["saved"]["most"] >= saved > 10 * first["saved"]["largest"]
    for process in others:
        assert 0 < process["saved"]["most"] == process["saved"]["largest"]
        assert 0 < process["resumed"]["most"] == process["resumed"]["largest"]
        assert process["opened"] == 0 < first["opened"]
    for process in (first, *others):
        assert process["step"] == 1
        assert "optimizer.safetensors is damaged" in process["said"]


@pytest.mark.slow
def test_sums_of_two_are_the_same_whole_or_spread(weights: Path, tmp_path: Path) -> None:
    """Bit by bit, of adapters; gradients are not clipped, for norms are added up in another order."""
    options = ("policy.parameters=lora", "optimizer.max_norm=1e6")
    jobs = [job(weights, tmp_path / layout, *options, f"run.shard={layout}") for layout in ("none", "all")]
    work_off(jobs, tmp_path / "work", size=2, node_size=2)
    assert_equal(tensors(tmp_path / "all"), tensors(tmp_path / "none"))


@pytest.mark.slow
def test_a_lora_to_start_from_reaches_every_process(weights: Path, tmp_path: Path) -> None:
    """Networks get their memory, and lose what was in it, after adapters were made."""
    lora = ("policy.parameters=lora", "run.steps=1")
    run(tiny_config(weights, *CHANGES, *lora), tmp_path / "first")
    start = export(tmp_path / "first", tmp_path / "start", ExportOptions("peft"))
    more = (*lora, f'policy.init="{start}"')
    jobs = [job(weights, tmp_path / layout, *more, f"run.shard={layout}") for layout in ("none", "all")]
    work_off(jobs, tmp_path / "work", size=2, node_size=2)
    one = run(tiny_config(weights, *CHANGES, *more), tmp_path / "one")
    for layout in ("none", "all"):
        assert_same(tensors(tmp_path / layout), one)


@pytest.mark.slow
def test_a_crowd_is_evaluated_in_every_layout_as_in_one_process(tmp_path: Path) -> None:
    """Its figures of the network need passes of the network, which all processes have to take part in."""
    weights, prompts = tiny_training.tiny_weights(tmp_path / "weights", "crowd"), tmp_path / "prompts.jsonl"
    chosen = WORLDS["crowd"].evaluation_prompts()[:3]
    prompts.write_text("".join(json.dumps(asdict(prompt)) + "\n" for prompt in chosen))
    evaluated = ("run.eval_every=1", "evaluation.samples=1", "evaluation.steps=2", f'evaluation.prompts="{prompts}"')
    more = ("run.steps=1", *evaluated)
    layouts = ("none", "all")
    jobs = [job(weights, tmp_path / layout, *more, f"run.shard={layout}", backbone="crowd") for layout in layouts]
    work_off(jobs, tmp_path / "work", size=2, node_size=2)
    run(tiny_config(weights, *CHANGES, *more, world="crowd"), tmp_path / "one")
    wanted = read_evaluations(tmp_path / "one")[1]
    for layout in layouts:
        found = read_evaluations(tmp_path / layout)[1]
        paths = {name for name in wanted.sets if name.startswith("video_gradient_in_audio")}
        missing = paths if layout == "all" else set()
        assert {name for name, value in found.sets.items() if value is None} == missing
        assert sum("run.shard" in reason for reason in found.failures) == len(missing)
        known = {name: value for name, value in wanted.sets.items() if name not in missing}
        assert {name: found.sets[name] for name in known} == pytest.approx(known, rel=1e-3)


def check_one(one: dict[str, Any], folder: Path) -> None:
    """A job of four processes on two nodes gives the trajectory and the log of one process."""
    work_off([one], folder / "work", size=SIZE, node_size=NODE_SIZE)
    config = load(one["recipe"], one["backbone"], one["changes"])
    with breaking(one.get("broken", []), config, World()):
        wanted = run(config, folder / "one")
    assert_same(tensors(Path(one["out"])), wanted)
    found, rows = log(Path(one["out"])), log(folder / "one")
    assert [sorted(row) for row in found] == [sorted(row) for row in rows]
    assert flat(found) == pytest.approx(flat(rows), rel=1e-3, abs=2e-6, nan_ok=True)


def flat(value: Any) -> list[Any]:
    """Everything in nested lists and mappings, in their order."""
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in flat(value[key])]
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, list) else [value]


@pytest.mark.slow
def test_ltx23_trains_on_two_nodes_as_in_one_process(tmp_path: Path) -> None:
    """With guidance by text and by a skipped block, attention collected, surgery, and gradients by depth."""
    rules = "surgery.rules=[{blocks = '0', keep = 0.1}, {blocks = '1', keep = 0.4}]"
    changes = [*ltx2_changes(save_material(tmp_path)), "optimizer.eps=1e-4", "policy.rank=4", "run.shard=node", rules]
    out = tmp_path / "out"
    what = {"recipe": "omninft", "backbone": "ltx2", "changes": changes}
    check_one({"job": "joined_worker:run_training", "out": str(out), **what}, tmp_path)
    check_shares(out, NODE_SIZE)
    assert log(out)[0]["gradient_by_depth_without_surgery"] != log(out)[0]["gradient_by_depth"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("marble", ("marble.every=2",)),
        ("arr", (FOUR, "arr.warmup_steps=1", "arr.every=1", "regions.window=[0.0, 0.9]")),
    ],
)
def test_rewards_are_weighed_by_spread_gradients_as_by_whole_ones(
    weights: Path, tmp_path: Path, recipe: str, options: tuple[str, ...]
) -> None:
    changes = ("run.shard=all", "run.probe_every=1", "run.steps=3", "run.save_every=3", "loss.kl_coef=0.3")
    one = job(weights, tmp_path / "out", *changes, *options, recipe=recipe)
    check_one(one, tmp_path)
    weighed = [row["reward_sync_weight_video"] for row in log(tmp_path / "out")]
    assert len(set(weighed)) > 1, "weights that stay would prove nothing"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["none", "node"])
def test_a_process_whose_rollout_is_not_finite_takes_part_for_nothing(
    weights: Path, tmp_path: Path, layout: str
) -> None:
    """The third of four has none left to learn from; spread networks still need it in every pass."""
    changes = (f"run.shard={layout}", "optimizer.batch=1", "loss.kl_coef=0.3", "rewards.max_failed_fraction=1.0")
    check_one(job(weights, tmp_path / "out", *changes) | {"broken": [2]}, tmp_path)
    assert [row["masked_video"] for row in log(tmp_path / "out")] == [1, 1]


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = save_full_size_configs(tmp_path_factory.mktemp("ltx2"))
    return Config(backbone=BackboneSection(path=str(folder)))


@pytest.mark.parametrize(
    ("nodes", "fits", "chosen"),
    [(2, 1, "none"), (2, 8, "node"), (2, 16, "all"), (1, 8, "all"), (1, 1, "none")],
)
def test_the_least_traffic_that_memory_allows(full_size: Config, nodes: int, fits: int, chosen: str) -> None:
    size = 8 * nodes
    need = estimate(full_size, size, fits).peak
    layout = layout_by_memory(full_size, World(size=size, node_size=8), int(need / 0.9) + 1)
    assert (layout.name, layout.shards) == (chosen, fits)
    assert f'{need / 1e9:.0f} GB on each GPU with "{chosen}"' in layout.reason
    assert "will not do" not in layout.reason


def test_where_nothing_fits_the_smallest_is_chosen_and_named(full_size: Config) -> None:
    layout = layout_by_memory(full_size, World(size=16, node_size=8), int(5e9))
    assert (layout.name, layout.shards) == ("all", 16)
    assert layout.reason.endswith("of 5 GB, which will not do")


def test_rewards_on_the_same_gpus_take_their_part(full_size: Config) -> None:
    world, memory = World(size=16, node_size=8), 80_000_000_000
    judges = load("omninft", "ltx2").rewards
    on_gpu = replace(full_size, rewards=replace(judges, device="cuda", backend="local"))
    assert layout_by_memory(full_size, world, memory).name == "none"
    assert layout_by_memory(on_gpu, world, memory).name == "node"
    elsewhere = replace(full_size, rewards=replace(judges, device="cuda", backend="ray"))
    assert layout_by_memory(elsewhere, world, memory).name == "none"


def test_on_processors_and_for_the_miniature_nothing_is_spread(full_size: Config) -> None:
    world = World(size=4, node_size=2)
    assert layout_by_memory(full_size, world, None).name == "none"
    assert layout_by_memory(Config(backbone=BackboneSection(kind="miniature")), world, 1).name == "none"


def test_one_process_holds_everything_whatever_the_recipe_says() -> None:
    assert choose_layout(Config(run=RunSection(shard="all")), World()).shards == 1


@pytest.mark.parametrize(("name", "shards"), SHARDS.items())
def test_the_recipe_decides_where_it_says_something(name: Any, shards: int) -> None:
    layout = choose_layout(Config(run=RunSection(shard=name)), World(size=SIZE, node_size=NODE_SIZE))
    assert (layout.name, layout.shards) == (name, shards)
    assert "the recipe says so" in str(layout)


def test_nodes_that_are_not_alike_cannot_hold_the_same() -> None:
    with pytest.raises(UsageError, match="6 processes do not fill nodes of 4") as caught:
        choose_layout(Config(run=RunSection(shard="node")), World(size=6, node_size=4))
    assert '"all"' in str(caught.value)
    # Of 4, 2 and 2: the number fits, and half of the second "node" would be another machine.
    with pytest.raises(UsageError, match="8 processes are not equally many on each node"):
        choose_layout(Config(run=RunSection(shard="node")), World(size=8, node_size=4, alike=False))


def test_where_nodes_are_not_alike_memory_does_not_choose_them(full_size: Config) -> None:
    memory = int(estimate(full_size, 16, 8).peak / 0.9) + 1
    assert layout_by_memory(full_size, World(size=16, node_size=8), memory).name == "node"
    assert layout_by_memory(full_size, World(size=16, node_size=8, alike=False), memory).name == "all"
