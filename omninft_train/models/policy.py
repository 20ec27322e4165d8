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
from omninft_train.models.lora import adapter_parts, lora_config
from omninft_train.models.velocity import predict

Role = Literal["policy", "old", "reference"]
ROLES: tuple[Role, ...] = ("policy", "old", "reference")


class Policy(ABC):
    """Three roles of one generator.

    Attributes:
        start: SHA-256 of the LoRA file that all roles began as; empty for none.
    """

    geometry: Geometry
    start: str = ""

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
                stream.register_hook(lambda _: self.check_before_backward())  # type: ignore[no-untyped-call]
        else:
            # Autocast would hand copies of weights that know no gradient to the next pass, which may need one.
            torch.clear_autocast_cache()
        return Latents(video, audio)

    @torch.no_grad()
    def update_old(self, keep: float) -> None:
        """old <- keep old + (1 - keep) policy; on local shards where parameters are sharded."""
        now = self.trainable()
        for name, old in self.old().items():
            _local(old).lerp_(_local(now[name]), 1 - keep)

    @torch.no_grad()
    def load(self, policy: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> None:
        """Take parameters from a checkpoint, one after another; all processes have to give the same ones.

        Raises:
            UsageError: names or shapes differ.
        """
        for kept, given in ((self.trainable(), policy), (self.old(), old)):
            if kept.keys() != given.keys():
                odd = sorted(kept.keys() ^ given.keys())[:3]
                raise UsageError(f"checkpoint and policy hold different parameters, for example {', '.join(odd)}.")
            for name, parameter in kept.items():
                value = given[name]  # asked for once: it may be read only now
                if parameter.shape != value.shape:
                    shapes = f"{tuple(value.shape)}, expected {tuple(parameter.shape)}"
                    raise UsageError(f"checkpoint: {name} has shape {shapes}.")
                copy_part(parameter, value)
                del value  # before the next one comes

    @staticmethod
    def full(tensors: Mapping[str, Tensor], *, keep: bool = True) -> dict[str, Tensor]:
        """Gather tensors on the CPU, one after another; sharded ones need all processes to call this.

        Args:
            tensors: by name, whole or sharded.
            keep: False where this process only takes part: it gets none, and never holds more than one.
        """
        gathered = {}
        for name, tensor in tensors.items():
            whole = _whole(tensor)
            if keep:
                gathered[name] = whole.detach().cpu().contiguous()
            del whole  # before the next one is gathered
        return gathered


class LoraPolicy(Policy):
    """Adapters "policy" and "old" on a frozen network; the reference is the network without them.

    Started from another LoRA, all three roles begin as the network with that, and the reference is an adapter too.

    Args:
        transformer: an LTX-2 transformer; adapters are added in place.
        rank, alpha: of the adapters, which stay in float32.
        seed: of the adapters' first weights; B is zero, so that policy, old policy and reference start equal.
        start: weights to start from instead, by the names of `trainable`.
    """

    def __init__(
        self,
        transformer: Any,
        geometry: Geometry,
        *,
        rank: int = 32,
        alpha: int = 64,
        seed: int = 0,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.geometry = geometry
        self.config = lora_config(rank, alpha)
        adapters = ("policy", "old") if start is None else ROLES
        transformer.requires_grad_(False)
        transformer.eval()
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # further ones are meant
            warnings.filterwarnings("ignore", message="TorchaoLoraLinear was instantiated")  # nothing is merged here
            for adapter in adapters:
                transformer.add_adapter(self.config, adapter)
        self._transformer = transformer
        # Found once: walking the tree takes longer than what is done with each layer.
        layers = {name: part for name, part in transformer.named_modules() if isinstance(part, BaseTunerLayer)}
        self._layers: list[Any] = list(layers.values())
        self._states = [vars(layer) for layer in self._layers]
        self._parts: dict[str, dict[str, Any]] = {adapter: adapter_parts(layers, adapter) for adapter in adapters}
        self._seed, self._start = seed, start
        for adapter in adapters:
            for parameter in self._adapter(adapter).values():
                # The layer has them in the network's format by now.
                parameter.data = torch.zeros_like(parameter, dtype=torch.float32)
                parameter.requires_grad_(adapter == "policy")
        self.draw()
        for layer in self._layers:
            # `predict` computes products of other formats under autocast, which would undo peft's cast of the input.
            layer.cast_input_dtype_enabled = False
        self._switch("policy")

    @torch.no_grad()
    def draw(self) -> None:
        """First weights of the adapters: those to start from, else a normal with standard deviation 1/r, B zero.

        In the order of names, so that they depend on the seed alone: not on the network's format, not on processes.
        """
        for adapter in self._parts:
            generator = torch.Generator().manual_seed(self._seed)
            for name, parameter in self._adapter(adapter).items():
                if parameter.is_meta:
                    continue
                drawn = torch.zeros(parameter.shape) if self._start is None else self._start[name]
                if self._start is None and ".lora_A." in name:
                    drawn = torch.randn(parameter.shape, generator=generator) / self.config.r
                copy_part(parameter, drawn)

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
        return {name: part.weight for name, part in self._parts[adapter].items()}

    def check_before_backward(self) -> None:
        """With another adapter in force, autograd would drop every gradient of the policy without a word."""
        for layer, state in zip(self._layers, self._states, strict=True):
            if state["_disable_adapters"] or state["_active_adapter"] != ["policy"]:
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
        """Put a role in force.

        Writes what the layers' forward passes read. peft's own methods also flip requires_grad of every adapter, which
        takes much longer, and which would have to be undone: gradients are the policy's alone.
        """
        active = [role if role in self._parts else "policy"]
        for state in self._states:
            state["_disable_adapters"] = role not in self._parts
            state["_active_adapter"] = active


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


@torch.no_grad()
def copy_part(target: Tensor, whole: Tensor) -> None:
    """Copy what this process holds of a tensor that it has whole.

    Args:
        target: a parameter or a state of the optimiser, sharded or not.
        whole: of the same shape; equal in all processes.
    """
    if hasattr(target, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        layout: Any = target
        whole = whole.to(target.device)
        whole = distribute_tensor(whole, layout.device_mesh, layout.placements, src_data_rank=None)
    target.copy_(whole)
