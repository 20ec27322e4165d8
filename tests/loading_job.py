"""Job of joined processes: load a tiny pipeline of LTX-2, as test_loading does in one process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from tiny_pipeline import PROMPT_TOKENS, tiny_section
from torch import Tensor

from omninft_train.models import loading
from omninft_train.models.ltx2 import Ltx2Backbone
from omninft_train.models.policy import ROLES, FullPolicy, LoraPolicy, Policy
from omninft_train.models.shard import make_mesh, shard
from omninft_train.training.distributed import World


def load_in_shares(job: Mapping[str, Any], world: World) -> None:
    """Load; leave all weights, gathered, how many files were opened here, and whether nodes are alike."""
    pipeline = Path(job["pipeline"])
    with mock.patch.object(loading, "safe_open", wraps=loading.safe_open) as opened:
        policy = tiny_policy(pipeline, Path(job["cache"]), job["dtype"], job["parameters"], empty=True)
        if job["shards"] > 1:
            shard(policy, make_mesh("cpu", job["shards"]))
        loading.load_policy(policy, pipeline / "transformer", "cpu", world.node_size)
    found = {"weights": weights_of(policy), "opened": opened.call_count, "alike": world.alike}
    torch.save(found, f"{job['out']}-{world.rank}.pt")


def tiny_policy(pipeline: Path, cache: Path, dtype: Any, parameters: str, *, empty: bool) -> Policy:
    """A policy on a tiny pipeline of LTX-2."""
    section = tiny_section(pipeline, cache, dtype=dtype)
    backbone = Ltx2Backbone.load(section, "cpu", prompt_tokens=PROMPT_TOKENS, empty=empty)
    if parameters == "full":
        return FullPolicy(backbone.transformer, backbone.geometry)
    return LoraPolicy(backbone.transformer, backbone.geometry, rank=4, alpha=8, seed=3)


def weights_of(policy: Policy) -> dict[str, Tensor]:
    """Everything that each role's network holds."""
    return {
        f"{role}/{name}": tensor
        for role in (ROLES if isinstance(policy, FullPolicy) else ROLES[:1])  # adapters lie in one network
        for name, tensor in policy.full(dict(policy.transformer(role).named_parameters())).items()
    }
