"""Policy, old policy and reference on diffusers' LTX-2: LoRA adapters on a frozen network, or whole copies."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from omninft_train.errors import UsageProblem
from omninft_train.latents import Condition, Geometry, Latents

Role = Literal["policy", "old", "reference"]

_ATTENTIONS = ("attn1", "attn2", "audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn")
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "audio_ff.net.0.proj", "audio_ff.net.2")
TARGETS = (*(f"{attention}.{part}" for attention in _ATTENTIONS for part in _PROJECTIONS), *_FEED_FORWARD)
"""The 28 linear layers of each block that adapters sit on. Source: the release of OmniNFT."""

_LEVELS = 1000.0  # the network's time runs from 0 to 1000


class Policy(ABC):
    """Three roles of one generator.

    Attributes:
        geometry: sizes of its clips.
    """

    geometry: Geometry

    @abstractmethod
    def transformer(self, role: Role) -> nn.Module:
        """The network that a role runs on, for hooks; with adapters it is the same for all."""

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
            skip_blocks: blocks whose self-attention is skipped, for guidance.
        """
        gradients = nullcontext() if role == "policy" else torch.no_grad()
        with gradients, self._in_role(role):
            video, audio = _call(self.transformer(role), self.geometry, x, t, condition, skip_blocks)
        return Latents(video, audio)

    @torch.no_grad()
    def update_old(self, keep: float) -> None:
        """old <- keep old + (1 - keep) policy; on local shards where parameters are sharded."""
        for name, old in self.old().items():
            _local(old).lerp_(_local(self.trainable()[name]).to(old.dtype), 1 - keep)

    @torch.no_grad()
    def load(self, policy: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> None:
        """Take parameters from a checkpoint.

        Raises:
            UsageProblem: names or shapes differ.
        """
        for kept, given in ((self.trainable(), policy), (self.old(), old)):
            if kept.keys() != given.keys():
                odd = sorted(kept.keys() ^ given.keys())[:3]
                raise UsageProblem(f"checkpoint and policy hold different parameters, for example {', '.join(odd)}.")
            for name, parameter in kept.items():
                if parameter.shape != given[name].shape:
                    shapes = f"{tuple(given[name].shape)}, expected {tuple(parameter.shape)}"
                    raise UsageProblem(f"checkpoint: {name} has shape {shapes}.")
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
        from peft import LoraConfig

        self.geometry = geometry
        self.config = LoraConfig(
            r=rank, lora_alpha=alpha, lora_dropout=0.0, init_lora_weights="gaussian", target_modules=list(TARGETS)
        )
        transformer.requires_grad_(False)
        transformer.eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            transformer.add_adapter(self.config, "policy")
        transformer.add_adapter(self.config, "old")
        for name, parameter in transformer.named_parameters():
            if ".lora_" in name:
                parameter.data = parameter.data.float()
        self._transformer = transformer
        transformer.set_adapter("policy")
        with torch.no_grad():
            for name, old in self.old().items():
                old.copy_(self.trainable()[name])

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
        found = ((name.replace("_orig_mod.", ""), p) for name, p in self._transformer.named_parameters())
        marked = {name.replace(f".{adapter}.", "."): p for name, p in found if f".{adapter}." in name}
        return dict(sorted(marked.items()))

    def check_before_backward(self) -> None:
        """With another adapter in force, autograd would drop every gradient of the policy without a word."""
        active = self._transformer.active_adapters()
        if active != ["policy"]:
            raise RuntimeError(f"adapter {active} is in force at a backward pass; it has to be 'policy'")
        off = [name for name, parameter in self.trainable().items() if not parameter.requires_grad]
        if off:
            raise RuntimeError(f"{len(off)} parameters of the policy take no gradient, for example {off[0]}")

    @contextmanager
    def _in_role(self, role: Role) -> Iterator[None]:
        if role == "policy":
            yield
            return
        try:
            if role == "old":
                self._transformer.set_adapter("old")
            else:
                self._transformer.disable_adapters()
            yield
        finally:
            if role == "reference":
                self._transformer.enable_adapters()
            self._transformer.set_adapter("policy")


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

    def trainable(self) -> dict[str, nn.Parameter]:
        """All parameters of the policy's network."""
        return dict(sorted(self._networks["policy"].named_parameters()))

    def old(self) -> dict[str, Tensor]:
        """All parameters of the old policy's network."""
        return dict(sorted(self._networks["old"].named_parameters()))

    def check_before_backward(self) -> None:
        """Nothing is switched here, so only gradients could be off."""
        off = [name for name, parameter in self.trainable().items() if not parameter.requires_grad]
        if off:
            raise RuntimeError(f"{len(off)} parameters of the policy take no gradient, for example {off[0]}")

    def _in_role(self, role: Role) -> Any:
        return nullcontext()


def _call(
    transformer: Any, geometry: Geometry, x: Latents, t: Tensor, condition: Condition, skip_blocks: Sequence[int]
) -> tuple[Tensor, Tensor]:
    times = _LEVELS * t.float()
    dtype = transformer.dtype
    video, audio = transformer(
        hidden_states=x.video.to(dtype),
        audio_hidden_states=x.audio.to(dtype),
        encoder_hidden_states=condition.video.to(dtype),
        audio_encoder_hidden_states=condition.audio.to(dtype),
        timestep=times,
        sigma=times,
        encoder_attention_mask=condition.mask,
        audio_encoder_attention_mask=condition.mask,
        num_frames=geometry.frames,
        height=geometry.height,
        width=geometry.width,
        fps=geometry.fps,
        audio_num_frames=geometry.audio_frames,
        spatio_temporal_guidance_blocks=list(skip_blocks) or None,
        use_cross_timestep=crosses_time(transformer.config),
        return_dict=False,
    )
    return video, audio


def crosses_time(config: Any) -> bool:
    """Whether cross-attention is modulated by the other stream's time: from LTX-2.3 on, told by its text modulation."""
    return bool(config.cross_attn_mod)


def _local(tensor: Tensor) -> Tensor:
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # type: ignore[operator]
    return local


def _whole(tensor: Tensor) -> Tensor:
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # type: ignore[operator]
    return whole


def _copy_into(parameter: Tensor, value: Tensor) -> None:
    if hasattr(parameter, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        value = distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)  # type: ignore[attr-defined]
    parameter.copy_(value)
