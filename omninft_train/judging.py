"""Sample and judge clips, a few at a time: what is judged lies in a journal, and no more than these in memory."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from omninft_train.clips import save_mp4
from omninft_train.config import RewardSection
from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.files import make_folder
from omninft_train.generate import Generation, Job, Trained, dealt, is_written, jobs_of, settings_of, stream
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.local import make_rewards, read_clips
from omninft_train.rewards.spec import Rewards, SetMetric
from omninft_train.training.device_sharing import make_room
from omninft_train.training.distributed import ALONE, World

# Clips that wait in main memory while networks are away, so that these come back once for all: of LTX-2's, 5 GB.
_HELD = 32

_Clip = TypeVar("_Clip")


@dataclass(frozen=True)
class JudgedClip:
    """What is kept of one clip.

    Attributes:
        values: of the rewards, (R,), None where one failed.
        reasons: why, one text for each failure.
        statistics: what metrics of all clips together take of this one, by their names.
    """

    values: tuple[float | None, ...]
    reasons: tuple[str, ...]
    statistics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def judge(
    rewards: Rewards,
    clips: Sequence[tuple[Job, Decoded]],
    prompts: Sequence[TrainPrompt],
    sets: Mapping[str, SetMetric] = MappingProxyType({}),
) -> list[JudgedClip]:
    """Judge clips in memory, in their order, and take what `sets` need of each."""
    jobs = [job for job, _ in clips]
    texts = [prompts[job.prompt] for job in jobs]
    scored = rewards.score([clip for _, clip in clips], texts, [job.name for job in jobs])
    reasons = iter(scored.reasons)  # clip by clip, one for each value that is invalid
    rows = []
    rated = zip(clips, texts, scored.values.tolist(), scored.valid.tolist(), strict=True)
    for (_, clip), text, values, valid in rated:
        kept = tuple(value if ok else None for value, ok in zip(values, valid, strict=True))
        statistics = {name: tuple(metric.of_clip(clip, text)) for name, metric in sets.items()}
        rows.append(JudgedClip(kept, tuple(next(reasons) for ok in valid if not ok), statistics))
    return rows


def judged_files(source: Path, rewards: Rewards) -> tuple[list[TrainPrompt], list[JudgedClip]]:
    """Rewards of clips on disk, with the prompt of each; see `read_clips`."""
    prompts: list[TrainPrompt] = []
    rows: list[JudgedClip] = []
    for held in _gathered(([clip] for clip in read_clips(source)), _HELD):
        batch = [(Job(len(prompts) + number, 0), clip) for number, (clip, _) in enumerate(held)]
        prompts += [prompt for _, prompt in held]
        rows += judge(rewards, batch, prompts)
    return prompts, rows


def judged_by(section: RewardSection) -> dict[str, Any]:
    """What values depend on; not on whether clips were judged while others were sampled."""
    content: dict[str, Any] = json.loads(json.dumps(asdict(section)))
    del content["overlap"]
    return content


def judged_settings(
    trained: Trained, prompts: Sequence[TrainPrompt], how: Generation, section: RewardSection
) -> dict[str, Any]:
    """What judged values depend on: the clips, the rewards, and every text that these read."""
    own = {"rewards": judged_by(section), "texts": texts_digest(prompts)}
    return settings_of(trained, prompts, how) | own


def texts_digest(prompts: Sequence[TrainPrompt]) -> str:
    """Identity of all that prompts tell the judges: their texts, and whatever else their lines hold."""
    content = json.dumps([asdict(prompt) for prompt in prompts], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def judged_rows(
    trained: Trained,
    prompts: Sequence[TrainPrompt],
    how: Generation,
    section: RewardSection,
    out: Path,
    world: World = ALONE,
    *,
    sets: Mapping[str, SetMetric] = MappingProxyType({}),
    running: Rewards | None = None,
    clips: Path | None = None,
) -> list[JudgedClip] | None:
    """Rewards of all clips that `how` asks for, in the order of their jobs; None in all processes but the first.

    Args:
        trained: the policy.
        prompts: to sample from.
        how: see `Generation`.
        section: the rewards.
        out: file of the result; journals lie beside it, and what they hold of equal settings is not done again.
        world: processes that share the work.
        sets: metrics of all clips together, by name; what they take of each clip is kept with its rewards.
        running: the first of the rewards, where they are open already; only the others are opened then.
        clips: folder that gets each judged clip as a file.

    Raises:
        UsageError: processes do not share the folder of `out`.
        EnvironmentProblem: a reward cannot run at all, or the journal or a clip cannot be written.
    """
    settings = judged_settings(trained, prompts, how, section) | {"sets": sorted(sets)}
    jobs = jobs_of(prompts, how)
    done: dict[Job, JudgedClip] = world.gather_objects(_done(out, settings, clips))[0]  # type: ignore[assignment]
    left = [job for job in jobs if job not in done]
    if left:
        batches = stream(trained.backbone, trained.policy, prompts, how, dealt(left, world))
        with _opened(section, running) as rewards:
            make_room(rewards, trained.config, trained.policy)
            # Networks that are read or moved whenever clips are judged are worth waiting for.
            least = _HELD if section.offload or trained.config.backbone.offload else 1
            with closing(_Journal(out, settings, world)) as journal:
                for batch in _gathered(batches, least):
                    rows = judge(rewards, batch, prompts, sets)
                    _save(batch, clips)
                    journal.add({job: row for (job, _), row in zip(batch, rows, strict=True)})
            # Journals are closed, for the first process to read; rewards are not: actors serve all processes.
            world.barrier()
    if not world.is_main:
        return None
    judged = _read(out, settings)
    lost = sum(job not in judged for job in jobs)
    if lost:
        raise UsageError(
            f"{out.parent} (--out) is not shared: what other processes judged there, {lost} clips, is missing."
        )
    return [judged[job] for job in jobs]


def _gathered(batches: Iterable[list[_Clip]], least: int) -> Iterator[list[_Clip]]:
    """The same clips in parts of at least so many, but for the last."""
    held: list[_Clip] = []
    for batch in batches:
        held += batch
        if len(held) >= least:
            yield held
            held = []
    if held:
        yield held


def _save(batch: Sequence[tuple[Job, Decoded]], folder: Path | None) -> None:
    """Before they are noted in the journal, so that what it holds is there."""
    if folder is not None:
        for job, clip in batch:
            save_mp4(clip, folder / job.file)


@contextmanager
def _opened(section: RewardSection, running: Rewards | None) -> Iterator[Rewards]:
    """All rewards of a section; those that run already are used, and stay open."""
    if running is None:
        with closing(make_rewards(section)) as rewards:
            yield rewards
        return
    others = section.reward[len(running.specs) :]
    if not others:
        yield running
        return
    # In this process: actors of the running rewards hold every GPU that a cluster has for rewards.
    with closing(make_rewards(replace(section, reward=others, backend="local"))) as more:
        yield running.beside(more)


def clear(out: Path) -> None:
    """Remove the journals of a result that is written."""
    for path in _journals(out):
        path.unlink(missing_ok=True)


class _Journal:
    """One process's lines: the settings first, then a line for each clip. What was of other settings is replaced."""

    def __init__(self, out: Path, settings: Mapping[str, Any], world: World) -> None:
        make_folder(out.parent, "--out")
        path = out.with_name(f".{out.name}.{world.rank}-of-{world.size}.jsonl")
        goes_on = path.is_file() and next(_lines(path), None) == settings
        self._path = path
        try:
            self._file = path.open("a" if goes_on else "w", encoding="utf-8")
        except OSError as error:
            raise self._problem(error) from error
        # A line that was cut off by a kill ends here.
        self._write("" if goes_on else json.dumps(settings))

    def add(self, rows: Mapping[Job, JudgedClip]) -> None:
        """Note clips that were judged."""
        for job, row in rows.items():
            content = [job.prompt, job.sample, row.values, row.reasons, dict(row.statistics)]
            self._write(json.dumps(content, allow_nan=False))

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()

    def _write(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise self._problem(error) from error

    def _problem(self, error: OSError) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"{self._path}: cannot be written ({error.strerror}). Make room, or choose another folder (--out)."
        )


def _read(out: Path, settings: Mapping[str, Any]) -> dict[Job, JudgedClip]:
    """What the journals of equal settings hold, of however many processes."""
    judged = {}
    for path in _journals(out):
        lines = _lines(path)
        if next(lines, None) == settings:
            for prompt, sample, values, reasons, statistics in lines:
                kept = {name: tuple(numbers) for name, numbers in statistics.items()}
                judged[Job(prompt, sample)] = JudgedClip(tuple(values), tuple(reasons), kept)
    return judged


def _done(out: Path, settings: Mapping[str, Any], clips: Path | None) -> dict[Job, JudgedClip]:
    """What need not be done again: judged, and kept where clips are."""
    judged = _read(out, settings)
    if clips is None:
        return judged
    return {job: row for job, row in judged.items() if is_written(clips / job.file)}


def _journals(out: Path) -> list[Path]:
    return sorted(out.parent.glob(f".{glob.escape(out.name)}.*.jsonl"))


def _lines(path: Path) -> Iterator[Any]:
    """Lines that are whole."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
