"""The mutants: a fault each, in one place of the trainer, and the tests that have to notice it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "omninft_train"

_TESTS = "tests/omninft_train"
_ANCHORS = f"{_TESTS}/training/test_anchors.py"
_MINIATURE = f"{_ANCHORS}::test_three_outer_steps[miniature-as the release]"
_OTHERWISE = f"{_ANCHORS}::test_three_outer_steps[miniature-otherwise]"
_ADAPTERS = f"{_ANCHORS}::test_three_outer_steps[ltx2-as the release]"
_ROLES = f"{_TESTS}/training/test_roles.py"
_LOOP = f"{_TESTS}/training/test_trainer.py"
_NOT_PULLED = f"{_LOOP}::test_a_rollout_that_is_not_finite_is_not_pulled_to_the_reference"
_EVALUATING = f"{_TESTS}/training/test_evaluating.py"
_REWARD_HACKING = f"{_TESTS}/test_reward_hacking.py"
_STREAMING = f"{_TESTS}/test_streaming.py"
_CHOICES = f"{_TESTS}/test_choices.py"
_MARBLE, _ARR = f"{_TESTS}/method/test_marble.py", f"{_TESTS}/method/test_arr.py"
_BALANCED = f"{_TESTS}/training/test_marble_training.py::test_interrupted_and_resumed_is_the_same"
_RESPONSIVE = f"{_TESTS}/training/test_arr_training.py"
_SAVED = f"{_TESTS}/training/test_checkpoint.py"
_SUMS = f"{_TESTS}/method/test_advantages.py"
_TOGETHER = f"{_TESTS}/training/test_agreement.py"
_OVERLAP = f"{_TESTS}/rewards/test_overlap.py"
_OVERLAPPED = f"{_TESTS}/training/test_overlap_training.py"


@dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes:
        name: what is wrong.
        file: in the package.
        old, new: text that appears once in the file, and what it becomes.
        tests: those that are run, as pytest takes them.
        explained: why it may survive; empty where it has to be killed.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = (_MINIATURE,)
    explained: str = ""

    def applied(self, text: str) -> str:
        """The file with the fault.

        Raises:
            ValueError: the text to change is not there, or not there once.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"mutant '{self.name}': {self.old!r} appears {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)


_TRAINER, _EXPERIENCE, _TARGETS = "training/trainer.py", "training/experience.py", "training/targets.py"
_UPDATE, _POLICY, _ROLLOUT = "training/update.py", "models/policy.py", "training/rollout.py"
_LOSSES, _ADVANTAGES, _SURGERY = "method/losses.py", "method/advantages.py", "method/surgery.py"
_QUEUE = "rewards/overlap.py"
_REGIONS, _SCHEDULE, _HOOKS = "method/regions.py", "method/schedule.py", "models/hooks.py"

