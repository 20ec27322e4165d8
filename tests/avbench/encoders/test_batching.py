"""Batches over clips: order kept, halved when memory runs out, given up only with one item left."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from avbench.errors import EnvironmentProblem
from avbench.media.spool import ArrayWriter

torch = pytest.importorskip("torch")

from avbench.encoders.attention import attend  # noqa: E402
from avbench.encoders.batching import batched, batched_frames, runs_of_equal  # noqa: E402

CLIPS = [[1.0, 2.0, 3.0], [], [4.0], [5.0, 6.0, 7.0, 8.0]]


def network(most: int, sizes: list[int]):
    """Doubles its items; out of memory above `most` of them."""

    def forward(items):
        sizes.append(len(items))
        if len(items) > most:
            raise torch.OutOfMemoryError("out of memory")
        return torch.tensor(items)[:, None] * 2

    return forward


@pytest.mark.parametrize("size", [1, 3, 100])
def test_items_come_back_to_their_clips_whatever_the_batch(size):
    found = batched(network(100, []), CLIPS, size, "n")
    assert [part.ravel().tolist() for part in found] == [[2.0, 4.0, 6.0], [], [8.0], [10.0, 12.0, 14.0, 16.0]]
    assert {part.dtype for part in found} == {np.dtype("float32")}


def test_the_batch_halves_until_it_fits_and_nothing_is_lost(caplog):
    sizes: list[int] = []
    found = batched(network(2, sizes), CLIPS, 8, "n")
    assert np.concatenate([part.ravel() for part in found]).tolist() == [2.0 * item for item in range(1, 9)]
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert "n: out of memory, going on with batches of 2" in caplog.text


def test_one_item_that_does_not_fit_is_no_fault_of_the_clip():
    with pytest.raises(EnvironmentProblem, match="n runs out of memory with a single item"):
        batched(network(0, []), CLIPS, 4, "n")


@pytest.mark.parametrize("masked", [False, True])
def test_attention_at_bf16_is_that_of_fp32_rounded(masked):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, 33, 16, generator=generator) for _ in range(3))
    mask = torch.full((33, 33), float("-inf")).triu(1) if masked else None
    exact = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    half = [part.bfloat16() for part in (query, key, value)]
    found = attend(*half, mask if mask is None else mask.bfloat16())
    assert found.shape == exact.shape
    torch.testing.assert_close(attend(query, key, value, mask), exact)
    torch.testing.assert_close(found.float(), exact, atol=0.03, rtol=0.03)


def test_equal_neighbours_are_runs():
    starts, run = runs_of_equal(np.array([[1, 2], [1, 2], [1, 3], [1, 2]]))
    assert starts.tolist() == [0, 2, 3]
    assert run.tolist() == [0, 0, 1, 2]


def test_equal_neighbours_are_embedded_once():
    sizes: list[int] = []
    found = batched_frames(network(100, sizes), np.array([5.0, 5.0, 6.0, 5.0]), 2, "n")
    assert found.ravel().tolist() == [10.0, 10.0, 12.0, 10.0]
    assert sizes == [2, 1]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not say what of a file is in memory")
@pytest.mark.parametrize(
    "view",
    [lambda frames: frames, lambda frames: frames[:][:]],
    ids=["whole", "slice"],
)
@pytest.mark.long
def test_frames_in_a_file_do_not_stay_in_memory(tmp_path, view):
    """A clip may be longer than memory; what was read of it is given back with each batch."""
    writer = ArrayWriter(tmp_path)
    for index in range(256):
        writer.append(np.full((256, 256, 3), index, dtype=np.uint8))
    spooled = writer.finish()
    frames, resident = view(spooled.open()), []

    def forward(items):
        means = torch.tensor([[float(item.mean())] for item in items])
        maps = Path("/proc/self/smaps").read_text().split(str(spooled.path))[1:]
        resident.append(sum(int(re.search(r"Rss:\s+(\d+) kB", text)[1]) for text in maps))
        return means

    found = batched_frames(forward, frames, 8, "n")
    assert found.ravel().tolist() == list(range(256))
    assert len(resident) == 32
    assert max(resident) * 1024 < spooled.nbytes / 4
