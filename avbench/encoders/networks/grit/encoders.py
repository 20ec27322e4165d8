"""GRiT over a clip: what is in 16 of its frames, by name and in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import wordpieces
from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.networks.grit.detections import to_array
from avbench.encoders.wordpieces import WordPieces
from avbench.media import Frames, Middle
from avbench.weights.locate import files

if TYPE_CHECKING:
    from avbench.encoders.networks.grit.frames import Resize
    from avbench.encoders.networks.grit.network import Describer

ROW = "grit_b_densecap_objectdet"
FRAMES = 16
# Words for tests, without the published vocabulary: some are names and colours, so that scores differ from 0.
_STAND_IN = tuple(islice(cycle(["red", "cat", "blue", "bird", "car", "on", "dog"]), wordpieces.PIECES))


def _load(context: LoadContext) -> Any:
    from avbench.encoders.networks.grit.network import Describer, load

    if context.setup.is_test:
        return Describer(load(context, None), WordPieces(_STAND_IN))
    (path,) = files(ROW, context.setup).values()
    (vocabulary,) = files(wordpieces.ROW, context.setup).values()
    return Describer(load(context, path), wordpieces.read_word_pieces(vocabulary))


def _run(describer: Describer, clips: Sequence[ClipInput], *, resize: Resize) -> list[NDArray[np.uint8]]:
    """The detections of each clip, as `detections.to_array` holds them."""
    import torch

    from avbench.encoders.networks.grit.frames import to_tensor

    device = describer.network.backbone.fpn_stride_16_8.weight.device
    with torch.inference_mode():  # frame by frame: the pairs of patches of one large frame fill memory enough
        return [
            to_array([describer.detect(to_tensor(frame, resize).to(device)) for frame in clip.views[0]])
            for clip in clips
        ]


GRIT_BACKBONE = Backbone(name="grit", load=_load, row=ROW, packages=("torch", "torchvision"))
_VIEWS = (Frames(Middle(FRAMES)),)

GRIT = Encoder("grit", 1, GRIT_BACKBONE, partial(_run, resize="plain"), views=_VIEWS)
"""16 middle frames -> names, captions and boxes of the objects in each, as an array of bytes."""

GRIT_ROUNDED = Encoder("grit_rounded", 1, GRIT_BACKBONE, partial(_run, resize="rounded"), views=_VIEWS)
"""The same, with large frames as the reference resizes them for colours."""

GRIT_ANTIALIAS = Encoder("grit_antialias", 1, GRIT_BACKBONE, partial(_run, resize="antialias"), views=_VIEWS)
"""The same, with large frames as the reference resizes them with torchvision from 0.17 on."""
