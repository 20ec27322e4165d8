"""Exported weights against the programs that load them: diffusers, peft, and ComfyUI by its own rule."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from diffusers import LTX2Pipeline, LTX2VideoTransformer3DModel
from diffusers.loaders.single_file_utils import convert_ltx2_transformer_to_diffusers
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_ltx2 import NAMES, load_case, stir
from tiny_pipeline import load_tiny, save_tiny_pipeline
from torch import Tensor

from omninft_train.config import BackboneSection, Config, PolicySection
from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.export import NETWORK_FILE, ExportOptions, export
from omninft_train.generate import read_config
from omninft_train.models.adapter_files import COMFYUI_FILE, LORA_FILE, PEFT_FILE
from omninft_train.models.latents import Condition, Geometry, Latents
from omninft_train.models.ltx2 import Ltx2Backbone, config_digest
from omninft_train.models.policy import FullPolicy, LoraPolicy, Policy
from omninft_train.models.velocity import predict
from omninft_train.training import checkpoint

RANK, ALPHA = 4, 12
Inputs = tuple[Latents, torch.Tensor, Condition]


def lora(transformer: Any, geometry: Geometry) -> LoraPolicy:
    """Trained a little: policy, old policy and reference differ."""
    policy = LoraPolicy(transformer, geometry, rank=RANK, alpha=ALPHA)
    stir(dict(policy.trainable()))
    return policy


def full(transformer: Any, geometry: Geometry) -> FullPolicy:
    policy = FullPolicy(transformer, geometry)
    stir(dict(policy.trainable()), 0.05)
    return policy


KINDS = pytest.mark.parametrize("make", [lora, full])
Make = Callable[[Any, Geometry], Policy]


def tiny(make: Make, name: str = "ltx2") -> Policy:
    case = load_case(name)
    return make(case.shallow(), case.geometry)


def save_run(policy: Policy, run: Path, base: str = "pipelines/ltx2") -> Path:
    """A run's folder with one checkpoint of a policy, as the trainer leaves it."""
    network: Any = policy.transformer("policy")
    kind: Any = "lora" if isinstance(policy, LoraPolicy) else "full"
    config = Config(backbone=BackboneSection(path=base), policy=PolicySection(kind, RANK, ALPHA))
    meta = {"backbone": "ltx2", "backbone_digest": config_digest(network), "config": asdict(config)}
    meta |= {"network": json.loads(network.to_json_string())}
    checkpoint.save(run, 7, {"policy": policy.full(policy.trainable())}, meta)
    return run


def velocity(policy: Policy, inputs: Inputs, role: Any = "policy") -> Latents:
    return policy.velocity(role, *inputs).map(torch.Tensor.detach)


def velocity_of(transformer: Any, geometry: Geometry, inputs: Inputs) -> Latents:
    """Of a network that knows nothing of policies."""
    with torch.no_grad():
        return Latents(*predict(transformer.eval(), geometry, *inputs, skip_blocks=()))


def distance(a: Latents, b: Latents) -> float:
    return max(float((a.video - b.video).abs().max()), float((a.audio - b.audio).abs().max()))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module", params=[pytest.param("2.0", marks=pytest.mark.long), "2.3"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline on the disk, as a user has one."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("pipeline") / f"ltx{request.param}", request.param)


class Trained(NamedTuple):
    """A run on the pipeline, its policy, and something to run both on."""

    run: Path
    backbone: Ltx2Backbone
    policy: LoraPolicy
    inputs: Inputs


