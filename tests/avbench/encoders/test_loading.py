"""Loading is strict and safe; keyed-random filling is the rule of the goldens."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from avbench.encoders.base import LoadContext  # noqa: E402
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device  # noqa: E402
from avbench.errors import EnvironmentProblem  # noqa: E402
from avbench.weights.config import WeightsConfig  # noqa: E402


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize("wrap", ["", "state_dict", "model"])
def test_a_torch_file_and_a_safetensors_file_give_the_same_tensors(tmp_path, wrap):
    safetensors = pytest.importorskip("safetensors.torch")
    state = net().state_dict()
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / "a.pth")
    safetensors.save_file(state, tmp_path / "a.safetensors")
    first, second = read_state_dict(tmp_path / "a.pth"), read_state_dict(tmp_path / "a.safetensors")
    assert first.keys() == second.keys() == state.keys()
    assert all(torch.equal(first[key], second[key]) for key in state)
    module = net()
    load_strict(module, first, "a.pth")
    assert torch.equal(module[0].weight, state["0.weight"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("0.bias"), ["1 missing keys (0.bias)"]),
        (lambda s: s.update({"0.extra": torch.zeros(1)}), ["1 unknown keys (0.extra)"]),
        (lambda s: s.update({"0.weight": torch.zeros(2, 4)}), ["0.weight (2, 4), expected (2, 3)"]),
        (lambda s: s.clear(), ["7 missing keys", "..."]),
        (lambda s: s.update({"0.biass": s.pop("0.bias")}), ["missing keys (0.bias)", "unknown keys (0.biass)"]),
    ],
)
def test_a_key_too_few_too_many_or_of_another_shape_is_refused_and_nothing_is_loaded(change, words):
    module = net()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    state = {key: value + 1 for key, value in before.items()}
    change(state)
    with pytest.raises(EnvironmentProblem) as caught:
        load_strict(module, state, Path("some.pth"))
    message = str(caught.value)
    assert all(word in message for word in ["some.pth", "Sequential", *words]), message
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(tmp_path, how):
    bomb, path = tmp_path / "pwned", tmp_path / "evil.pth"
    content = {"0.weight": torch.zeros(2, 3), "x": Evil(bomb)}
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(Evil(bomb), protocol=2))
    with pytest.raises(EnvironmentProblem, match="not a checkpoint that can be loaded safely"):
        read_state_dict(path)
    assert not bomb.exists()
    # The file does what it claims: with the check left out it runs.
    torch.load(path, weights_only=False) if how == "torch" else pickle.loads(path.read_bytes())
    assert bomb.exists()


@pytest.mark.parametrize(("name", "content"), [("a.pth", b"junk"), ("a.safetensors", b"junk"), ("a.pth", b"")])
def test_a_damaged_file_names_itself_and_the_cure(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EnvironmentProblem, match=r"a\.(pth|safetensors).*avbench models pull"):
        read_state_dict(tmp_path / name)


def test_a_file_with_no_table_of_tensors_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(EnvironmentProblem, match="expected a table of tensors, got list"):
        read_state_dict(tmp_path / "list.pth")


def test_keyed_random_depends_on_the_key_alone_and_leaves_integers_and_non_finite_entries():
    module = net()
    module.register_buffer("mask", torch.full((2, 2), float("-inf")).triu(1))
    module.register_buffer("holes", torch.tensor([1.0, float("nan")]))
    fill_keyed_random(module)
    first = {key: value.clone() for key, value in module.state_dict().items()}
    other = nn.Sequential(nn.Linear(3, 2))
    fill_keyed_random(other)
    assert torch.equal(other.state_dict()["0.weight"], first["0.weight"])
    assert first["1.num_batches_tracked"] == 0
    assert first["mask"].tolist() == [[0.0, float("-inf")], [0.0, 0.0]]
    assert torch.isnan(first["holes"][1]) and first["holes"][0] == 1
    assert (first["1.running_var"] >= 1).all()
    assert 0.9 < float(first["1.weight"].mean()) < 1.1
    assert float(first["0.weight"].abs().max()) < 0.1


def test_he_scaling_and_kept_entries():
    plain, scaled = net(), net()
    fill_keyed_random(plain)
    fill_keyed_random(scaled, he=True, keep=("0.bias",))
    ratio = scaled[0].weight / plain[0].weight
    assert torch.allclose(ratio, torch.full_like(ratio, (2 / 3) ** 0.5 / 0.02), rtol=1e-5)
    assert not torch.equal(scaled[0].bias, plain[0].bias)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_network_is_frozen_and_has_the_precision_of_the_run(precision, dtype):
    module = to_device(net(), LoadContext(WeightsConfig(precision=precision), "cpu"))
    assert not module.training
    assert module[0].weight.dtype == dtype
    assert not any(parameter.requires_grad for parameter in module.parameters())
