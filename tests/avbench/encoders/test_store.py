"""EncoderStore: one load per network, one forward per clip, bounded residence."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.encoders import Encoder, EncoderStore
from avbench.media import Media, Waveform

VIEW = Waveform(rate=8000)


class Counter:
    """A network that counts loads and forwards."""

    def __init__(self):
        self.loads, self.batches = 0, []

    def load(self, device):
        self.loads += 1
        return self

    def __call__(self, batch):
        self.batches.append(len(batch))
        return [np.array([x.mean()]) for x in batch]


def encoder(name, counter):
    return Encoder(name, 1, VIEW, counter.load, lambda: f"weights of {name}")


def clip(key):
    return Media.from_arrays(key, None, 24, np.full(8000, len(key) / 10), 8000)


def test_each_network_is_loaded_once_and_each_clip_embedded_once():
    counter, store = Counter(), EncoderStore()
    spec, clips = encoder("a", counter), [clip("x"), clip("yy"), clip("zzz")]
    store.prefetch(spec, clips)
    values = [store.embed(spec, media)[0] for media in clips]
    np.testing.assert_allclose(values, [0.1, 0.2, 0.3], rtol=1e-6)
    assert (counter.loads, counter.batches) == (1, [3])


def test_the_same_content_twice_in_a_batch_is_one_forward():
    counter, store = Counter(), EncoderStore()
    store.prefetch(encoder("a", counter), [clip("x"), clip("x")])
    assert counter.batches == [1]


def test_forgotten_clips_are_embedded_again_and_others_are_not():
    counter, store = Counter(), EncoderStore()
    spec = encoder("a", counter)
    store.prefetch(spec, [clip("x"), clip("yy")])
    store.forget("x")
    store.prefetch(spec, [clip("x"), clip("yy")])
    assert counter.batches == [2, 1]


def test_the_least_recently_used_network_leaves():
    counters = {name: Counter() for name in "abc"}
    store = EncoderStore(max_resident=2)
    for index, name in enumerate("abacab"):
        store.embed(encoder(name, counters[name]), clip(f"{index}{name}"))
    # a stays in use; b leaves for c, then c leaves for b.
    assert {name: counter.loads for name, counter in counters.items()} == {"a": 1, "b": 2, "c": 1}
    with pytest.raises(ValueError, match="max_resident"):
        EncoderStore(max_resident=0)


def test_a_missing_package_is_named_with_its_cure():
    spec = Encoder("n", 1, VIEW, Counter().load, lambda: "w", packages=("no_such_package",), extra="speech")
    assert spec.missing() == "not installed: no_such_package; pip install 'avbench[speech]'"
