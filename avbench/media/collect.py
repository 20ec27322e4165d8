"""Turn a stream of decoded frames into views, with the per-frame work spread over threads."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from avbench.errors import MediaError
from avbench.media.frame_times import FrameTimes
from avbench.media.media import series_array
from avbench.media.orientation import orientation_of
from avbench.media.pyav import to_rgb, to_rgb_scaled
from avbench.media.spool import ArrayWriter, Spooled
from avbench.media.views import Frame, Frames, FrameSeries, Pixels, View

StepResult = tuple[float, ...] | Exception
Transformed = NDArray[Any] | Exception
# A sampling at a constant rate repeats frames over a gap in the timestamps; a damaged file could fill the disk so.
_MOST_REPEATS = 20
_ALWAYS_ALLOWED = 1000

Arrays = dict[View, NDArray[Any] | Spooled]


class NeedsAnotherPass(Exception):  # noqa: N818 - a signal between two functions, not an error
    """The frame times that views were computed from were wrong; `times` are right, `done` needs no repeat."""

    def __init__(self, times: FrameTimes, done: Arrays) -> None:
        super().__init__("frame times differ from what the packets let expect")
        self.times = times
        self.done = done


class FrameCollector:
    """Consumes frames in order and builds the arrays of all views.

    Heavy series and transforms run as one task per frame, at most two tasks per thread in flight, so memory stays
    at a few frames whatever the length of the clip. OpenCV's own threads are off meanwhile: they would compete.

    Args:
        series, samples: the views.
        expected: frame times that sampling goes by.
        fps: nominal frame rate that sampling goes by.
        threads: size of the pool.
        spool: folder for sampled frames; None keeps them in memory.
    """

    def __init__(
        self,
        series: Sequence[FrameSeries],
        samples: Sequence[Frames],
        expected: FrameTimes,
        fps: float,
        *,
        threads: int,
        spool: Path | None = None,
    ) -> None:
        self.times: list[float] = []
        self.size = (0, 0)
        self.failures: dict[View, Exception] = {}
        self._series = series
        self._samples = samples
        self._expected = expected
        self._wanted: dict[Frames, Counter[int]] = {}
        for view in samples:
            chosen = view.sampling.indices(expected.times, fps, expected.end)
            if len(chosen) > _MOST_REPEATS * len(expected.times) + _ALWAYS_ALLOWED:
                self.failures[view] = MediaError(
                    f"timestamps with gaps: {len(expected.times)} frames span {np.ptp(expected.times)} s"
                )
                chosen = chosen[:0]
            self._wanted[view] = Counter(chosen.tolist())
        self._writers = {view: ArrayWriter(spool) for view in samples}
        self._rows: dict[FrameSeries, list[StepResult]] = {view: [] for view in series}
        self._pending: deque[tuple[FrameSeries | tuple[Frames, ...], int, Future[Any]]] = deque()
        self._limit = 2 * threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="frames")
        self._previous: Frame | None = None
        self._opencv_threads = cv2.getNumThreads()

    def __enter__(self) -> FrameCollector:
        cv2.setNumThreads(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(self._opencv_threads)
        if error is not None:
            for writer in self._writers.values():
                writer.discard()

    def push(self, item: tuple[VideoFrame, float]) -> None:
        """Take the next decoded frame with its time in seconds."""
        decoded, time = item
        index = len(self.times)
        self.times.append(time)
        wanted = [view for view, indices in self._wanted.items() if index in indices]
        if not self._series and not wanted and index:
            return
        frame = Frame(self._to_rgb(decoded), index, time)
        self._sample(frame, [view for view in wanted if view.scaled is None])
        for size in dict.fromkeys(view.scaled for view in wanted if view.scaled is not None):
            self._sample(Frame(_scaled(decoded, size), index, time), [view for view in wanted if view.scaled == size])
        for series in self._series:
            if series.heavy:
                self._pending.append((series, index, self._pool.submit(_attempt, series, self._previous, frame)))
            else:
                self._rows[series].append(_attempt(series, self._previous, frame))
        self._previous = frame
        self._collect(self._limit)

    def _sample(self, frame: Frame, wanted: Sequence[Frames]) -> None:
        """One task per distinct transform: views that share it share its result."""
        for transform in dict.fromkeys(view.transform for view in wanted):
            views = tuple(view for view in wanted if view.transform is transform)
            self._pending.append((views, frame.index, self._pool.submit(_transform, views[0], frame)))

    def _collect(self, allowed: int) -> None:
        """Wait for the oldest tasks until no more than `allowed` are pending."""
        while len(self._pending) > allowed:
            target, index, future = self._pending.popleft()
            if isinstance(target, FrameSeries):
                self._rows[target].append(future.result())
                continue
            result: Transformed = future.result()
            for view in target:
                if isinstance(result, Exception):
                    self.failures.setdefault(view, result)
                elif view not in self.failures:
                    self._writers[view].append(result, self._wanted[view][index])

    def finish(self, times: FrameTimes) -> Arrays:
        """The arrays of all views.

        Args:
            times: what the frame times are, now that all frames are known.

        Raises:
            NeedsAnotherPass: frames were pushed with other times, or sampled views were chosen from other times.
        """
        self._collect(0)
        if not np.array_equal(times.times, self.times):
            raise NeedsAnotherPass(times, {})
        arrays: Arrays = {}
        for view, values in self._rows.items():
            failure = next((value for value in values if isinstance(value, Exception)), None)
            if failure is not None:
                self.failures[view] = failure
            else:
                arrays[view] = series_array(view, [value for value in values if not isinstance(value, Exception)])
        if self._samples and not times.equals(self._expected):
            raise NeedsAnotherPass(times, arrays)
        for sample, writer in self._writers.items():
            if sample not in self.failures:
                arrays[sample] = writer.finish()
        return arrays

    def _to_rgb(self, decoded: VideoFrame) -> Pixels:
        rgb: Pixels = orientation_of(decoded).apply(to_rgb(decoded))
        if self.size not in ((0, 0), rgb.shape[:2]):
            raise MediaError(f"the frame size changes from {self.size} to {rgb.shape[:2]} (height, width)")
        self.size = (rgb.shape[0], rgb.shape[1])
        return rgb


def _scaled(decoded: VideoFrame, size: tuple[int, int]) -> Pixels:
    """The frame as shown, of this width and height."""
    orientation = orientation_of(decoded)
    width, height = reversed(size) if orientation.transpose else size
    shown: Pixels = orientation.apply(to_rgb_scaled(decoded, width, height))
    return shown


def _attempt(view: FrameSeries, previous: Frame | None, frame: Frame) -> StepResult:
    """One step, or what it raised: a series that fails costs the scorers that asked for it, no others."""
    try:
        return view.step(previous, frame)
    except Exception as error:  # noqa: BLE001 - kept, and raised to the scorer that asks for this view
        return error


def _transform(view: Frames, frame: Frame) -> Transformed:
    try:
        return frame.rgb if view.transform is None else view.transform(frame.rgb)
    except Exception as error:  # noqa: BLE001 - kept, and raised to the scorer that asks for this view
        return error