@pytest.fixture(scope="module")
def trained(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    backbone = load_tiny(saved, folder / "cache")
    noise, condition = backbone.geometry.noise([1, 2]), backbone.condition(["a dog barks", "rain"])
    policy = lora(backbone.transformer, backbone.geometry)
    run = save_run(policy, folder / "run", str(saved))
    return Trained(run, backbone, policy, (noise, torch.tensor([0.9, 0.3]), condition))


def test_a_lora_loads_into_the_pipeline(saved: Path, trained: Trained, tmp_path: Path) -> None:
    """By diffusers alone: the velocities are the policy's, and the scale is alpha over rank."""
    run, backbone, policy, inputs = trained
    assert export(run, tmp_path / "lora") == tmp_path / "lora"
    pipeline = LTX2Pipeline.from_pretrained(saved)
    before = velocity_of(pipeline.transformer, backbone.geometry, inputs)
    assert distance(before, velocity(policy, inputs, "reference")) < 1e-5
    pipeline.load_lora_weights(tmp_path / "lora", adapter_name="trained")
    config = pipeline.transformer.peft_config["trained"]
    assert (config.r, config.lora_alpha) == (RANK, ALPHA)
    assert pipeline.transformer.transformer_blocks[0].attn1.to_q.scaling == {"trained": ALPHA / RANK}
    found, wanted = velocity_of(pipeline.transformer, backbone.geometry, inputs), velocity(policy, inputs)
    assert distance(wanted, before) > 0.05
    assert distance(found, wanted) < 1e-5
    # Why the file carries alpha: a loader that does not know it takes it for equal to the rank.
    pipeline.unload_lora_weights()
    pipeline.load_lora_weights(LTX2Pipeline.lora_state_dict(tmp_path / "lora"))
    assert distance(velocity_of(pipeline.transformer, backbone.geometry, inputs), wanted) > 0.01


def comfyui_layers(blocks: int) -> list[str]:
    """Keys of the linear layers in the blocks of ComfyUI's network for LTX with sound, which keeps the original names.

    Its attentions hold to_q, to_k, to_v and a sequence to_out; its feed-forwards a sequence net of a projection with
    GELU, dropout and a layer.
    """
    attentions = ["attn1", "attn2", "audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn"]
    inner = [f"{name}.{part}" for name in attentions for part in ("to_q", "to_k", "to_v", "to_out.0")]
    inner += [f"{name}.net.{part}" for name in ("ff", "audio_ff") for part in ("0.proj", "2")]
    return [f"diffusion_model.transformer_blocks.{index}.{name}.weight" for index in range(blocks) for name in inner]


def applied_by_comfyui(lora: Mapping[str, Tensor], layers: list[str]) -> dict[str, Tensor]:
    """What ComfyUI's loader adds to each layer; it warns of every key of the file that no layer asks for.

    As comfyanonymous/ComfyUI reads it at 6fd406fb: `load_lora` in `comfy/lora.py`, `comfy/weight_adapter/lora.py`.

    A layer "x.weight" is looked up as x: x.alpha over the rank, or 1 where there is none, times the product of
    x.lora_B.weight and x.lora_A.weight.
    """
    added, left = {}, set(lora)
    for layer in layers:
        name = layer.removesuffix(".weight")
        if f"{name}.lora_B.weight" not in lora:
            continue
        up, down = lora[f"{name}.lora_B.weight"], lora[f"{name}.lora_A.weight"]
        scale = lora[f"{name}.alpha"].item() / len(down) if f"{name}.alpha" in lora else 1.0
        added[layer] = scale * (up.float() @ down.float())
        left -= {f"{name}.lora_B.weight", f"{name}.lora_A.weight", f"{name}.alpha"}
    assert not left, f"lora key not loaded: {sorted(left)[:3]}"
    return added


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_every_key_loads_into_comfyui(name: str, dtype: Any, tmp_path: Path) -> None:
    case = load_case(name)
    network = case.shallow()
    plain = {key: value.clone() for key, value in network.state_dict().items()}
    policy = lora(network, case.geometry)
    export(save_run(policy, tmp_path / "run"), tmp_path / "out", ExportOptions("comfyui", dtype))
    layers = comfyui_layers(len(network.transformer_blocks))
    added = applied_by_comfyui(load_file(tmp_path / "out" / COMFYUI_FILE), layers)
    assert added.keys() == set(layers) and all(delta.abs().max() > 0 for delta in added.values())
    # Back from the original names by diffusers' own converter, and into a network that knows no adapters.
    converted = convert_ltx2_transformer_to_diffusers({f"model.{layer}": delta for layer, delta in added.items()})
    merged = case.shallow()
    merged.load_state_dict({key: value + converted.get(key, 0) for key, value in plain.items()})
    assert converted.keys() <= plain.keys()
    inputs = (case.x, case.t, case.condition)
    wanted = velocity(policy, inputs)
    learned = distance(wanted, velocity(policy, inputs, "reference"))
    assert learned > 0.05
    assert distance(velocity_of(merged, case.geometry, inputs), wanted) < (1e-4 if dtype is None else 0.2 * learned)


def test_a_lora_loads_into_peft(saved: Path, trained: Trained, tmp_path: Path) -> None:
    run, backbone, policy, inputs = trained
    export(run, tmp_path / "out", ExportOptions("peft"))
    network = LTX2VideoTransformer3DModel.from_pretrained(saved, subfolder="transformer")
    loaded = PeftModel.from_pretrained(network, tmp_path / "out")
    assert loaded.peft_config["default"].base_model_name_or_path == str(saved)
    found = velocity_of(loaded.merge_and_unload(), backbone.geometry, inputs)
    assert distance(found, velocity(policy, inputs)) < 1e-4


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_a_merged_transformer_is_the_policy(trained: Trained, tmp_path: Path, dtype: Any) -> None:
    run, backbone, policy, inputs = trained
    export(run, tmp_path / "out", ExportOptions("merged", dtype))
    (file,) = (tmp_path / "out").glob("*.safetensors")
    assert {value.dtype for value in load_file(file).values()} == {torch.float32 if dtype is None else torch.bfloat16}
    network = LTX2VideoTransformer3DModel.from_pretrained(tmp_path / "out")
    found = velocity_of(network, backbone.geometry, inputs)
    assert distance(found, velocity(policy, inputs)) < (1e-4 if dtype is None else 0.1)
    assert distance(found, velocity(policy, inputs, "reference")) > 0.05


@pytest.fixture
def halved(saved: Path, trained: Trained, tmp_path: Path) -> tuple[Path, Path]:
    """The same pipeline with its transformer in bfloat16, and other formats of it beside; a run on it."""
    base = tmp_path / "base"
    shutil.copytree(saved, base)
    file = base / "transformer" / NETWORK_FILE
    half = {name: value.bfloat16() for name, value in load_file(file).items()}
    save_file(half, file, {"format": "pt"})
    for other in ("diffusion_pytorch_model.fp16.safetensors", "another.safetensors"):
        save_file(half, file.with_name(other), {"format": "pt"})
    file.with_name("diffusion_pytorch_model.fp16.safetensors.index.json").write_text("{}")
    return base, save_run(trained.policy, tmp_path / "run", str(base))


@pytest.mark.parametrize("dtype", [None, "float32", "float16"])
def test_merged_weights_are_rounded_once(
    halved: tuple[Path, Path], trained: Trained, tmp_path: Path, dtype: Any
) -> None:
    """A small update of a bfloat16 base is not lost on its way to a wider format."""
    base, run = halved
    export(run, tmp_path / "out", ExportOptions("merged", dtype))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", NETWORK_FILE]
    before, found = load_file(base / "transformer" / NETWORK_FILE), load_file(tmp_path / "out" / NETWORK_FILE)
    learned = {name: value.detach() for name, value in trained.policy.trainable().items()}
    modules = {name.removesuffix(".lora_A.weight") for name in learned if name.endswith(".lora_A.weight")}
    assert modules and found.keys() == before.keys()
    wanted_dtype = torch.bfloat16 if dtype is None else getattr(torch, dtype)
    for name, value in before.items():
        module, wanted = name.removesuffix(".weight"), value.float()
        if module in modules:
            wanted = wanted + ALPHA / RANK * (learned[f"{module}.lora_B.weight"] @ learned[f"{module}.lora_A.weight"])
        assert found[name].dtype == wanted_dtype and torch.equal(found[name], wanted.to(wanted_dtype)), name


def test_what_a_killed_export_left_is_not_published(make_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export(make_run, folder)
    good = content(folder)
    left, fresh = folder / ".partial-0123", folder / ".partial-4567"
    for partial in (left, fresh):
        partial.mkdir()
        (partial / LORA_FILE).write_text("half of it")
    os.utime(left, (1.0, 1.0))
    export(make_run, folder, ExportOptions("peft"))
    assert (folder / LORA_FILE).read_bytes() == good[LORA_FILE] and (folder / PEFT_FILE).is_file()
    assert fresh.is_dir() and not left.exists()  # another export may be writing there


@pytest.fixture
def make_run(tmp_path: Path) -> Path:
    return save_run(tiny(lora), tmp_path / "run")


def test_an_option_that_a_later_library_adds_makes_no_other_base() -> None:
    network = load_case("ltx2").shallow()
    before = config_digest(network)

    class Later(LTX2VideoTransformer3DModel):
        def __init__(self, *arguments: Any, new_option: bool = False, **options: Any) -> None:
            super().__init__(*arguments, **options)

    network.__class__ = Later
    network.register_to_config(new_option=False)
    assert network.config["new_option"] is False and config_digest(network) == before
    network.register_to_config(new_option=True)
    assert config_digest(network) != before


def test_the_identity_of_an_architecture_is_that_of_runs_before() -> None:
    """A change of it would refuse every checkpoint that there is."""
    assert config_digest(load_case("ltx2").shallow()) == "13cb2f00d76c77ce"


def test_another_version_of_the_base_is_refused(saved: Path, trained: Trained, tmp_path: Path) -> None:
    version, other = ("2.0", "2.3") if saved.name == "ltx2.0" else ("2.3", "2.0")
    save_tiny_pipeline(tmp_path / "other", other)  # type: ignore[arg-type]
    message = rf"other is another base \(LTX-{other}, .* trained on: .*ltx{version} \(LTX-{version}, "
    forms: tuple[Any, ...] = ("diffusers", "comfyui", "peft", "merged")
    for form in forms:
        out = tmp_path / form
        with pytest.raises(UsageError, match=message):
            export(trained.run, out, ExportOptions(form, base=str(tmp_path / "other")))
        assert not out.exists()
        export(trained.run, out, ExportOptions(form, base=str(saved)))
        (file,) = out.glob("*.safetensors")
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata()
        assert (metadata["base_model"], metadata["base_version"]) == (str(saved), f"LTX-{version}")
        assert (metadata["trained_steps"], metadata["lora_rank"], metadata["lora_alpha"]) == ("7", "4", "12")


@pytest.mark.parametrize("form", ["diffusers", "comfyui", "peft"])
def test_no_network_is_built_for_a_lora(form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = save_run(tiny(lora), tmp_path / "run", "a/pipeline/that/is/nowhere")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(LTX2VideoTransformer3DModel, "__init__", refuse)
    export(run, tmp_path / "out", ExportOptions(form))
    assert list((tmp_path / "out").glob("*.safetensors"))


@pytest.mark.parametrize("name", NAMES)
def test_the_lora_file_holds_the_policy_alone(name: str, tmp_path: Path) -> None:
    policy = tiny(lora, name)
    export(save_run(policy, tmp_path / "run"), tmp_path)
    with safe_open(tmp_path / LORA_FILE, "pt") as file:
        found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        facts = json.loads(file.metadata()["lora_adapter_metadata"])
    wanted = {f"transformer.{key}": value for key, value in policy.trainable().items()}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) and found[key].dtype == torch.float32 for key in found)
    assert facts["transformer.lora_alpha"] == ALPHA and facts["transformer.r"] == RANK
    names = tuple(f".{target}" for target in facts["transformer.target_modules"])
    layers = {key.rpartition(".lora_")[0] for key in policy.trainable()}
    # The loader makes layers where a name ends so: exactly those that were trained.
    assert {key for key, _ in load_case(name).shallow().named_modules() if key.endswith(names)} == layers


@pytest.mark.parametrize(("form", "file"), [("diffusers", LORA_FILE), ("comfyui", COMFYUI_FILE), ("peft", PEFT_FILE)])
def test_another_number_format_rounds_once(form: Any, file: str, tmp_path: Path) -> None:
    run = save_run(tiny(lora), tmp_path / "run")
    export(run, tmp_path / "whole", ExportOptions(form))
    export(run, tmp_path / "half", ExportOptions(form, "float16"))
    whole, half = load_file(tmp_path / "whole" / file), load_file(tmp_path / "half" / file)
    for key, value in whole.items():
        assert torch.equal(half[key], value if key.endswith(".alpha") else value.half()), key


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["diffusers", "merged"])
def test_a_whole_network_loads_again(name: str, form: Any, tmp_path: Path) -> None:
    case = load_case(name)
    policy = full(case.shallow(), case.geometry)
    export(save_run(policy, tmp_path / "run"), tmp_path / "network", ExportOptions(form))
    network = LTX2VideoTransformer3DModel.from_pretrained(tmp_path / "network")
    inputs = (case.x, case.t, case.condition)
    wanted = velocity(policy, inputs)
    assert distance(velocity_of(network, case.geometry, inputs), wanted) == 0
    assert distance(velocity(policy, inputs, "reference"), wanted) > 0.01
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in policy.trainable().items())


