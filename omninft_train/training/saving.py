"""Checkpoints of a run: the step that it goes on from, and what is kept after each one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from omninft_train.errors import UsageError
from omninft_train.models.loading import sharing_node
from omninft_train.models.policy import Policy
from omninft_train.training import checkpoint
from omninft_train.training.agreement import last_checkpoint
from omninft_train.training.best import best_policy, by_evaluations, without_pairs
from omninft_train.training.distributed import TIMEOUT
from omninft_train.training.state import Training

_LOG = logging.getLogger(__name__)


def resume(training: Training) -> int:
    """Load the checkpoint that all processes agree on, if any; the step to go on with.

    Raises:
        UsageError: the folder has policies of a run and no checkpoint. A start would clear its log and evaluations.
    """
    folder = last_checkpoint(training.out, training.world)
    if folder is None:
        kept: Any = training.world.gather_objects(sorted(checkpoint.policies(training.out)))[0]
        if kept:
            raise UsageError(
                f"{training.out} has policies of steps {', '.join(map(str, kept))} and no checkpoint to go on from. "
                "Train in another folder (--out), or delete this one."
            )
        return 0
    backbone, policy, world = training.backbone, training.policy, training.world
    with sharing_node(world.node_size, world.device, TIMEOUT) as node:
        loaded = checkpoint.load(folder, backbone.kind, backbone.digest, node)
        check_start(loaded, policy)
        policy.load(loaded.part("policy"), loaded.part("old"))
        checkpoint.load_optimizer(training.optimizer, policy.trainable(), loaded.part("optimizer"))
    training.weighting.load(loaded.meta.get("weighting", {}))
    return loaded.step


def check_start(loaded: checkpoint.Checkpoint, policy: Policy) -> None:
    """Make sure that a checkpoint began as the policy did: its reference is not in it.

    Raises:
        UsageError: it began as another LoRA.
    """
    if loaded.meta.get("start", "") != policy.start:
        raise UsageError(
            f"{loaded.path}: the run was not started from the file that policy.init names now. Name that one again, "
            "unchanged, or choose another run folder (--out)."
        )


def save(training: Training, step: int) -> None:
    """Write a checkpoint after `step` optimiser steps; the first process holds it whole, others a tensor at a time."""
    policy, trained = training.policy, training.policy.trainable()
    parts: dict[str, Mapping[str, Tensor]] = {
        "policy": trained,
        "old": policy.old(),
        "optimizer": checkpoint.optimizer_tensors(training.optimizer, trained),
    }
    tensors = {name: policy.full(part, keep=training.world.is_main) for name, part in parts.items()}
    meta = {
        "backbone": training.backbone.kind,
        "backbone_digest": training.backbone.digest,
        "start": policy.start,
        "config": asdict(training.config),
        "network": _described(policy.transformer("policy")),
        "weighting": training.weighting.state(),
    }
    if training.world.is_main:
        checkpoint.save(training.out, step, tensors, meta, keep=training.config.run.keep_checkpoints)
        _drop_policies(training)
    training.world.barrier()


def _drop_policies(training: Training) -> None:
    run = training.config.run
    if run.keep_policies == "best" and run.best_by is not None:
        try:
            best = best_policy(training.out, run.best_by, run.save_every)
        except UsageError as error:  # a value that was never logged is no reason to lose a run, nor its policies
            # Before the first evaluation of a saved policy there is nothing to choose by yet.
            level = logging.DEBUG if by_evaluations(run.best_by) else logging.WARNING
            _LOG.log(level, "all policies are kept: %s", error)
            return
        checkpoint.drop_policies(training.out, {best, *without_pairs(training.out, run.best_by)})


def _described(network: Any) -> dict[str, Any]:
    """Configuration of a network of diffusers, as its own config.json, without where it was loaded from."""
    content: dict[str, Any] = json.loads(network.to_json_string())
    return {key: value for key, value in content.items() if key != "_name_or_path"}
