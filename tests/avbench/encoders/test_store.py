"""EncoderStore: one load per network, one forward per clip, bounded residence."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from avbench import Prompt
from avbench.encoders import Backbone, EmbeddingCache, Encoder, EncoderStore, WeightsConfig
from avbench.errors import EnvironmentProblem, NonFiniteError
from avbench.media import Media, Waveform

VIEW = Waveform(rate=8000)


class Counter:
    """A network that counts loads and forwards."""

    def __init__(self):
        self.loads, self.batches = 0, []

    def load(self, context):
        self.loads += 1
        return self

    def run(self, network, clips):
        assert network is self
        self.batches.append(len(clips))
        return [np.array([clip.views[0].mean()]) for clip in clips]


def encoder(name, counter):
    backbone = Backbone(name, counter.load, packaged_digest=lambda: f"weights of {name}", packages=())
    return Encoder(name, 1, backbone, counter.run, (VIEW,))


def prefetch(store, spec, clips):
    store.prefetch(spec, [(media, Prompt()) for media in clips])


def clip(key):
    return Media.from_arrays(key, None, 24, np.full(8000, len(key) / 10), 8000)


def test_each_network_is_loaded_once_and_each_clip_embedded_once():
    counter, store = Counter(), EncoderStore()
    spec, clips = encoder("a", counter), [clip("x"), clip("yy"), clip("zzz")]
    prefetch(store, spec, clips)
    values = [store.embed(spec, media)[0] for media in clips]
    np.testing.assert_allclose(values, [0.1, 0.2, 0.3], rtol=1e-6)
    assert (counter.loads, counter.batches) == (1, [3])


def test_the_same_content_twice_in_a_batch_is_one_forward():
    counter, store = Counter(), EncoderStore()
    prefetch(store, encoder("a", counter), [clip("x"), clip("x")])
    assert counter.batches == [1]


def test_forgotten_clips_are_embedded_again_and_others_are_not():
    counter, store = Counter(), EncoderStore()
    spec = encoder("a", counter)
    prefetch(store, spec, [clip("x"), clip("yy")])
    store.forget("x")
    prefetch(store, spec, [clip("x"), clip("yy")])
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
    backbone = Backbone("n", Counter().load, packages=("no_such_package",), extra="speech")
    assert backbone.missing(WeightsConfig()) == "not installed: no_such_package; pip install 'avbench[speech]'"


def test_a_bad_clip_costs_no_other(tmp_path):
    def run(network, clips):
        if any(clip.views[0].mean() > 0.25 for clip in clips):
            raise ValueError("too loud")
        return [clip.views[0].mean(axis=1) for clip in clips]

    store = EncoderStore()
    spec = Encoder("picky", 1, Backbone("picky", lambda context: None, packages=()), run, (VIEW,))
    clips = [clip("x"), clip("yy"), clip("zzz")]
    prefetch(store, spec, clips)
    np.testing.assert_allclose(store.embed(spec, clips[0]), [0.1], rtol=1e-6)
    with pytest.raises(ValueError, match="too loud"):
        store.embed(spec, clips[2])


def test_nan_from_a_network_is_an_error_of_that_clip():
    def run(network, clips):
        return [np.array([np.nan if clip.views[0].mean() > 0.15 else 1.0]) for clip in clips]

    store = EncoderStore()
    spec = Encoder("shaky", 1, Backbone("shaky", lambda context: None, packages=()), run, (VIEW,))
    prefetch(store, spec, [clip("x"), clip("yy")])
    assert store.embed(spec, clip("x")) == [1.0]
    with pytest.raises(NonFiniteError, match="non-finite: shaky"):
        store.embed(spec, clip("yy"))


def test_a_network_that_does_not_fit_is_no_fault_of_the_clip():
    def load(context):
        raise RuntimeError("CUDA out of memory. Tried to allocate 8 GiB")

    spec = Encoder("huge", 1, Backbone("huge", load, packages=()), lambda n, c: [], (VIEW,))
    with pytest.raises(EnvironmentProblem, match="huge does not fit on cpu"):
        EncoderStore().embed(spec, clip("x"))


def test_texts_are_embedded_once_for_all_clips_of_a_prompt():
    seen = []

    def run(network, clips):
        seen.extend(clip.text for clip in clips)
        return [np.array([len(clip.text)]) for clip in clips]

    spec = Encoder("text", 1, Backbone("text", lambda context: None, packages=()), run, text="audio")
    store = EncoderStore()
    pairs = [(clip("x"), Prompt("a dog", audio_text="barks")), (clip("yy"), Prompt("a cat", audio_text="barks"))]
    store.prefetch(spec, pairs)
    assert [store.embed(spec, *pair)[0] for pair in pairs] == [5, 5]
    assert seen == ["barks"]


def test_the_disk_cache_serves_another_process_and_other_weights_do_not_share_it(tmp_path):
    first, second = Counter(), Counter()
    EncoderStore(cache=EmbeddingCache(tmp_path, 10**6)).embed(encoder("a", first), clip("x"))
    again = EncoderStore(cache=EmbeddingCache(tmp_path, 10**6))
    assert again.has(encoder("a", second), "x", Prompt())
    np.testing.assert_allclose(again.embed(encoder("a", second), clip("x")), [0.1], rtol=1e-6)
    assert second.loads == 0
    again.embed(encoder("b", second), clip("x"))
    assert second.loads == 1


def test_the_cache_stays_within_its_size_and_keeps_what_was_used_last(tmp_path):
    cache = EmbeddingCache(tmp_path, 20_000)
    for number in range(10):
        cache.put_array(("k", number), np.zeros(500))  # 4 kB
        os.utime(next(p for p in tmp_path.glob("*/*.npy") if p.stat().st_mtime > 1e9 + 1), (number, number))
    cache.prune()
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 20_000
    assert cache.array(("k", 0)) is None
    assert cache.array(("k", 9)) is not None


def test_a_damaged_cache_file_is_a_miss_and_a_folder_that_cannot_be_written_no_error(tmp_path):
    cache = EmbeddingCache(tmp_path, 10**6)
    cache.put_array(("k",), np.arange(3))
    for path in tmp_path.glob("*/*.npy"):
        path.write_bytes(b"\x93NUMPY torn")
    assert cache.array(("k",)) is None
    (tmp_path / "file").write_text("")
    EmbeddingCache(tmp_path / "file" / "below", 10**6).put_array(("k",), np.arange(3))


def test_two_processes_share_one_cache(tmp_path):
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom avbench.encoders import EmbeddingCache\n"
        "cache, seed = EmbeddingCache(Path(sys.argv[1]), 60_000), int(sys.argv[2])\n"
        "for turn in range(300):\n"
        "    key = ('k', turn % 20)\n"
        "    found = cache.array(key)\n"
        "    assert found is None or (found == turn % 20).all(), found\n"
        "    cache.put_array(key, np.full(500, turn % 20))\n"
        "    cache.prune() if turn % 10 == seed else None\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen([*command, str(seed)], stderr=subprocess.PIPE, text=True) for seed in range(2)]
    for process in running:
        assert process.wait(timeout=120) == 0, process.stderr.read()
    assert not list(tmp_path.glob("*/.*"))