@pytest.mark.parametrize("form", ["comfyui", "peft"])
def test_a_whole_network_is_no_lora(form: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"trained all parameters, so there is no LoRA for {form}"):
        export(save_run(tiny(full), tmp_path / "run"), tmp_path / "out", ExportOptions(form))


@KINDS
def test_an_export_replaces_the_one_before(make: Make, tmp_path: Path) -> None:
    policy = tiny(make)
    folder = tmp_path / "not" / "yet" / "there"
    assert export(save_run(policy, tmp_path / "run"), folder) == folder
    first = content(folder)
    assert len(first) == (1 if make is lora else 2)
    part = "diffusion_pytorch_model-00001-of-00002.safetensors"
    (folder / "notes.txt").write_text("mine")
    (folder / part).write_text("of a larger network")
    stir(dict(policy.trainable()))
    export(save_run(policy, tmp_path / "run"), folder)
    second = content(folder)
    assert second.keys() == first.keys() | {"notes.txt"} | ({part} if make is lora else set())
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {LORA_FILE if make is lora else NETWORK_FILE}


def test_a_run_without_a_checkpoint_has_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no checkpoint"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@KINDS
def test_a_file_in_place_of_the_folder_is_wrong_usage(make: Make, tmp_path: Path) -> None:
    run = save_run(tiny(make), tmp_path / "run")
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="out is a file; the weights need a folder"):
        export(run, tmp_path / "out")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        export(run, tmp_path / "out" / "below")
    assert (tmp_path / "out").read_text() == "mine"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to let a file grow beyond a size, in the middle of a write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@KINDS
