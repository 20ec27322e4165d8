"""Checkpoints: what is written comes back, the last good one survives, and what does not fit is told."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.training import checkpoint

META = {"backbone": "miniature", "backbone_digest": "abc", "config": {"preset": "release", "window": (0.5, 0.9)}}


def tensors(value: float = 1.0) -> dict[str, dict[str, torch.Tensor]]:
    weight = torch.full((3, 2), value)
    return {"policy": {"w": weight, "shared": weight}, "old": {"w": weight.t()}, "optimizer": {}}


def save(folder: Path, step: int, value: float = 1.0, keep: int = 2) -> Path:
    return checkpoint.save(folder, step, tensors(value), META, keep=keep)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path):
    run = tmp_path / "new" / "run"
    assert checkpoint.latest(run) is None
    folder = save(run, 25, 2.5)
    assert checkpoint.latest(run) == folder
    loaded = checkpoint.load(folder, "miniature", "abc")
    assert loaded.step == 25
    assert set(loaded.tensors) == {"policy", "old", "optimizer"}
    assert torch.equal(loaded.tensors["policy"]["shared"], torch.full((3, 2), 2.5))
    assert loaded.tensors["old"]["w"].shape == (2, 3)
    assert loaded.tensors["optimizer"] == {}
    assert loaded.meta["config"] == {"preset": "release", "window": [0.5, 0.9]}
    assert checkpoint.read_meta(folder)["step"] == 25


def test_the_last_ones_stay_in_the_order_of_steps(tmp_path):
    for step in (5, 10, 1_000_000, 2_000_000):
        save(tmp_path, step)
    policies = ["policy-000005", "policy-000010"]
    assert names(tmp_path) == ["checkpoint-1000000", "checkpoint-2000000", *policies]
    assert checkpoint.latest(tmp_path).name == "checkpoint-2000000"
    save(tmp_path, 30, keep=1)  # a run that went on from an older one
    assert names(tmp_path) == ["checkpoint-000030", "checkpoint-1000000", "checkpoint-2000000", *policies]


def test_of_older_checkpoints_the_policy_stays(tmp_path):
    for step in (5, 10, 15):
        save(tmp_path, step, float(step))
    assert list(checkpoint.policies(tmp_path)) == [5, 10, 15]
    first = checkpoint.find(tmp_path, 5)
    assert sorted(path.name for path in first.iterdir()) == ["meta.json", "policy.safetensors"]
    loaded = checkpoint.load(first, "miniature", "abc")
    assert loaded.tensors.keys() == {"policy"} and loaded.tensors["policy"]["w"][0, 0] == 5.0
    assert checkpoint.load(checkpoint.find(tmp_path, 10), "miniature", "abc").tensors.keys() > {"old"}
    assert checkpoint.find(tmp_path) == checkpoint.latest(tmp_path) == tmp_path / "checkpoint-000015"


def test_a_step_that_was_not_saved_is_told_with_those_that_were(tmp_path):
    for step in (5, 10, 15):
        save(tmp_path, step)
    with pytest.raises(UsageError, match="no policy of step 7; it has those of 5, 10, 15"):
        checkpoint.find(tmp_path, 7)
    with pytest.raises(UsageError, match="holds no checkpoint"):
        checkpoint.find(tmp_path / "elsewhere", 5)


def test_what_to_do_without_a_damaged_checkpoint_depends_on_what_else_there_is(tmp_path):
    for step in (5, 10, 15):
        save(tmp_path, step)
    last = tmp_path / "checkpoint-000015"
    (last / "old.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"Delete .*checkpoint-000015 to go on from checkpoint-000010\.$"):
        checkpoint.load(last, "miniature", "abc")
    shutil.rmtree(tmp_path / "checkpoint-000010")
    with pytest.raises(UsageError, match=r"no other checkpoint .* another folder .* the policies of steps 5\.$"):
        checkpoint.load(last, "miniature", "abc")
    shutil.rmtree(last)
    with pytest.raises(UsageError, match=r"no whole checkpoint, but policies of steps 5\. Name one of them \(--step\)"):
        checkpoint.find(tmp_path)


def test_thinning_out_that_was_cut_off_is_done_by_the_next(tmp_path):
    save(tmp_path, 5)
    (tmp_path / "checkpoint-000005").rename(tmp_path / "policy-000005")  # killed before the files were removed
    assert checkpoint.latest(tmp_path) is None
    save(tmp_path, 10)
    assert not (tmp_path / "policy-000005" / "optimizer.safetensors").exists()
    assert checkpoint.load(checkpoint.find(tmp_path, 5), "miniature", "abc").step == 5


def test_a_step_saved_again_replaces_the_first(tmp_path):
    save(tmp_path, 5, 1.0)
    folder = save(tmp_path, 5, 2.0)
    assert names(tmp_path) == ["checkpoint-000005"]
    assert checkpoint.load(folder, "miniature", "abc").tensors["policy"]["w"][0, 0] == 2.0


def test_what_a_killed_run_left_is_no_checkpoint_and_is_cleared(tmp_path):
    save(tmp_path, 5)
    left = tmp_path / ".checkpoint-000010.partial"
    left.mkdir()
    (left / "policy.safetensors").write_bytes(b"half")
    assert checkpoint.latest(tmp_path).name == "checkpoint-000005"
    save(tmp_path, 15)
    assert names(tmp_path) == ["checkpoint-000005", "checkpoint-000015"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        SafetensorError('Error while serializing: I/O error: No space left on device (os error 28) at path "x"'),
    ],
)
@pytest.mark.parametrize("part", ["policy", "optimizer"])
def test_a_full_disk_costs_nothing_that_is_there(tmp_path, monkeypatch, error, part):
    good = save(tmp_path, 5)
    before = {path.name: path.read_bytes() for path in good.iterdir()}
    write = checkpoint.save_file

    def full(named, path):
        if path.stem == part:
            path.write_bytes(b"what still fitted")
            raise error
        write(named, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(EnvironmentProblem) as caught:
        checkpoint.save(tmp_path, 10, tensors(2.0), META, keep=1)
    assert "no space left" in str(caught.value)
    assert str(good) in str(caught.value)
    assert names(tmp_path) == ["checkpoint-000005"]
    assert {path.name: path.read_bytes() for path in good.iterdir()} == before


def test_a_disk_that_is_full_at_the_last_file_costs_nothing_either(tmp_path, monkeypatch):
    save(tmp_path, 5)

    def full(self, *arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(EnvironmentProblem, match="no space left"):
        save(tmp_path, 10, keep=1)
    assert names(tmp_path) == ["checkpoint-000005"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        save(tmp_path / "file", 1)


def test_another_backbone_is_refused_with_both_names(tmp_path):
    folder = save(tmp_path, 5)
    for kind, digest in (("ltx2", "abc"), ("miniature", "xyz")):
        with pytest.raises(UsageError) as caught:
            checkpoint.load(folder, kind, digest)
        for text in ("'miniature'", "abc", f"'{kind}'", digest):
            assert text in str(caught.value)


def flip(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


@pytest.mark.parametrize(
    ("file", "harm", "told"),
    [
        ("policy.safetensors", Path.unlink, "is missing"),
        ("old.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-4]), "is damaged"),
        ("old.safetensors", flip, "is damaged"),
        ("meta.json", Path.unlink, "no complete checkpoint"),
        ("meta.json", lambda path: path.write_text("{"), "is damaged"),
        ("meta.json", flip, "is damaged"),
        ("meta.json", lambda path: path.write_text("[]"), "is damaged"),
        ("meta.json", lambda path: path.write_text(json.dumps({"step": 1, "parts": {}})), "format None"),
    ],
)
def test_a_damaged_checkpoint_is_told_with_the_file(tmp_path, file, harm, told):
    folder = save(tmp_path, 5)
    harm(folder / file)
    with pytest.raises(UsageError) as caught:
        checkpoint.load(folder, "miniature", "abc")
    assert told in str(caught.value)
    assert str(folder / file) in str(caught.value)


@pytest.mark.parametrize("file", ["policy.safetensors", "old.safetensors", "meta.json"])
@pytest.mark.parametrize("position", [0.0, 0.3, 0.6, 0.97])
def test_one_flipped_bit_ends_the_command_and_names_the_file(tmp_path, file, position):
    path = save(tmp_path, 5) / file
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"is damaged|format") as caught:
        checkpoint.load(path.parent, "miniature", "abc")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("key", ["step", "config", "backbone_digest"])
def test_an_edited_meta_is_noticed(tmp_path, key):
    path = save(tmp_path, 5) / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps(meta | {key: 7}))
    with pytest.raises(UsageError, match="checksum differs"):
        checkpoint.read_meta(path.parent)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("policy", {"file": "../../elsewhere.safetensors"}),
        ("policy", {"file": "/etc/hostname"}),
        ("../policy", {"file": "../policy.safetensors"}),
        ("policy", {"file": "old.safetensors"}),
        ("policy", "policy.safetensors"),
        ("policy", {}),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_meta_cannot_name_files_elsewhere(tmp_path, name, part, version):
    folder = save(tmp_path, 5)
    meta = json.loads((folder / "meta.json").read_text()) | {"format": version}
    meta["parts"] = {name: part}
    meta["sha256"] = checkpoint.meta_digest(meta)
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(UsageError, match=r"names .*, expected '<part>\.safetensors'"):
        checkpoint.load(folder, "miniature", "abc")


def test_a_missing_part_is_named(tmp_path):
    folder = checkpoint.save(tmp_path, 5, {"policy": tensors()["policy"]}, META)
    loaded = checkpoint.load(folder, "miniature", "abc")
    with pytest.raises(UsageError, match="part 'old' is missing"):
        loaded.part("old")


def test_a_checkpoint_without_checksums_is_read_with_a_warning(tmp_path, caplog):
    folder = save(tmp_path, 5, 3.0)
    meta = json.loads((folder / "meta.json").read_text())
    del meta["sha256"]
    for part in meta["parts"].values():
        del part["sha256"]
    (folder / "meta.json").write_text(json.dumps(meta | {"format": 1}))
    loaded = checkpoint.load(folder, "miniature", "abc")
    assert torch.equal(loaded.part("policy")["w"], torch.full((3, 2), 3.0))
    assert "no checksums" in caplog.text


def test_a_dump_is_one_file(tmp_path):
    checkpoint.save_tensors(tmp_path / "sub" / "dump.safetensors", {"a": torch.arange(3)})
    assert torch.equal(load_file(tmp_path / "sub" / "dump.safetensors")["a"], torch.arange(3))


class Small(nn.Module):
    def __init__(self, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Linear(3, 4)
        self.last = nn.Linear(4, 1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def steps(self, optimizer: torch.optim.AdamW, first: int, last: int) -> None:
        for step in range(first, last):
            x = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
            self.last(torch.tanh(self.first(x))).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()


def adamw(model: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)


def test_an_optimiser_goes_on_where_it_was(tmp_path):
    straight = Small()
    straight.steps(adamw(straight), 0, 8)

    broken, optimizer = Small(), None
    optimizer = adamw(broken)
    broken.steps(optimizer, 0, 3)
    named = dict(broken.named_parameters())
    state = checkpoint.optimizer_tensors(optimizer, named)
    assert set(state) == {f"{n}.{e}" for n in named for e in ("step", "exp_avg", "exp_avg_sq")}
    parts = {"policy": dict(broken.state_dict()), "optimizer": state}
    loaded = checkpoint.load(checkpoint.save(tmp_path, 3, parts, META), "miniature", "abc")

    again = Small(seed=1)
    again.load_state_dict(loaded.tensors["policy"])
    optimizer = adamw(again)
    checkpoint.load_optimizer(optimizer, dict(again.named_parameters()), loaded.tensors["optimizer"])
    again.steps(optimizer, loaded.step, 8)
    for ours, theirs in zip(again.parameters(), straight.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_optimiser_that_has_done_nothing_has_no_state():
    model = Small()
    optimizer = adamw(model)
    assert checkpoint.optimizer_tensors(optimizer, dict(model.named_parameters())) == {}
    model.steps(optimizer, 0, 1)
    checkpoint.load_optimizer(optimizer, dict(model.named_parameters()), {})
    assert not optimizer.state


def test_state_of_other_parameters_is_refused():
    model = Small()
    optimizer = adamw(model)
    model.steps(optimizer, 0, 1)
    named = dict(model.named_parameters())
    state = checkpoint.optimizer_tensors(optimizer, named)
    missing = {key: value for key, value in state.items() if not key.startswith("last.bias")}
    with pytest.raises(UsageError, match=r"differ in 1 names: last\.bias"):
        checkpoint.load_optimizer(optimizer, named, missing)
    with pytest.raises(UsageError, match=r"first\.weight\.exp_avg has shape \(3, 4\), expected \(4, 3\)"):
        changed = state | {"first.weight.exp_avg": state["first.weight.exp_avg"].t()}
        checkpoint.load_optimizer(optimizer, named, changed)
