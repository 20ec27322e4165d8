"""Rewards of rollouts: metrics of avbench, and functions of one's own.

A reward that fails, or is not finite, is invalid and has a reason; it is never a number.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from avbench.clips import Expected, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.store import GROUP
from avbench.errors import AvbenchError, EnvironmentProblem, MediaError, SettingError, UsageError, near
from avbench.media import Frames, Media, Waveform, decode_clip
from avbench.metrics.base import Scorer, no_prompt, registry
from avbench.sources import load_source
from avbench.sources.expected import COLUMNS
from avbench.sources.spoken import LANGUAGE_COLUMN, TEXT_COLUMN
from avbench.weights.checkpoints import CHECKPOINTS
from omninft_train.importing import import_named
from omninft_train.method.advantages import Route
from omninft_train.models.backbone import Decoded
from omninft_train.models.offload import free_device_memory
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.spec import RewardOptions, Rewards, RewardSpec, Score

__all__ = [
    "GROUP",
    "Judge",
    "LocalRewardBackend",
    "find_source",
    "make_rewards",
    "network_bytes",
    "read_clips",
]

_LOG = logging.getLogger(__name__)

Judge = Callable[[NDArray[Any], float, NDArray[Any], int, str], float]
"""(frames (T, H, W, 3) uint8, fps, waveform (C, N), sample rate, prompt text) -> value; pure, and changes no input."""


class LocalRewardBackend:
    """Scores in this process.

    Args:
        device: torch device of the networks.
        setup: weights and precision.
        offload: networks are loaded one after another by each call of `judge`, and dropped at its end.
        group: clips that are judged together.

    Raises:
        UsageError: an unknown reward.
        EnvironmentProblem: weights or packages of one are missing; the message says how to get them.
    """

    def __init__(
        self, specs: Sequence[RewardSpec], device: str, setup: WeightsConfig, offload: bool = False, group: int = GROUP
    ) -> None:
        self._specs = tuple(specs)
        self._group = group
        self._sources = [find_source(spec) for spec in specs]
        scorers = [source for source in self._sources if isinstance(source, Scorer)]
        for scorer in scorers:
            if reason := scorer.unavailable(setup):
                raise EnvironmentProblem(f"reward '{scorer.name}' cannot run here: {reason}")
        self._encoders = list(dict.fromkeys(encoder for scorer in scorers for encoder in scorer.encoders))
        networks = [encoder.backbone.name for encoder in self._encoders]
        self._encoders.sort(key=lambda encoder: networks.index(encoder.backbone.name))  # each is loaded once
        # Every step needs every one, so all stay loaded where there is room.
        resident = 1 if offload else max(1, len(set(networks)))
        self._new_store = partial(EncoderStore, device, max_resident=resident, setup=setup)
        self._store = self._new_store()
        self._offload = offload

    def judge(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> list[list[Score]]:
        """Scores of B clips by R rewards; their inputs exist for a few clips at a time, with `offload` for all."""
        jobs = list(zip(clips, prompts, keys, strict=True))
        # A network that is loaded anew sees all clips at once.
        size = max(1, len(jobs)) if self._offload else self._group
        try:
            return [row for start in range(0, len(jobs), size) for row in self._judge_group(jobs[start : start + size])]
        finally:
            if self._offload:
                self._store = self._new_store()
                free_device_memory()

    def close(self) -> None:
        """Drop the networks."""
        self._store = EncoderStore()

    def _judge_group(self, jobs: Sequence[tuple[Decoded, TrainPrompt, str]]) -> list[list[Score]]:
        items = [_media(clip, key) for clip, _, key in jobs]
        texts = [_as_scored(prompt) for _, prompt, _ in jobs]
        whole = [(item, text) for item, text in zip(items, texts, strict=True) if isinstance(item, Media)]
        try:
            for encoder in self._encoders:
                self._store.prefetch(encoder, whole)
            return [
                [self._judge_one(index, job, item, text) for index in range(len(self._specs))]
                for job, item, text in zip(jobs, items, texts, strict=True)
            ]
        except (MemoryError, EnvironmentProblem) as error:
            raise EnvironmentProblem(f"rewards cannot go on: {str(error) or 'out of memory'}") from error
        finally:
            for _, _, key in jobs:
                self._store.forget(key)

    def _judge_one(self, index: int, job: tuple[Decoded, TrainPrompt, str], item: Media | str, text: Prompt) -> Score:
        clip, prompt, key = job
        spec, source = self._specs[index], self._sources[index]
        try:
            if not isinstance(source, Scorer):
                words = _text(prompt, spec.route)
                value = float(source(clip.frames, clip.fps, clip.waveform, clip.sample_rate, words))
                return value if math.isfinite(value) else f"gave {value}"
            if isinstance(item, str):
                return item
            if source.prompt_role and not source.prompt_text(text):
                return no_prompt(source.prompt_role)
            score = source(item, text, self._store)
            return score.reason if score.value is None else score.value
        except (MemoryError, EnvironmentProblem):
            raise
        except AvbenchError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever a reward does, it must not end or move the training
            _LOG.debug("%s failed on %s", spec.scorer, key, exc_info=True)
            return f"{type(error).__name__}: {error}"


def _as_scored(prompt: TrainPrompt) -> Prompt:
    """The prompt as scorers take it, with what must be seen and said (keys `prompt_objects`, `prompt_speech` ...)."""
    given = {key: text for key, text in prompt.metadata.items() if isinstance(text, str)}
    stated = {name: given[key] for key, name in COLUMNS.items() if key in given}
    return Prompt(
        prompt.prompt_av,
        prompt.prompt_v,
        prompt.prompt_a,
        expected=Expected(**stated),
        speech_text=given.get(TEXT_COLUMN),
        speech_language=given.get(LANGUAGE_COLUMN),
    )


def make_rewards(options: RewardOptions, group: int = GROUP) -> Rewards:
    """Rewards in this process, or on Ray actors with the same numbers.

    Args:
        options: the rewards and where they run.
        group: clips that are judged together; of networks the numbers depend on it by rounding.

    Raises:
        UsageError: no reward, an unknown one, or two of one name.
        EnvironmentProblem: weights, packages or Ray are missing; the message says how to get them.
    """
    specs = options.reward
    if not specs:
        raise SettingError("no rewards: add [[rewards.reward]] with scorer, weight and route.", "rewards")
    repeated = [name for name, count in Counter(spec.name for spec in specs).items() if count > 1]
    if repeated:
        raise SettingError(f"two rewards are named {', '.join(repeated)}; names must differ.", "rewards.reward")
    for number, spec in enumerate(specs):
        try:
            _warn_of_direction(spec, find_source(spec))
        except UsageError as error:
            raise SettingError(str(error), ("rewards", "reward", number, "scorer")) from error
    folder = Path(options.weights_dir) if options.weights_dir else None
    setup = WeightsConfig(options.weights, folder, options.precision, frozenset(options.accepted))
    if options.backend == "local":
        local = LocalRewardBackend(specs, options.device, setup, options.offload, group)
        return Rewards(specs, local, options.max_failed_fraction)
    from omninft_train.rewards.ray import RayRewardBackend

    device = options.device.partition(":")[0]  # a worker sees one GPU, its own
    backend = RayRewardBackend(partial(LocalRewardBackend, specs, device, setup), device, group)
    return Rewards(specs, backend, options.max_failed_fraction, backend.workers)


def network_bytes(specs: Sequence[RewardSpec]) -> dict[str, int]:
    """Bytes of the networks behind rewards, by name: those of their checkpoints, in the number format of the files."""
    scorers = [source for source in map(find_source, specs) if isinstance(source, Scorer)]
    rows = {encoder.backbone.name: encoder.backbone.row for scorer in scorers for encoder in scorer.encoders}
    return {name: CHECKPOINTS[row].size for name, row in rows.items() if row is not None}


def find_source(spec: RewardSpec) -> Scorer | Judge:
    """The scorer or function behind a reward.

    Raises:
        UsageError: there is none; the message lists near matches.
    """
    module, separator, function = spec.scorer.partition(":")
    if separator:
        return _find_judge(spec.scorer, module, function)
    known = registry()
    if spec.scorer not in known:
        # The release names its rewards without the prefix that distinguishes them from metrics here.
        hint = near(f"reward_{spec.scorer}" if f"reward_{spec.scorer}" in known else spec.scorer, known)
        raise UsageError(f"unknown reward '{spec.scorer}'. {hint} See 'avbench ls', or name a module:function.")
    if known[spec.scorer].level != "clip":
        raise UsageError(f"reward '{spec.scorer}' judges sets of clips; a reward has to judge one clip.")
    return known[spec.scorer]


def _find_judge(name: str, module: str, function: str) -> Judge:
    loaded = import_named(f"reward '{name}'", module)
    judge: Judge | None = getattr(loaded, function, None)
    if judge is None or not callable(judge):
        functions = [key for key, value in vars(loaded).items() if callable(value)]
        raise UsageError(f"reward '{name}': {module} has no function '{function}'. {near(function, functions)}")
    return judge


def _warn_of_direction(spec: RewardSpec, source: Scorer | Judge) -> None:
    if isinstance(source, Scorer) and source.higher_is_better is False and spec.scale * spec.weight > 0:
        _LOG.warning("reward '%s' is better when lower, and training raises it: give it scale = -1", spec.scorer)


def read_clips(source: Path) -> Iterator[tuple[Decoded, TrainPrompt]]:
    """Clips of a folder or manifest, as `avbench score` takes it, with their prompts, one after another.

    Raises:
        UsageError: nothing there, a clip that cannot be read, or one without video, sound or prompt.
    """
    video_view, audio_view = Frames(), Waveform(mono=False, limit=False)
    for clip in load_source(source).clips:
        try:
            media = decode_clip(clip, clip.clip_id, [video_view, audio_view])
        except MediaError as error:
            raise UsageError(f"{clip.video}: {error}") from error
        if media.video is None or media.audio is None:
            reason = "; ".join(media.problems.values()) or "video or audio is missing"
            raise UsageError(f"{clip.video}: {reason}; rewards need both.")
        frames, waveform = media.view(video_view), media.view(audio_view)
        text = clip.prompt.text or clip.prompt.for_video or clip.prompt.for_audio
        if text is None:
            raise UsageError(f"{clip.video}: has no prompt; rewards need one. Give a manifest with prompts.")
        stated = {key: getattr(clip.prompt.expected, name) for key, name in COLUMNS.items()}
        stated |= {TEXT_COLUMN: clip.prompt.speech_text, LANGUAGE_COLUMN: clip.prompt.speech_language}
        metadata = {key: value for key, value in stated.items() if value}
        prompt = TrainPrompt(text, clip.prompt.for_video or text, clip.prompt.for_audio or text, metadata)
        yield Decoded(frames, media.video.fps, waveform, media.audio.sample_rate), prompt


def _media(clip: Decoded, key: str) -> Media | str:
    """The clip as scorers take it, or why it is none: NaN in the waveform, for example."""
    try:
        return Media.from_arrays(key, clip.frames, clip.fps, clip.waveform, clip.sample_rate)
    except ValueError as error:
        return str(error)


def _text(prompt: TrainPrompt, route: Route) -> str:
    return {"video": prompt.prompt_v, "audio": prompt.prompt_a, "both": prompt.prompt_av}[route]