def test_a_full_disk_leaves_what_was_there(make: Make, tmp_path: Path) -> None:
    policy = tiny(make)
    run = save_run(policy, tmp_path / "run")
    export(run, tmp_path / "out")
    before = content(tmp_path / "out")
    stir(dict(policy.trainable()))
    save_run(policy, run)
    for folder in (tmp_path / "out", tmp_path / "new"):
        with largest_file(10_000), pytest.raises(EnvironmentProblem) as caught:
            export(run, folder)
        message = str(caught.value)
        assert (
            message.startswith(f"{folder}: the weights cannot be written (")
            and "Free space or name another folder" in message
        )
        assert caught.value.exit_code == 4
    assert content(tmp_path / "out") == before
    assert not (tmp_path / "new").exists()


def test_the_configuration_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    run = save_run(tiny(lora), tmp_path / "run")
    path = checkpoint.find(run)
    meta = checkpoint.read_meta(path)
    config = read_config(run)
    former = {
        "backbone": {"compile": True},
        "advantages": {"sample_std": False, "mode": "gdpo-original"},
        "surgery": {"direction": None, "preset": "deep"},
        "loss": {"adaptive_weights": False},
        "old": {"decay": 2},
    }
    older = meta["config"] | {section: meta["config"].get(section, {}) | gone for section, gone in former.items()}
    older["regions"] = older["regions"] | {"weights": older["regions"]["weights"] | {"form": "topk"}}
    kept = {key: meta[key] for key in ("backbone", "backbone_digest")}
    checkpoint.save(run, 8, {"policy": checkpoint.read_part(path, meta, "policy")}, kept | {"config": older})
    assert read_config(run, 8) == config
