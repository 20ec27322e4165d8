"""GRiT against the reference's numbers, its parts by themselves, and how it loads."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from vbench_goldens import FOLDER, arrays_of, checkpoint_entries, decoded, golden

from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks.grit.detections import from_array
from avbench.encoders.networks.grit.encoders import GRIT, GRIT_ANTIALIAS, GRIT_ROUNDED
from avbench.encoders.wordpieces import PIECES, WordPieces
from avbench.errors import EnvironmentProblem
from avbench.media import Frames

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from avbench.encoders.loading import load_strict  # noqa: E402 - imports torch
from avbench.encoders.networks.grit import backbone, network, regions  # noqa: E402
from avbench.encoders.networks.grit.frames import to_tensor  # noqa: E402
from avbench.encoders.networks.grit.text import CAPTION, END, NAME, TextSizes  # noqa: E402

REDUCED = LoadContext(WeightsConfig("keyed-random-reduced"), "cpu")
# The decoder that the reference's numbers were made with; all else is of full size.
SMALL_TEXT = network.Sizes(text=TextSizes(2, 96, 4, 192, 6))
EXPECTED = golden("grit")


@pytest.fixture(scope="module")
def describer():
    return GRIT.backbone.load(REDUCED)


@pytest.fixture(scope="module")
def reduced(describer):
    return describer.network


def drawn(height: int = 96, width: int = 128, seed: int = 0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, height, width))).float()


def state_of_published():
    """Entries of the names and shapes of the published checkpoint, with the small decoder, all zero."""
    shapes = checkpoint_entries("grit_b_reduced_text")
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}


def load_published(state) -> None:
    load_strict(network.build(SMALL_TEXT), network.used_entries(state, "file"), "file")


def test_entries_are_those_of_the_published_checkpoint():
    state = state_of_published()
    load_published(state)
    twin = {
        key.replace("text_decoder.", "text_decoder_det."): value
        for key, value in state.items()
        if "text_decoder." in key
    }
    load_published(state | twin)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone.bottom_up.pos_embed": None}, "pos_embed"),
        ({"backbone.extra": torch.zeros(1)}, "backbone.extra"),
        ({"roi_heads.text_decoder.textual.output.weight": None}, "output.weight is not"),
        ({"roi_heads.text_decoder.textual.output.weight": torch.ones(30522, 96)}, "output.weight is not"),
        ({"roi_heads.text_decoder_det.textual.output.bias": torch.ones(30522)}, "text_decoder_det.textual.output.bias"),
        ({"roi_heads.box_predictor.0.cls_score.bias": torch.zeros(3)}, "expected"),
    ],
)
def test_other_checkpoints_are_refused(change, message):
    state = {key: value for key, value in (state_of_published() | change).items() if value is not None}
    with pytest.raises(EnvironmentProblem, match=message):
        load_published(state)


def test_loads_from_a_file_of_half_precision(tmp_path, describer, monkeypatch):
    state = {key: value.half() for key, value in describer.network.state_dict().items()}
    prefix = "roi_heads.text_decoder.textual."
    state[f"{prefix}output.weight"] = state[f"{prefix}embedding.words.weight"]
    state["roi_heads.mask_head.predictor.bias"] = torch.zeros(1)
    torch.save({"model": state, "iteration": 7}, tmp_path / "grit.pth")
    monkeypatch.setattr(network, "Sizes", lambda: network.REDUCED)
    loaded = network.load(LoadContext(WeightsConfig(), "cpu"), tmp_path / "grit.pth")
    for key, value in loaded.state_dict().items():
        assert value.dtype is torch.float32
        torch.testing.assert_close(value, state[key].float())
    assert network.Describer(loaded, describer.words).detect(drawn())


def test_detections_lie_in_the_frame_and_have_texts(describer):
    frame = drawn()
    found = describer.detect(frame)
    assert len(found) > 5
    assert len({detection.name for detection in found}) > 1
    for detection in found:
        x0, y0, x1, y1 = detection.box
        assert 0 <= x0 <= x1 <= 128
        assert 0 <= y0 <= y1 <= 96


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (40, 320), (320, 40)])
def test_any_size_of_frame(describer, size):
    for detection in describer.detect(drawn(*size)):
        assert detection.box[2] <= size[1]
        assert detection.box[3] <= size[0]


def test_low_precision_runs():
    describer = GRIT.backbone.load(LoadContext(WeightsConfig("keyed-random-reduced", precision="bf16"), "cpu"))
    assert describer.detect(drawn())


def test_clips_do_not_depend_on_each_other(describer):
    clips = [
        ClipInput((np.random.default_rng(seed).integers(0, 256, (2, 64, 48 * seed, 3), dtype=np.uint8),))
        for seed in (1, 2)
    ]
    together = GRIT.run(describer, clips)
    for clip, array in zip(clips, together, strict=True):
        (alone,) = GRIT.run(describer, [clip])
        np.testing.assert_array_equal(array, alone)
        assert len(from_array(array)) == 2


def test_attention_in_parts_is_the_same(reduced, monkeypatch):
    frame = drawn(240, 256)
    whole = reduced.maps(frame)
    monkeypatch.setattr(backbone, "_PAIRS_AT_ONCE", 1)
    for one, other in zip(whole, reduced.maps(frame), strict=True):
        torch.testing.assert_close(one, other)


def test_texts_do_not_depend_on_the_order_or_on_other_regions(reduced):
    features = torch.randn(5, 9, 64, generator=torch.Generator().manual_seed(0))
    decoder = reduced.roi_heads.text_decoder
    names, captions = decoder(features, (NAME, CAPTION))
    assert decoder(features, (CAPTION, NAME)) == [captions, names]
    assert decoder(features[3:4], (NAME,)) == [names[3:4]]
    assert decoder(features[:0], (NAME,)) == [[]]
    for ids in names + captions:
        assert len(ids) <= network.REDUCED.text.tokens - 1
        assert END not in ids
        assert all(a != b for a, b in pairwise(ids))


def test_proposals_are_bounded_and_sorted(reduced):
    boxes, scores = reduced.proposal_generator(reduced.maps(drawn(320, 480)))
    assert 0 < len(boxes) <= 256
    assert (scores[:-1] >= scores[1:]).all()
    assert (boxes[:, 2:] - boxes[:, :2] > 0.009).all()


def test_boxes_move():
    box = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    torch.testing.assert_close(regions.moved(box, torch.zeros(1, 4), (10, 5)), box)
    step = torch.tensor([[1.0, -2.0, 5 * float(np.log(2)), 1000.0]])
    # The centre (20, 40) goes right by a tenth of 20 and up by two tenths of 40; growth ends at 62.5.
    expected = torch.tensor([[2.0, 32 - 1250.0, 42.0, 32 + 1250.0]])
    torch.testing.assert_close(regions.moved(box, step, (10, 5)), expected)


def test_large_regions_are_read_from_coarse_maps():
    maps = [torch.full((1, 1, 1024 // stride, 1024 // stride), float(stride)) for stride in (8, 16, 32)]
    sides = (1, 111, 112, 223, 224, 447, 448, 900)
    boxes = torch.tensor([[50.0, 50.0, 50.0 + side, 50.0 + side] for side in sides])
    assert regions.pool(maps, boxes, 2)[:, 0, 0, 0].tolist() == [8, 8, 8, 8, 16, 16, 32, 32]


def test_objects_are_sure_and_apart():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 10], [0, 50, 10, 60], [0, 0, np.inf, 9]])
    kept, scores = regions.objects(boxes, torch.tensor([0.6, 0.9, 0.7, 0.5, 0.99]))
    assert kept.tolist() == boxes[[1, 2]].tolist()
    assert scores.tolist() == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize(
    ("size", "expected"), [((1080, 1920), (720, 1280)), ((1024, 800), (921, 720)), ((768, 3000), (768, 3000))]
)
def test_large_frames_become_smaller(size, expected):
    frame = np.zeros((*size, 3), dtype=np.uint8)
    for resize in ("plain", "rounded", "antialias"):
        assert to_tensor(frame, resize).shape == (3, *expected)


def test_resizes_are_those_of_the_reference():
    frame = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), dtype=np.uint8)
    floats = torch.from_numpy(frame).permute(2, 0, 1).float()
    plain, rounded, smooth = to_tensor(frame), to_tensor(frame, "rounded"), to_tensor(frame, "antialias")
    for tensor, antialias in ((plain, False), (smooth, True)):
        expected = torchvision.transforms.functional.resize(floats, (720, 800), antialias=antialias)
        torch.testing.assert_close(tensor, expected)
    np.testing.assert_array_equal(rounded.permute(1, 2, 0), cv2.resize(frame, (800, 720)))
    assert 0 < (rounded - plain).abs().max() < 2
    assert (smooth - plain).abs().max() > 2
    small = frame[:700]
    for resize in ("rounded", "antialias"):
        assert torch.equal(to_tensor(small), to_tensor(small, resize))


@pytest.mark.parametrize("encoder", [GRIT_ROUNDED, GRIT_ANTIALIAS], ids=lambda encoder: encoder.name)
def test_modes_differ_for_large_frames_only(describer, encoder):
    noise = np.random.default_rng(0).integers(0, 256, (1, 780, 800, 3), dtype=np.uint8)
    large, small = ClipInput((noise,)), ClipInput((noise[:, :100, :100],))
    for clip, equal in ((large, False), (small, True)):
        (plain,), (other,) = GRIT.run(describer, [clip]), encoder.run(describer, [clip])
        assert np.array_equal(plain, other) == equal


# The reference at full size, but for its decoder.


@pytest.fixture(scope="module")
def full():
    built = network.build(SMALL_TEXT)
    network.fill_at_random(built)
    return built.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def frames(golden_clips):
    def decode(name, path):
        return to_tensor(decoded(path, (Frames(),)).view(Frames())[EXPECTED[name]["frame"]])

    return {
        "clip_d": decode("clip_d", golden_clips / "clip_d.mp4"),
        "clip_e": decode("clip_e", FOLDER / "clip_e.mp4"),
    }


def ended(ids: list[int]) -> list[int]:
    return ids[1 : ids.index(END)] if END in ids else ids[1:]


def log_probability(textual, features, ids: list[int]) -> float:
    """Mean logarithm of the probability of each token of a text, its end included, as the reference has it."""
    memories = textual.look(features)
    written = ids[: ids.index(END) + 1] if END in ids else ids
    total = 0.0
    for position, (last, following) in enumerate(pairwise(written)):
        logits = textual.next_logits(torch.tensor([[last]]), position, memories)[0]
        if position:
            logits[last] = -10000.0
        total += float(logits.log_softmax(dim=0)[following])
    return total / (len(written) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip_d", "clip_e"])
def test_equals_the_reference(name, full, frames):
    frame, expected, numbers = frames[name], EXPECTED[name], arrays_of("grit", name)
    size = tuple(frame.shape[1:])

    def close(values, key, tolerance):
        np.testing.assert_allclose(values.numpy(), numbers[key], atol=tolerance, rtol=0)

    seen = []
    handle = full.backbone.bottom_up.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    maps = full.maps(frame)
    handle.remove()
    close(seen[0][0, ::32], "vit_sub", 5e-5)
    for level, features in enumerate(maps, start=3):
        close(features[0, ::16], f"p{level}_sub", 5e-5)

    boxes, scores = full.proposal_generator(maps)
    assert len(boxes) == expected["n_proposals"]
    close(scores[:64], "prop_scores", 2e-5)
    close(boxes[:64], "prop_boxes", 5e-3)
    boxes, scores = full.roi_heads.refine(maps[:3], boxes, scores, size)
    close(scores, "cascade_scores", 2e-5)

    boxes, scores = regions.objects(boxes, scores)
    features = regions.pool(maps[:3], boxes, 14).flatten(2).transpose(1, 2)
    # Rounding moves proposals by up to 0.001 pixels here, boxes after three heads more, and what is read in them.
    close(features[:4, ::28, ::32], "obj_feat_sub", 5e-5 if name == "clip_d" else 3e-4)
    texts = full.describe(maps, boxes, (NAME, CAPTION))
    order = in_order(scores, texts[0], [ended(ids) for ids in expected["name_tokens"]])
    for kind, ids in zip(texts, ("name_tokens", "caption_tokens"), strict=True):
        assert [kind[index] for index in order] == [ended(row) for row in expected[ids]]
    textual = full.roi_heads.text_decoder.textual
    for key, ids in (("logprobs", "name_tokens"), ("caption_logprobs", "caption_tokens")):
        for index in range(len(order)):
            value = log_probability(textual, features[order[index]][None], expected[ids][index])
            assert value == pytest.approx(numbers[key][index], abs=2e-5)


def in_order(scores, found: list[list[int]], expected: list[list[int]]) -> list[int]:
    """Index into `found` of each expected text. Regions whose scores differ by rounding may change places."""
    order = []
    for index, ids in enumerate(expected):
        near = torch.nonzero((scores - scores[index]).abs() < 2e-5)[:, 0].tolist()
        order.append(next((other for other in [index, *near] if found[other] == ids), index))
    return order


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip_d", "clip_e"])
def test_detections_equal_the_reference(name, full, frames):
    expected = EXPECTED[name]
    pieces = [EXPECTED["pieces"].get(str(number), "") for number in range(PIECES)]
    found = network.Describer(full, WordPieces(pieces)).detect(frames[name])
    rows = zip(expected["names"], expected["captions"], expected["boxes"], strict=True)
    wanted = sorted([name, caption, *box] for name, caption, box in rows)
    got = sorted([d.name, d.caption, *d.box] for d in found)
    assert [row[:2] for row in got] == [row[:2] for row in wanted]
    np.testing.assert_allclose([row[2:] for row in got], [row[2:] for row in wanted], atol=1)