MUTANTS = (
    # The loop.
    Mutant("old policy never updated", _TRAINER, "    training.policy.update_old(keep)\n", ""),
    Mutant("eta off by one step", _TRAINER, "old_keep(step + 1)", "old_keep(step)"),
    Mutant(
        "loss takes the reference for old",
        _UPDATE,
        'old = policy.velocity("old", x_t, t, condition)',
        'old = policy.velocity("reference", x_t, t, condition)',
    ),
    Mutant("KL to old", _UPDATE, 'policy.velocity("reference", x_t', 'policy.velocity("old", x_t'),
    Mutant(
        "masks ignored",
        _UPDATE,
        "valid = (judged.video_valid[rows].to(device), judged.audio_valid[rows].to(device))",
        "valid = (torch.ones_like(t).bool(), torch.ones_like(t).bool())",
    ),
    Mutant(
        "r of the branches swapped",
        _UPDATE,
        "for r in (judged.video, judged.audio))",
        "for r in (judged.audio, judged.video))",
    ),
    Mutant(
        "masks of the branches swapped",
        _TARGETS,
        "        step_advantages.video_valid[mine],\n        step_advantages.audio_valid[mine],\n",
        "        step_advantages.audio_valid[mine],\n        step_advantages.video_valid[mine],\n",
    ),
    Mutant(
        "the same update noise every step",
        _UPDATE,
        "rollout_seed(config.run.seed, step, rollouts.index[row]",
        "rollout_seed(config.run.seed, 0, rollouts.index[row]",
    ),
    Mutant(
        "the same update noise for all levels",
        _UPDATE,
        "rollouts.index[row], 1_000_000 + level)",
        "rollouts.index[row], 1_000_000)",
    ),
    Mutant(
        "the same rollout noise every step",
        _EXPERIENCE,
        "rollout_seed(config.run.seed, step, i // size, i % size)",
        "rollout_seed(config.run.seed, 0, i // size, i % size)",
    ),
    Mutant(
        "the same noise for a whole group",
        _EXPERIENCE,
        "rollout_seed(config.run.seed, step, i // size, i % size)",
        "rollout_seed(config.run.seed, step, i // size, 0)",
    ),
    Mutant(
        "the same random levels every step",
        _UPDATE,
        "rollout_seed(config.run.seed, step, -1, -1)",
        "rollout_seed(config.run.seed, 0, -1, -1)",
    ),
    Mutant(
        "random levels taken for the first",
        _UPDATE,
        'if config.levels.choice == "first"',
        'if config.levels.choice != "first"',
    ),
    Mutant(
        "no gradient clipping",
        _UPDATE,
        "list(policy.trainable().values()), config.optimizer.max_norm)",
        "list(policy.trainable().values()), 1e9)",
    ),
    Mutant("KL not scaled by its coefficient", _LOSSES, "total + options.kl_coef * weigh", "total + weigh"),
    Mutant(
        "KL summed",
        _LOSSES,
        "options.kl_coef * weigh_branches(*kl, options)",
        "options.kl_coef * (kl[0] + kl[1])",
    ),
    Mutant(
        "KL of one stream twice",
        _UPDATE,
        "kl_loss(now.audio, reference.audio, t, options.kl_space)",
        "kl_loss(now.video, reference.video, t, options.kl_space)",
    ),
    Mutant("capture window ignored", _EXPERIENCE, "window=config.capture_window", "window=None"),
    Mutant(
        "wrong groups in the advantages",
        _TARGETS,
        "torch.arange(config.prompts.rollouts) // config.prompts.group_size",
        "torch.arange(config.prompts.rollouts) % config.prompts.groups",
    ),
    Mutant(
        "rollouts of the wrong prompts", _EXPERIENCE, "[chosen[i // size] for i in index]", "[chosen[0] for i in index]"
    ),
    Mutant(
        "rollouts without guidance",
        _EXPERIENCE,
        "guidance=config.sampling.guidance",
        "guidance=type(config.sampling.guidance)(1.0, 1.0, 0.0)",
    ),
    Mutant("rollouts of the policy", _EXPERIENCE, 'policy,\n        "old",', 'policy,\n        "policy",'),
    Mutant("token weights ignored", _UPDATE, "r_video, tokens, options)", "r_video, None, options)"),
    Mutant(
        "region warm-up off by one step",
        _TARGETS,
        "frames, config.regions.weights, step)",
        "frames, config.regions.weights, step + 1)",
    ),
    Mutant("surgery never on", _UPDATE, "training.surgery if operate else None", "None"),
    Mutant("mean over this many pairs too few", _UPDATE, "losses.sum() / count", "losses.mean()"),
    Mutant(
        "gradients of a probe are kept",
        _UPDATE,
        "    training.optimizer.zero_grad(set_to_none=True)\n    chosen",
        "    chosen",
    ),
    Mutant("noise and clip swapped", _UPDATE, "((1 - level) * a + level * b for", "(level * a + (1 - level) * b for"),
    Mutant(
        "advantages clipped elsewhere",
        _TARGETS,
        "optimality(step_advantages.video[mine], clip)",
        "optimality(step_advantages.video[mine])",
    ),
    # What the loop is put together from.
    Mutant("no weight decay", "training/assemble.py", "weight_decay=section.weight_decay", "weight_decay=0.0"),
    Mutant("betas of Adam ignored", "training/assemble.py", "        betas=section.betas,\n", ""),
    Mutant(
        "noise levels by actual instead of anchored tokens",  # those of the miniature
        _SCHEDULE,
        "math.exp(_SHIFT)",
        "math.exp(0.95 + 1.1 * (64 - 1024) / (4096 - 1024))",
    ),
    Mutant("alpha of adapters is their rank", "models/lora.py", "lora_alpha=alpha", "lora_alpha=rank", (_ADAPTERS,)),
    # The policies.
    Mutant("policy and keep swapped in old", _POLICY, "_local(now[name]), 1 - keep)", "_local(now[name]), keep)"),
    Mutant(
        "old adapter is the policy's",
        _POLICY,
        'active = [role if role in self._parts else "policy"]',
        'active = ["policy"]',
        (_ADAPTERS,),
    ),
    Mutant(
        "reference with the policy's adapter",
        _POLICY,
        'state["_disable_adapters"] = role not in self._parts',
        'state["_disable_adapters"] = False',
        (_ADAPTERS,),
    ),
    Mutant(
        "reference without the LoRA that was started from",
        _POLICY,
        'adapters = ("policy", "old") if start is None else ROLES',
        'adapters = ("policy", "old")',
        ("tests/omninft_train/models/test_policy.py",),
    ),
    Mutant("old network is the reference's", _POLICY, '"old": copies[0]', '"old": copies[1]'),
    Mutant(
        "skipped blocks not handed on",
        _POLICY,
        "t, condition, skip_blocks=skip_blocks)",
        "t, condition, skip_blocks=())",
    ),
    # Sampling.
    Mutant("guidance of one stream for both", _ROLLOUT, "(guidance.audio - 1)", "(guidance.video - 1)"),
    Mutant("guidance not less one", _ROLLOUT, "video + (guidance.video - 1)", "video + guidance.video"),
    Mutant(
        "STG on one stream only",
        _ROLLOUT,
        "        audio = audio + guidance.stg * (base.audio - away.audio)\n",
        "",
    ),
    Mutant("STG without skipped blocks", _ROLLOUT, "_Call(condition, guidance.stg_blocks)", "_Call(condition)"),
    Mutant("negative prompt is the prompt", _ROLLOUT, "_Call(_expanded(negative, batch))", "_Call(condition)"),
    Mutant(
        "last step of the window left out",
        _ROLLOUT,
        "self.first <= step <= self.last",
        "self.first <= step < self.last",
    ),
    Mutant("all passes collected", _ROLLOUT, '(self.passes == "all" or name == "conditional")', "True"),
    Mutant(
        "first pass alone of all",
        _ROLLOUT,
        '(self.passes == "all" or name == "conditional")',
        'name == "conditional"',
        (_OTHERWISE,),
    ),
    Mutant(
        "Euler step by velocity of no guidance",
        _ROLLOUT,
        "ratio * (x.audio - x0.audio)",
        'ratio * (x.audio - clean["conditional"].audio)',
    ),
    # Advantages.
    Mutant("optimality without its half", _ADVANTAGES, "/ (2 * clip) + 0.5)", "/ (2 * clip))"),
    Mutant(
        "routes ignored",
        _ADVANTAGES,
        "Masked(terms.values * counted, terms.valid | ~counted)",
        "Masked(terms.values, terms.valid | ~counted)",
    ),
    Mutant(
        "rewards of both modalities in no branch",
        _ADVANTAGES,
        'route in (branch, "both") for route in routes',
        "route == branch for route in routes",
    ),
    Mutant(
        "a branch without a reward pulled to the old policy",
        _ADVANTAGES,
        "video.valid & rewarded[0], audio.valid & rewarded[1]",
        "video.valid, audio.valid",
        (f"{_TESTS}/method/test_advantages.py",),
    ),
    Mutant(
        "reward weights ignored",
        _ADVANTAGES,
        "Masked(per_reward * weights, rewards.valid",
        "Masked(per_reward, rewards.valid",
    ),
    Mutant(
        "mean of the step instead of the group",
        _ADVANTAGES,
        "(chosen - chosen.mean())",
        "(chosen - values[valid].mean())",
    ),
    Mutant(
        "failed rewards in the statistics",
        _ADVANTAGES,
        "members = (groups == group) & valid",
        "members = groups == group",
    ),
    Mutant(
        "std always of the step",
        _ADVANTAGES,
        'chosen if options.std == "group" else values[valid]',
        "values[valid]",
        (_OTHERWISE,),
    ),
    Mutant("std always of the group", _ADVANTAGES, 'chosen if options.std == "group" else values[valid]', "chosen"),
    Mutant("sample std for population std", _ADVANTAGES, ".std(correction=0)", ".std()"),
    Mutant("weight 0 still masks", _ADVANTAGES, "rewards.valid | (weights == 0)", "rewards.valid"),
    Mutant("any valid reward will do", _ADVANTAGES, "terms.valid.all(dim=1)", "terms.valid.any(dim=1)"),
    # Losses.
    Mutant("mix of x+ ignores beta", _LOSSES, "plus = beta * now + (1 - beta) * old", "plus = now"),
    Mutant("mix of x- ignores beta", _LOSSES, "(1 + beta) * old - beta * now", "2 * old - now"),
    Mutant("plus and minus swapped", _LOSSES, "positive = r[:, None]", "positive = 1 - r[:, None]"),
    Mutant("no factor A_max / beta", _LOSSES, "options.advantage_clip / beta if", "1.0 if"),
    Mutant("factor without beta", _LOSSES, "options.advantage_clip / beta if", "options.advantage_clip if"),
    Mutant("weights let gradients through", _LOSSES, "residual if options.adaptive_weight_grad", "residual if True"),
    Mutant(
        "weights never let gradients through",
        _LOSSES,
        "residual if options.adaptive_weight_grad",
        "residual if False",
        (_OTHERWISE,),
    ),
    Mutant("weighted sum not normalised", _LOSSES, ".sum(dim=1) / weights.sum(dim=1)", ".mean(dim=1)"),
    Mutant("KL on velocities alone", _LOSSES, 'mean * t.square() if space == "x0" else mean', "mean"),
    Mutant(
        "KL on clean estimates alone",
        _LOSSES,
        'mean * t.square() if space == "x0" else mean',
        "mean * t.square()",
        (_OTHERWISE,),
    ),
    Mutant(
        "branch weights ignored",
        _LOSSES,
        "options.video_weight * video + options.audio_weight * audio",
        "video + audio",
        (_OTHERWISE,),
    ),
    Mutant("always the mean of branches", _LOSSES, 'if options.branches == "mean" else total', "", (_OTHERWISE,)),
    Mutant(
        "residuals always of clean estimates",
        _LOSSES,
        'if space == "x0":\n        return branch',
        "if True:\n        return branch",
        (_OTHERWISE,),
    ),
    # Surgery and hooks.
    Mutant("all of the gradient passes", _SURGERY, "gradient * ctx.keep), None", "gradient), None"),
    Mutant("the other share passes", _SURGERY, "gradient * ctx.keep), None", "gradient * (1 - ctx.keep)), None"),
    Mutant(
        "first rule wins",
        _SURGERY,
        "        for block in _blocks(rule.blocks, depth):\n",
        "        for block in [b for b in _blocks(rule.blocks, depth) if keep[b] == 1]:\n",
        (f"{_TESTS}/method",),
    ),
    Mutant(
        "last block of a range left out",
        _SURGERY,
        "int(last or first) + 1)",
        "int(last or first) + (not last))",
        (f"{_TESTS}/method",),
    ),
    Mutant("context instead of keys and values", _HOOKS, 'if self.where == "context":', "if True:", (_OTHERWISE,)),
    Mutant("keys alone are scaled", _HOOKS, 'for name in ("to_k", "to_v"):', 'for name in ("to_k",):', (_OTHERWISE,)),
    Mutant(
        "the other direction",
        _HOOKS,
        "attention_modules(transformer, direction)\n        if",
        'attention_modules(transformer, "v2a" if direction == "a2v" else "a2v")\n        if',
    ),
    Mutant(
        "sums not normalised by passes",
        _HOOKS,
        "self._sum / self._count",
        "self._sum",
        (f"{_TESTS}/models/test_hooks.py", _OTHERWISE),
    ),
    Mutant("rotary embedding left out", _HOOKS, "if self._rope else (None, None)", "if False else (None, None)"),
    Mutant(
        "attention of an earlier step remains",
        _HOOKS,
        "        self._sum, self._count = None, 0\n        return scores",
        "        return scores",
    ),
    # Region weights.
    Mutant("sigmoid over the clip", _REGIONS, "_sigmoid(by_frame, maximum)", "_sigmoid(scores[:, None], maximum)"),
    Mutant("sigmoid not stretched", _REGIONS, "torch.sigmoid((maximum - 1) * z)", "torch.sigmoid(z)"),
    Mutant("region warm-up ignored", _REGIONS, "min(step / warmup_steps, 1.0)", "1.0"),
    Mutant(
        "least weight is 0",
        _REGIONS,
        "return 1 + (maximum - 1) * minmax(scores)",
        "return (maximum - 1) * minmax(scores)",
        (_OTHERWISE,),
    ),
    Mutant(
        "largest weight by frame",
        _REGIONS,
        "return 1 + (maximum - 1) * minmax(scores)",
        "return 1 + (maximum - 1) * minmax(by_frame).flatten(1)",
        (_OTHERWISE,),
    ),
    # Schedules.
    Mutant("levels not stretched", _SCHEDULE, "if steps > 1:", "if False:"),
    Mutant(
        "random levels the same for all",
        _SCHEDULE,
        "return [sorted(torch.randperm(count, generator=generator)[:size].tolist()) for _ in range(rollouts)]",
        "return [sorted(torch.randperm(count, generator=generator)[:size].tolist())] * rollouts",
    ),
    Mutant("eta ten times as fast", _SCHEDULE, "min(0.001 * updates, 0.5)", "min(0.01 * updates, 0.5)"),
    # Sampling and judging a finished run.
    Mutant("--role of sample ignored", "cli/sample.py", "        role=role,\n", '        role="policy",\n', (_ROLES,)),
    Mutant(
        "--role of evaluate ignored",
        "cli/evaluate.py",
        "Generation(role, samples",
        'Generation("policy", samples',
        (_ROLES,),
    ),
    Mutant(
        "role of a generation ignored", "generate.py", "            how.role,\n", '            "policy",\n', (_ROLES,)
    ),
    Mutant(
        "old policy is not loaded",
        "generate.py",
        'policy.load(now, loaded.tensors.get("old", now))',
        "policy.load(now, now)",
        (_ROLES,),
    ),
    Mutant(
        "the same noise for all samples",
        "generate.py",
        "clip_seed(how.seed, job.prompt, job.sample)",
        "clip_seed(how.seed, job.prompt, 0)",
        (_ROLES,),
    ),
    Mutant(
        "seed of a generation ignored",
        "generate.py",
        "clip_seed(how.seed, job.prompt, job.sample)",
        "clip_seed(0, job.prompt, job.sample)",
        (_ROLES,),
    ),
    Mutant(
        "clips without guidance",
        "generate.py",
        "            guidance=how.guidance,\n",
        "            guidance=Guidance(1.0, 1.0, 0.0),\n",
        (_ROLES,),
    ),
    Mutant("steps of a generation ignored", "generate.py", "ltx2_levels(how.steps)", "ltx2_levels(4)", (_ROLES,)),
    Mutant(
        "clips of the wrong prompts",
        "generate.py",
        "[prompts[job.prompt].prompt_av for job in batch]",
        "[prompts[0].prompt_av for job in batch]",
        (_ROLES,),
    ),
    # Evaluation while training.
    Mutant(
        "evaluations sample the old policy",
        "training/evaluating.py",
        'Generation("policy", section',
        'Generation("old", section',
        (_EVALUATING,),
    ),
    Mutant(
        "held-out metrics are compared without regard to how often",
        "reward_hacking.py",
        "fallen = change(before, after, name, level)",
        "fallen = change(before, after, name)",
        (_REWARD_HACKING,),
    ),
    Mutant("processes make unequal numbers of passes", "generate.py", "(-len(jobs) % world.size)", "0", (_STREAMING,)),
    Mutant("a score without its clip is done", "judging.py", " if is_written(clips / job.file)}", "}", (_EVALUATING,)),
    Mutant("scores of other texts kept", "judging.py", "texts_digest(prompts)}", "str(len(prompts))}", (_EVALUATING,)),
    Mutant("actors end before all have judged", "judging.py", "world.barrier()", "pass", (_EVALUATING,)),
    Mutant(
        "a clip that failed left out of the best",
        "training/best.py",
        "worst if value is None else value for value in values[step]",
        "value for value in values[step] if value is not None",
        (_EVALUATING,),
    ),
    Mutant(
        "other clips compared for the best", "training/best.py", "if one.pairs_with(newest)", "if one", (_EVALUATING,)
    ),
    Mutant(
        "losses logged of rollouts left out",
        _UPDATE,
        "torch.where(ok, branch.loss, 0.0)",
        "branch.loss",
        (f"{_TESTS}/training/test_trainer.py::test_logged_losses_add_up_where_rewards_failed[gdpo]",),
    ),
    # Rewards weighed by their gradients.
    Mutant("every step solves", "training/weighting.py", "step - self._solved >= options.every", "True", (_BALANCED,)),
    Mutant(
        "a run that goes on solves anew",
        "training/weighting.py",
        "list(alphas) == self._names()",
        "False",
        (_BALANCED,),
    ),
    Mutant(
        "gradients have a say in the warm-up",
        "training/weighting.py",
        "balanced is not None and step >= self._options.warmup_steps",
        "balanced is not None",
        (_RESPONSIVE,),
    ),
    Mutant(
        "gradients through both branches",
        "training/weighting.py",
        "branches=(branch,), token_weights=False",
        "token_weights=False",
        (_RESPONSIVE,),
    ),
    Mutant(
        "long gradients count more",
        "method/marble.py",
        "(gram / norms / norms[:, None])[valid]",
        "gram[valid]",
        (_MARBLE,),
    ),
    Mutant(
        "the step has no gradient's norm",
        "method/marble.py",
        "weights[valid] * (norms[valid].mean() / norms[valid])",
        "weights[valid] / norms[valid]",
        (_MARBLE,),
    ),
    Mutant(
        "smoothing the other way round",
        "method/marble.py",
        "smoothing * previous + (1 - smoothing) * weights",
        "(1 - smoothing) * previous + smoothing * weights",
        (_MARBLE,),
    ),
    Mutant(
        "responses are not clipped",
        "method/arr.py",
        "by_part.clamp(max=by_part.quantile(_PERCENTILE, dim=-1, keepdim=True))",
        "by_part",
        (_ARR,),
    ),
    Mutant("the least response passes all", "method/arr.py", "(1 - (1 - (scores", "((1 - (scores", (_ARR,)),
    Mutant(
        "balanced weights keep their sum",
        "method/arr.py",
        "kappa * prior.sum() * balanced",
        "kappa * balanced",
        (_ARR,),
    ),
    # Sums of a modality.
    Mutant(
        "sums of a modality are not normalised",
        _ADVANTAGES,
        "Masked(normalised(Masked(total[:, None], whole[:, None]), groups, options)[:, 0], whole)",
        "Masked(total, whole)",
        (_SUMS,),
    ),
    Mutant(
        "a failure stays in the statistics of its modality",
        _ADVANTAGES,
        "(rewards.valid | ~used).all(dim=1)",
        "(rewards.valid | ~used).any(dim=1)",
        (_SUMS,),
    ),
    # Processes and checkpoints.
    Mutant(
        "rows by process, not by index",
        "training/distributed.py",
        "torch.stack(parts, dim=1).flatten(0, 1).cpu()",
        "torch.cat(parts).cpu()",
        (_TOGETHER,),
    ),
    Mutant(
        "gradients are not added up",
        "training/distributed.py",
        "                dist.all_reduce(tensor)\n",
        "                pass\n",
        (_TOGETHER,),
    ),
    Mutant(
        "damage is not noticed",
        "training/checkpoint.py",
        'if meta["format"] != 1 and _file_digest(path) != part.get(_DIGEST):',
        "if False:",
        (_SAVED,),
    ),
    Mutant(
        "the optimiser counts anew",
        "training/checkpoint.py",
        "return value.cpu().clone()",
        "return torch.zeros_like(value.cpu())",
        (_SAVED,),
    ),
    # What a finished run is asked for.
    Mutant("values of the first metric for all", "evaluate.py", "row.values[number]", "row.values[0]", (_ROLES,)),
    Mutant(
        "held-out metrics count as rewards", "evaluate.py", "Metric(spec.weight != 0,", "Metric(True,", (_EVALUATING,)
    ),
    Mutant(
        "--step of sample ignored", "cli/sample.py", "number = step_number(run, step)", "number = None", (_CHOICES,)
    ),
    Mutant(
        "--step of evaluate ignored", "cli/evaluate.py", "number = step_number(run, step)", "number = None", (_CHOICES,)
    ),
    Mutant(
        "--step of conflicts ignored",
        "cli/conflicts.py",
        "number = step_number(run, step)",
        "number = None",
        (_CHOICES,),
    ),
    Mutant("--step of export ignored", "cli/export.py", "step_number(run, step))", "None)", (_CHOICES,)),
    Mutant(
        "--role of conflicts ignored",
        "cli/conflicts.py",
        "Generation(role, size",
        'Generation("policy", size',
        (_CHOICES,),
    ),
    Mutant(
        "--seed of conflicts ignored",
        "cli/conflicts.py",
        "config.run.seed if seed is None else seed",
        "config.run.seed",
        (_CHOICES,),
    ),
    Mutant(
        "the last levels for the first",
        _SCHEDULE,
        "list(range(int(fraction * count)))",
        "list(range(count))[-int(fraction * count) :]",
        (_OTHERWISE,),
    ),
    # Rewards while others are sampled.
    Mutant(
        "clips are judged one part after the other",
        _QUEUE,
        "            if future.done():\n                future.result()",
        "            future.result()",
        (_OVERLAP,),
    ),
    Mutant(
        "clips that fill no group are lost",
        _QUEUE,
        "        if self._held:\n            self._submit(len(self._held))\n",
        "",
        (_OVERLAP,),
    ),
    Mutant("no bound on clips that wait", _QUEUE, ">= _WAITING * self._rewards.workers", ">= 1000", (_OVERLAP,)),
    Mutant(
        "networks are loaded while others are sampled",
        _QUEUE,
        "first = self._pool is None",
        "first = False",
        (_OVERLAP,),
    ),
    Mutant(
        "clips of a step that failed remain",
        _QUEUE,
        "        self._held, self._futures = [], []\n\n    def close",
        "\n    def close",
        (_OVERLAP,),
    ),
    Mutant(
        "rollouts that are not finite are judged as they are",
        _EXPERIENCE,
        "sampled.map(lambda part: part.masked_fill(bad[:, None, None], 0.0)), ~bad",
        "sampled, ~bad",
        (f"{_LOOP}::test_a_rollout_that_is_not_finite_moves_nothing",),
    ),
    Mutant(
        "rollouts that are not finite are trained on",
        _UPDATE,
        " if rollouts.finite[row] for level",
        " for level",
        (_NOT_PULLED,),
    ),
    Mutant("the pass of a process without rollouts counts", _UPDATE, "float(bool(batch))", "1.0", (_NOT_PULLED,)),
    Mutant(
        "clips judged meanwhile are those of other prompts",
        _EXPERIENCE,
        "overlap.add(training.backbone.decode(sampled), prompts[rows]",
        "overlap.add(training.backbone.decode(sampled), prompts[: len(sampled)]",
        (_OVERLAPPED,),
    ),
)
