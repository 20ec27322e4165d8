"""Job of joined processes: save and resume a spread policy, and count what each process holds of whole tensors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from omninft_train.errors import UsageError
from omninft_train.models import loading, policy
from omninft_train.recipe import load
from omninft_train.training import checkpoint, saving
from omninft_train.training.assemble import assemble
from omninft_train.training.distributed import World
from omninft_train.training.trainer import train


class Watch:
    """Bytes of whole tensors: of all that are alive at a time, at most, and of the largest.

    `patience`: seconds that others have to be gone in. Threads of gloo let go of a tensor a moment after it was sent.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.most = self.largest = 0

    def see(self, whole: Tensor) -> Tensor:
        """Count a tensor, for as long as anything uses its memory."""
        deadline = time.monotonic() + self._patience
        while self._forget() and time.monotonic() < deadline:
            time.sleep(0.001)
        storage = whole.untyped_storage()
        reference = StorageWeakRef(storage)
        self._alive[reference.cdata] = (reference, storage.nbytes())
        self.largest = max(self.largest, storage.nbytes())
        self.most = max(self.most, sum(size for _, size in self._alive.values()))
        return whole

    def _forget(self) -> bool:
        """Leave out what is gone; whether anything is left."""
        self._alive = {key: pair for key, pair in self._alive.items() if not pair[0].expired()}
        return bool(self._alive)


@contextmanager
def watched(patience: float) -> Iterator[Watch]:
    """What is gathered, and what is sent by a reader."""
    watch, gather, send = Watch(patience), policy._whole, loading.Node.send

    def gathered(tensor: Tensor) -> Tensor:
        whole = gather(tensor)
        return whole if whole is tensor else watch.see(whole)

    with (
        mock.patch.object(policy, "_whole", gathered),
        mock.patch.object(loading.Node, "send", lambda node, tensor: watch.see(send(node, tensor))),
    ):
        yield watch


def save_and_resume(job: Mapping[str, Any], world: World) -> None:
    """Train a step with a checkpoint, go on from it, and try one that is damaged; leave what was held and said."""
    out = Path(job["out"])
    config = load(job["recipe"], job["backbone"], job["changes"])
    patience = 0.0 if world.is_main else 1.0  # the first one keeps everything
    with watched(patience) as saved:
        train(assemble(config, out, world))
    training = assemble(config, out, world)
    with watched(patience) as resumed, mock.patch.object(checkpoint, "safe_open", wraps=checkpoint.safe_open) as opened:
        step = saving.resume(training)
    folder = checkpoint.latest(out)
    assert folder is not None
    if world.is_main:
        path = folder / "optimizer.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    world.barrier()
    said = ""
    try:
        saving.resume(training)
    except UsageError as error:
        said = str(error)
    found = {
        name: {"most": watch.most, "largest": watch.largest} for name, watch in (("saved", saved), ("resumed", resumed))
    }
    (out / f"held-{world.rank}.json").write_text(
        json.dumps(found | {"step": step, "said": said, "opened": opened.call_count})
    )
