"""The steps of an ablation: what each runs, what it needs, what it leaves, and the digest that says what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omninft_train.ablation.grid import Evaluation, Grid, Variant
from omninft_train.ablation.prompt_files import evaluated_count, prompt_metadata
from omninft_train.ablation.variants import pretrain_arguments, rollouts, training_arguments
from omninft_train.training import tracking

Kind = Literal["prompts", "pretrain", "train", "generate", "score", "evaluate"]
KINDS: tuple[Kind, ...] = ("prompts", "pretrain", "train", "generate", "score", "evaluate")
TABLES = "tables"
EVALUATION, RUN = "evaluation.json", "run"
METRICS = f"{RUN}/{tracking.METRICS}"


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        id: in words, such as "train routing seed 2".
        folder: below the ablation's folder; holds its record, its log and its outputs.
        record: name of the record, without ".json".
        command: with placeholders "{out}" and "{python}"; empty for what is done in this process.
        outputs: files below `folder` that it leaves.
        settings: everything that its outcome depends on, but for other steps; "facts" in its record.
        needs: ids of steps that must be complete first.
        digest: over settings, trainer and digests of other steps. 16 hexadecimal digits.
        amount: how much there is to do, in the unit of its kind.
        seconds: that it is expected to take, before anything was measured.
    """

    id: str
    kind: Kind
    variant: str
    seed: int | None
    folder: str
    record: str
    command: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]
    needs: tuple[str, ...]
    digest: str
    amount: float
    seconds: float


def make_steps(grid: Grid, resolved: Mapping[str, Mapping[str, Any]], pretraining: str = "") -> list[Step]:
    """All steps for the variants of the tables, in an order in which they can run.

    Args:
        grid: the ablation.
        resolved: configuration of each variant that is trained.
        pretraining: name of the folder of the pretraining; empty where there is none.

    Raises:
        UsageError: nothing is trained, so nothing can say what the base policy does.
    """
    plan = _Plan(grid, resolved, pretraining)
    chosen = [name for name in grid.used if grid.variants[name].recipe]
    bases = [name for name in grid.used if not grid.variants[name].recipe]
    if not chosen:
        raise grid.refuse(
            "no variant is trained. The base policy is sampled from a run's reference: add a variant with a recipe.",
            ("variant",),
        )
    for seed in grid.seeds:
        for name in chosen:
            plan.train(grid.variants[name], seed)
        for name in bases:
            plan.judge(grid.variants[name], seed, chosen[0])
        for name in chosen:
            plan.judge(grid.variants[name], seed, name)
    return plan.steps


