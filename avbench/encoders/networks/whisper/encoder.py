"""The encoder that writes down what is spoken; which checkpoint does, `WeightsConfig.transcriber` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.networks.whisper.log_mel import RATE
from avbench.encoders.networks.whisper.transcriber import Transcriber, load_transcriber
from avbench.encoders.networks.whisper.transcript import Transcript
from avbench.media import Waveform
from avbench.weights.locate import files

# CTranslate2 has no bf16 or fp16 on most CPUs; 8 bits are its own way of being fast.
_COMPUTE_TYPES = {"fp32": "float32", "bf16": "int8", "fp16": "int8"}
_NOTHING = Transcript("en", True, {}, ())


def _load(context: LoadContext) -> Transcriber | None:
    # CTranslate2 runs only converted files, so a test run has no random network: its transcripts are empty.
    if context.setup.is_test:
        return None
    folder = files(context.setup.transcriber, context.setup)["model.bin"].parent
    return load_transcriber(folder, context.device, _COMPUTE_TYPES[context.setup.precision])


def _run(transcriber: Any, clips: Sequence[ClipInput]) -> list[NDArray[np.uint8]]:
    return [_written(transcriber, clip).as_array() for clip in clips]


def _written(transcriber: Transcriber | None, clip: ClipInput) -> Transcript:
    return _NOTHING if transcriber is None else transcriber.transcribe(clip.views[0][0], clip.text)


WHISPER = Encoder(
    name="whisper",
    version=1,
    backbone=Backbone(
        name="whisper",
        load=_load,
        row="whisper_large_v3_turbo",
        packages=("ctranslate2", "tokenizers"),
        extra="speech",
        chosen=lambda setup: setup.transcriber,
    ),
    run=_run,
    views=(Waveform(rate=RATE, mono=True),),
    text="language",
)
"""The sound of a clip -> its `Transcript` in the language of the prompt, as an array of bytes."""
