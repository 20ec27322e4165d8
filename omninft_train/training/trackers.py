"""Services that show a run while it trains: TensorBoard, Weights & Biases, Trackio."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from omninft_train.clips import save_mp4
from omninft_train.errors import EnvironmentProblem
from omninft_train.files import write_atomically
from omninft_train.models.backbone import Decoded

TrackerName = Literal["tensorboard", "wandb", "trackio"]
_PROJECT = "omninft_train"
_SHOWN_FRAMES = 4
_IDENTITY = "tracker.json"


@dataclass(frozen=True)
class ShownClip:
    """A rollout to look at.

    Attributes:
        path, clip: its file, and the same in memory.
        prompt: what it was sampled from.
        rewards: by name; None where one failed.
    """

    path: Path
    clip: Decoded
    prompt: str
    rewards: Mapping[str, float | None]

    @property
    def caption(self) -> str:
        """Rewards and prompt in one line."""
        scores = [f"{name} {'failed' if value is None else f'{value:.3f}'}" for name, value in self.rewards.items()]
        return f"{', '.join(scores)} - {self.prompt}"


def keep_clips(
    run: Path, step: int, clips: Mapping[int, Decoded], prompts: Sequence[str], rewards: Sequence[Mapping[str, Any]]
) -> list[ShownClip]:
    """Write rollouts of a step to `clips/step-N` of the run's folder, with a list of their prompts and rewards.

    Args:
        clips: by the number of the rollout in its step.
        prompts, rewards: of each clip.

    Raises:
        EnvironmentProblem: the folder cannot be written.
    """
    folder = run / "clips" / f"step-{step:06d}"
    shown = [
        ShownClip(save_mp4(clip, folder / f"{number:03d}.mp4"), clip, prompt, of_clip)
        for (number, clip), prompt, of_clip in zip(clips.items(), prompts, rewards, strict=True)
    ]
    rows = [{"clip": one.path.name, "prompt": one.prompt, "rewards": dict(one.rewards)} for one in shown]
    write_atomically(folder / "clips.json", (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
    return shown


def open_service(name: TrackerName, run: Path, config: Mapping[str, Any], first: int = 0) -> Board | Hosted:
    """One run in a service; a run that goes on after an interruption goes on under its name.

    Args:
        first: step that the run starts or goes on with.

    Raises:
        EnvironmentProblem: its package is not installed, or it does not start.
    """
    if find_spec(name) is None:
        raise EnvironmentProblem(f"run.tracker = '{name}': {name} is not installed here; pip install {name}")
    try:
        return Board(run, config, first) if name == "tensorboard" else Hosted(name, run, config, first)
    except Exception as error:  # whatever a service raises
        raise EnvironmentProblem(
            f"run.tracker = '{name}' does not start ({error}). Fix it, or leave it out."
        ) from error


class Board:
    """Files for TensorBoard, in `tensorboard` of the run's folder; see `tracking.Mirror`."""

    def __init__(self, run: Path, config: Mapping[str, Any], first: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        make: Any = SummaryWriter
        # What was written of steps that are made again is hidden; an evaluation before the first of them is no such.
        self._writer: Any = make(str(run / "tensorboard"), purge_step=first + 1 if first else None)
        self._writer.add_text("config", "\n".join(f"    {key} = {value}" for key, value in flat(config).items()))

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Numbers of a step; lists and tables by their index and key."""
        for key, value in _numbers(values).items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def show(self, step: int, clips: Sequence[ShownClip]) -> None:
        """Some frames of each clip, for there is no video, its sound, and its rewards."""
        for one in clips:
            tag = f"clips/{one.path.stem}"
            chosen = np.linspace(0, len(one.clip.frames) - 1, _SHOWN_FRAMES).round().astype(int)
            self._writer.add_images(tag, one.clip.frames[chosen], step, dataformats="NHWC")
            mono = one.clip.waveform.mean(axis=0, keepdims=True)
            self._writer.add_audio(tag, torch.from_numpy(mono), step, sample_rate=one.clip.sample_rate)
            self._writer.add_text(tag, one.caption, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class Hosted:
    """A run in Weights & Biases or in Trackio, whose calls are the same; see `tracking.Mirror`."""

    def __init__(self, name: TrackerName, run: Path, config: Mapping[str, Any], first: int = 0) -> None:
        self._package: Any = import_module(name)
        folder, known = run.absolute(), _identity(run, first)
        more = {"id": known, "dir": str(run)} if name == "wandb" else {}
        # Trackio goes on with the run of this name, and most folders of runs are named alike.
        label = "-".join(filter(None, (folder.parent.name, folder.name, known[:6])))
        self._run: Any = self._package.init(project=_PROJECT, name=label, config=flat(config), resume="allow", **more)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Numbers of a step; lists and tables by their index and key."""
        self._run.log(_numbers(values), step=step)

    def show(self, step: int, clips: Sequence[ShownClip]) -> None:
        """Clips with their rewards."""
        video = self._package.Video
        shown = {f"clips/{one.path.stem}": video(str(one.path), caption=one.caption, format="mp4") for one in clips}
        self._run.log(shown, step=step)

    def close(self) -> None:
        """Hand over what is left."""
        self._run.finish()


def _identity(run: Path, first: int) -> str:
    """Of a run in a service: new at its start, and kept in its folder. Another run may once have had the same path."""
    path = run / _IDENTITY
    if first and path.is_file():
        return str(json.loads(path.read_text(encoding="utf-8"))["id"])
    # A run of a version that kept no file goes on under what it had.
    identity = hashlib.sha256(str(run.absolute()).encode()).hexdigest()[:16] if first else secrets.token_hex(8)
    write_atomically(path, (json.dumps({"id": identity}) + "\n").encode())
    return identity


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables and lists as one table: {"a": {"b": [1, 2]}} is {"a/b/0": 1, "a/b/1": 2}."""
    if isinstance(values, Mapping):
        inner = values.items()
    elif isinstance(values, (list, tuple)):
        inner = enumerate(values)  # type: ignore[assignment]
    else:
        return {prefix: values}
    flattened: dict[str, Any] = {}
    for key, value in inner:
        flattened |= flat(value, f"{prefix}/{key}" if prefix else str(key))
    return flattened


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in flat(values).items() if isinstance(value, (int, float))}