def canonical(value: Any) -> Any:
    """The same value for 0 and 0.0, which a configuration may write either way."""
    if isinstance(value, Mapping):
        return {key: canonical(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _generation(how: Evaluation) -> dict[str, Any]:
    """What clips depend on besides the policy and the noise."""
    own = {"samples": how.samples, "steps": how.steps}
    return own | ({"guidance": list(how.guidance)} if how.guidance else {})


def seed_folder(variant: str, seed: int) -> str:
    """Folder of a variant's seed, below the ablation's."""
    return f"runs/{variant}/seed-{seed}"


class _Plan:
    """Steps that were made so far."""

    def __init__(self, grid: Grid, resolved: Mapping[str, Mapping[str, Any]], pretraining: str) -> None:
        self.grid = grid
        self.resolved = resolved
        self.steps: list[Step] = []
        self._digests: dict[str, str] = {}
        self._base = grid.base.path or f"{{out}}/base/{pretraining}"
        self._prompts = bool(grid.evaluation.prompts or grid.train_prompts)
        if self._prompts:
            settings = prompt_metadata(grid)
            parts = [f"evaluate-{part:02d}.jsonl" for part in range(grid.evaluation.parts)]
            outputs = (*(["train.jsonl"] if grid.train_prompts else []), *(parts if grid.evaluation.prompts else []))
            self._add("prompts", "prompts", "prompts", outputs, settings)
        if not grid.base.path:
            self._pretrain(pretraining)

    def _add(
        self, kind: Kind, step_id: str, folder: str, outputs: Sequence[str], settings: Mapping[str, Any], **more: Any
    ) -> None:
        needs, amount = tuple(more.get("needs", ())), float(more.get("amount", 0))
        inputs = [self._digests[name] for name in more.get("inputs", needs)]
        trainer = {"version": self.grid.trainer.version, "backbone": self.grid.trainer.backbone}
        content = {"kind": kind, "facts": settings, "inputs": inputs, "trainer": trainer}
        digest = hashlib.sha256(json.dumps(canonical(content), sort_keys=True).encode()).hexdigest()[:16]
        self._digests[step_id] = digest
        self.steps.append(
            Step(
                step_id, kind, more.get("variant", ""), more.get("seed"), folder, more.get("record", kind),
                tuple(more.get("command", ())), tuple(outputs), settings, needs, digest, amount,
                self._seconds(kind, amount),
            )
        )  # fmt: skip

    def _seconds(self, kind: Kind, amount: float) -> float:
        cost = self.grid.cost
        each = {
            "pretrain": cost.pretrain_step, "train": cost.train_rollout, "evaluate": cost.clip, "generate": cost.clip,
            "score": cost.score_clip,
        }.get(kind, 0.0)  # fmt: skip
        return cost.start + each * amount

    def _pretrain(self, name: str) -> None:
        base = self.grid.base
        command = [*self.grid.trainer.command, *pretrain_arguments(self.grid), "--out", "{out}/base"]
        settings = {"steps": base.pretrain_steps, "seed": base.pretrain_seed, "name": name}
        amount = base.pretrain_steps or self.grid.cost.pretrain_steps
        self._add("pretrain", "pretrain", "base", (), settings, command=command, amount=amount)

    def _base_needs(self) -> tuple[str, ...]:
        return () if self.grid.base.path else ("pretrain",)

    def train(self, variant: Variant, seed: int) -> None:
        """The step that trains a variant with a seed."""
        grid, config = self.grid, self.resolved[variant.name]
        sets: dict[str, Any] = {"backbone.path": self._base, "run.seed": seed}
        needs = self._base_needs()
        if grid.train_prompts:
            sets["prompts.path"] = "{out}/prompts/train.jsonl"
            needs += ("prompts",)
        folder = seed_folder(variant.name, seed)
        command = [
            *(grid.trainer.launch or grid.trainer.command), "train", "--out", f"{{out}}/{folder}/{RUN}",
            *training_arguments(grid, variant, sets),
        ]  # fmt: skip
        settings = {"config": config, "seed": seed, "base": grid.base.path}
        self._add(
            "train", f"train {variant.name} seed {seed}", folder, (METRICS,), settings, variant=variant.name, seed=seed,
            needs=needs, command=command, amount=rollouts(config),
        )  # fmt: skip

    def judge(self, variant: Variant, seed: int, run_of: str) -> None:
        """Steps that sample a variant and judge it; the base policy is the reference of another variant's run."""
        run = f"{{out}}/{seed_folder(run_of, seed)}/{RUN}"
        trained = f"train {run_of} seed {seed}"
        needs: tuple[str, ...] = (trained, *(("prompts",) if self.grid.evaluation.prompts else ()))
        config = self.resolved[run_of]
        settings: dict[str, Any] = {"role": "policy" if variant.recipe else "reference"}
        # The base policy does not depend on the run that it is taken from, only on how it is judged there.
        if not variant.recipe:
            settings |= {
                "base": self.grid.base.path,
                "sampling": config.get("sampling"),
                "rewards": config.get("rewards"),
            }
            inputs = (*self._base_needs(), *needs[1:])
        else:
            inputs = needs
        more = {"variant": variant.name, "seed": seed, "needs": needs, "inputs": inputs}
        if self.grid.evaluation.judge == "trainer":
            self._evaluate(run, settings, more)
        else:
            self._generate_and_score(run, settings, more)

    def _evaluate(self, run: str, settings: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        how = self.grid.evaluation
        folder = seed_folder(more["variant"], more["seed"])
        command = [*self.grid.trainer.command, "evaluate", run, "--out", f"{{out}}/{folder}/{EVALUATION}"]
        if how.prompts:
            command += ["--prompts", "{out}/prompts/evaluate-00.jsonl"]
        command += self._sampling(settings, how.seed + more["seed"])
        step_settings = {**settings, **_generation(how), "seed": how.seed + more["seed"]}
        name = f"evaluate {more['variant']} seed {more['seed']}"
        amount = evaluated_count(self.grid) * how.samples
        self._add("evaluate", name, folder, (EVALUATION,), step_settings, command=command, amount=amount, **more)

    def _sampling(self, settings: Mapping[str, Any], seed: int) -> list[str]:
        how = self.grid.evaluation
        arguments = ["--samples", str(how.samples), "--seed", str(seed), "--role", str(settings["role"])]
        arguments += ["--steps", str(how.steps)] if how.steps else []
        return arguments + (["--guidance", *map(str, how.guidance)] if how.guidance else [])

    def _generate_and_score(self, run: str, settings: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        how, folder = self.grid.evaluation, seed_folder(more["variant"], more["seed"])
        amount = evaluated_count(self.grid) * how.samples / how.parts
        for part in range(how.parts):
            tail = f" part {part + 1} of {how.parts}" if how.parts > 1 else ""
            # Parts get noise of their own: the trainer counts prompts from the start of each file.
            seed = (how.seed + more["seed"]) * how.parts + part
            clips, scores = f"clips-{part:02d}", f"scores-{part:02d}"
            command = [
                *self.grid.trainer.command, "sample", run, "--out", f"{{out}}/{folder}/{clips}",
                "--prompts", f"{{out}}/prompts/evaluate-{part:02d}.jsonl", *self._sampling(settings, seed),
            ]  # fmt: skip
            step_settings = {**settings, **_generation(how), "seed": seed, "part": [part, how.parts]}
            name = f"generate {more['variant']} seed {more['seed']}{tail}"
            self._add(
                "generate", name, folder, (f"{clips}/manifest.csv",), step_settings, command=command, amount=amount,
                record=f"generate-{part:02d}", **more,
            )  # fmt: skip
            command = [
                "{python}", "-m", "avbench", "score", f"{{out}}/{folder}/{clips}/manifest.csv",
                "--out", f"{{out}}/{folder}/{scores}", "--metrics", ",".join(how.metrics), "--quiet", *how.options,
            ]  # fmt: skip
            judged = {"metrics": list(how.metrics), "options": list(how.options)}
            common = {"variant": more["variant"], "seed": more["seed"], "needs": (name,)}
            self._add(
                "score", name.replace("generate", "score", 1), folder, (f"{scores}/scores.parquet",), judged,
                command=command, amount=amount, record=f"score-{part:02d}", **common,
            )  # fmt: skip
