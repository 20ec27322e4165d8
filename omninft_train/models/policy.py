"""Policy, old policy and reference on diffusers' LTX-2: LoRA adapters on a frozen network, or whole copies."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from omninft_train.errors import UsageError
from omninft_train.models.latents import Condition, Geometry, Latents
from omninft_train.models.velocity import predict

Role = Literal["policy", "old", "reference"]
ROLES: tuple[Role, ...] = ("policy", "old", "reference")

_ATTENTIONS = ("attn1", "attn2", "audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn")
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "audio_ff.net.0.proj", "audio_ff.net.2")
TARGETS = (*(f"{attention}.{part}" for attention in _ATTENTIONS for part in _PROJECTIONS), *_FEED_FORWARD)
"""The 28 linear layers of each block that adapters sit on. Source: the release of OmniNFT."""


def lora_config(rank: int, alpha: int) -> Any:
    """peft's configuration of an adapter: rank, alpha and `TARGETS`."""
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, init_lora_weights="gaussian", target_modules=list(TARGETS)
    )


class Policy(ABC):
    """Three roles of one generator.

    Attributes:
        geometry: sizes of its clips.
    """

    geometry: Geometry

    @abstractmethod
    def transformer(self, role: Role) -> nn.Module:
        """The network that a role runs on, for hooks; with adapters it is the same for all."""

    def networks(self) -> list[nn.Module]:
        """The networks of all roles, each once."""
        return list({id(network): network for network in map(self.transformer, ROLES)}.values())

    @abstractmethod
    def draw(self) -> None:
        """Draw the first weights of what no file holds; once more where a policy was built without memory."""

    @abstractmethod
    def trainable(self) -> dict[str, nn.Parameter]:
        """The policy's parameters, by names that the old policy's share."""

    @abstractmethod
    def old(self) -> dict[str, Tensor]:
        """The old policy's parameters."""

    @abstractmethod
    def check_before_backward(self) -> None:
        """Make sure that the policy is what a backward pass will train.

        Raises:
            RuntimeError: another role is in force, or a parameter takes no gradient.
        """

    @abstractmethod
    def _in_role(self, role: Role) -> Any:
        """Context in which `transformer(role)` acts in that role."""

    def velocity(
        self, role: Role, x: Latents, t: Tensor, condition: Condition, *, skip_blocks: Sequence[int] = ()
    ) -> Latents:
        """Velocities at x_t.

        Args:
            role: "old" and "reference" run without gradients.
            x: x_t, B rollouts.
            t: (B,) noise levels in [0, 1].
            condition: of the B rollouts.
            skip_blocks: blocks whose self-attention gives its values alone, for guidance.

        Raises:
            RuntimeError: another role is in force, now or when gradients arrive here.
        """
        network = self.transformer(role)
        gradients = nullcontext() if role == "policy" else torch.no_grad()
        with gradients, self._in_role(role):
            video, audio = predict(network, self.geometry, x, t, condition, skip_blocks=skip_blocks)
        if video.requires_grad:
            for stream in (video, audio):
                stream.register_hook(self._guard)  # type: ignore[no-untyped-call]
        else:
            # Autocast would hand copies of weights that know no gradient to the next pass, which may need one.
            torch.clear_autocast_cache()
        return Latents(video, audio)

    def _guard(self, _: Tensor) -> None:
        self.check_before_backward()

    @torch.no_grad()
    def update_old(self, keep: float) -> None:
        """old <- keep old + (1 - keep) policy; on local shards where parameters are sharded."""
        now = self.trainable()
        for name, old in self.old().items():
            _local(old).lerp_(_local(now[name]), 1 - keep)

    @torch.no_grad()
    def load(self, policy: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> None:
        """Take parameters from a checkpoint.

        Raises:
            UsageError: names or shapes differ.
        """
        for kept, given in ((self.trainable(), policy), (self.old(), old)):
            if kept.keys() != given.keys():
                odd = sorted(kept.keys() ^ given.keys())[:3]
                raise UsageError(f"checkpoint and policy hold different parameters, for example {', '.join(odd)}.")
            for name, parameter in kept.items():
                if parameter.shape != given[name].shape:
                    shapes = f"{tuple(given[name].shape)}, expected {tuple(parameter.shape)}"
                    raise UsageError(f"checkpoint: {name} has shape {shapes}.")
                _copy_into(parameter, given[name])

    @staticmethod
    def full(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors gathered on the CPU; sharded ones need all processes to call this."""
        return {name: _whole(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}


class LoraPolicy(Policy):
    """Adapters "policy" and "old" on a frozen network; the reference is the network without them.

    Args:
        transformer: an LTX-2 transformer; adapters are added in place.
        geometry: sizes of its clips.
        rank, alpha: of the adapters, which stay in float32.
        seed: of the adapters' first weights; B is zero, so that policy, old policy and reference start equal.
    """

    def __init__(self, transformer: Any, geometry: Geometry, *, rank: int = 32, alpha: int = 64, seed: int = 0) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.geometry = geometry
        self.config = lora_config(rank, alpha)
        transformer.requires_grad_(False)
        transformer.eval()
        with torch.random.fork_rng(devices=[]):
            transformer.add_adapter(self.config, "policy")
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # a second one is meant
                transformer.add_adapter(self.config, "old")
        self._transformer = transformer
        self._layers: list[Any] = [module for module in transformer.modules() if isinstance(module, BaseTunerLayer)]
        self._seed = seed
        self._init()
        self._switch("policy")

    def _init(self) -> None:
        for adapter in ("policy", "old"):
            for parameter in self._adapter(adapter).values():
                # The layer has them in the network's format by now.
                parameter.data = torch.zeros_like(parameter, dtype=torch.float32)
        self.draw()

    @torch.no_grad()
    def draw(self) -> None:
        """First weights of the adapters: a normal with standard deviation 1/r, B zero.

        In the order of names, so that they depend on the seed alone: not on the network's format, not on processes.
        """
        for adapter in ("policy", "old"):
            generator = torch.Generator().manual_seed(self._seed)
            for name, parameter in self._adapter(adapter).items():
                if parameter.is_meta:
                    continue
                drawn = torch.zeros(parameter.shape)
                if ".lora_A." in name:
                    drawn = torch.randn(parameter.shape, generator=generator) / self.config.r
                _copy_into(parameter, drawn)

    def transformer(self, role: Role) -> nn.Module:
        """The one network."""
        module: nn.Module = self._transformer
        return module

    def trainable(self) -> dict[str, nn.Parameter]:
        """A and B of the adapter "policy"."""
        return self._adapter("policy")

    def old(self) -> dict[str, Tensor]:
        """A and B of the adapter "old"."""
        return dict(self._adapter("old"))

    def _adapter(self, adapter: str) -> dict[str, nn.Parameter]:
        parameters = ((name.replace("_orig_mod.", ""), p) for name, p in self._transformer.named_parameters())
        marked = {name.replace(f".{adapter}.", "."): p for name, p in parameters if f".{adapter}." in name}
        return dict(sorted(marked.items()))

    def check_before_backward(self) -> None:
        """With another adapter in force, autograd would drop every gradient of the policy without a word."""
        for layer in self._layers:
            if layer.disable_adapters or layer.active_adapters != ["policy"]:
                active = "none" if layer.disable_adapters else ", ".join(layer.active_adapters)
                raise RuntimeError(f"adapter in force: {active}; a pass that trains needs 'policy'")
        _check_gradients(self.trainable())

    @contextmanager
    def _in_role(self, role: Role) -> Iterator[None]:
        if role == "policy":
            self.check_before_backward()
            yield
            return
        try:
            self._switch(role)
            yield
        finally:
            self._switch("policy")

    def _switch(self, role: Role) -> None:
        """Put a role in force; requires_grad, which peft flips with every switch, stays with the policy."""
        for layer in self._layers:
            layer.enable_adapters(role != "reference")
            if role != "reference":
                layer.set_adapter(role)
            for part in (layer.lora_A, layer.lora_B):
                part["policy"].requires_grad_(True)
                part["old"].requires_grad_(False)


class FullPolicy(Policy):
    """All parameters of a small network are trained; old policy and reference are copies.

    Args:
        transformer: an LTX-2 transformer, trained in place.
        geometry: sizes of its clips.
    """

    def __init__(self, transformer: nn.Module, geometry: Geometry) -> None:
        self.geometry = geometry
        transformer.eval()
        copies = [copy.deepcopy(transformer).requires_grad_(False) for _ in range(2)]
        self._networks: dict[str, nn.Module] = {
            "policy": transformer.requires_grad_(True),
            "old": copies[0],
            "reference": copies[1],
        }

    def transformer(self, role: Role) -> nn.Module:
        """The role's own network."""
        return self._networks[role]

    def draw(self) -> None:
        """Files hold everything."""

    def trainable(self) -> dict[str, nn.Parameter]:
        """All parameters of the policy's network."""
        return dict(sorted(self._networks["policy"].named_parameters()))

    def old(self) -> dict[str, Tensor]:
        """All parameters of the old policy's network."""
        return dict(sorted(self._networks["old"].named_parameters()))

    def check_before_backward(self) -> None:
        """Nothing is switched here, so only gradients could be off."""
        _check_gradients(self.trainable())

    def _in_role(self, role: Role) -> Any:
        return nullcontext()


def _check_gradients(parameters: Mapping[str, Tensor]) -> None:
    off = [name for name, parameter in parameters.items() if not parameter.requires_grad]
    if off:
        raise RuntimeError(f"{len(off)} parameters of the policy take no gradient, for example {off[0]}")


def _local(tensor: Tensor) -> Tensor:
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


def _whole(tensor: Tensor) -> Tensor:
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def _copy_into(parameter: Tensor, value: Tensor) -> None:
    if hasattr(parameter, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        value = distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)  # type: ignore[attr-defined]
    parameter.copy_(value)
