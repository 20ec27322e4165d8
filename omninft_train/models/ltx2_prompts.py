"""Text conditioning of LTX-2: encoded once per distinct prompt, kept on disk, the encoder freed again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import LTX2Pipeline
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.utils import DEFAULT_NEGATIVE_PROMPT
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.files import path_aside
from omninft_train.models.latents import Condition
from omninft_train.models.offload import free_device_memory

_LOG = logging.getLogger(__name__)

TEXT_PARTS = ("text_encoder", "tokenizer", "connectors")
# What Lightricks' own pipelines, and with them the release of OmniNFT, lead away from.
NEGATIVE_PROMPT: str = DEFAULT_NEGATIVE_PROMPT
# The length that LTX-2 was trained with; shorter prompts are padded.
PROMPT_TOKENS = 1024
# Number and size of the pieces of a weight file that its digest reads; reading 24 GB would take minutes.
_PIECES, _PIECE_BYTES = 64, 4096


@dataclass(frozen=True)
class TextOptions:
    """How prompts are encoded.

    Attributes:
        device: where the encoder runs and where conditioning is put.
        dtype: of the encoder, the connectors, and what they give.
        tokens: length of every prompt; longer ones are cut, with a warning.
    """

    device: str = "cpu"
    dtype: torch.dtype = torch.bfloat16
    tokens: int = PROMPT_TOKENS


class PromptStore:
    """Outputs of the connectors on disk, one safetensors file per prompt.

    The key covers the prompt, the weights of the text components, the number format and the length. Files are written
    aside and renamed, so several processes may share the folder.

    At 1,024 tokens a prompt takes 16 MB (LTX-2.0) or 13 MB (LTX-2.3) in bfloat16; the stacked layers of the text
    encoder, which the connectors reduce, would take 385 MB.
    """

    def __init__(self, folder: Path, cache: Path, options: TextOptions) -> None:
        self._folder = folder
        self._cache = cache
        self._options = options
        self._digest = digest_parts(folder, TEXT_PARTS)

    def prepare(self, prompts: Iterable[str]) -> int:
        """Encode the prompts that are not on disk yet; how many these were.

        Raises:
            EnvironmentProblem: the encoder cannot be loaded, or the disk is full.
        """
        missing = [prompt for prompt in dict.fromkeys(prompts) if not _is_whole(self.path(prompt))]
        if not missing:
            return 0
        _LOG.info("encoding %d prompts", len(missing))
        for prompt, condition in zip(missing, _encode(self._folder, missing, self._options), strict=True):
            self._write(prompt, condition)
        return len(missing)

    def missing(self, prompts: Iterable[str]) -> list[str]:
        """Prompts without a file; what files hold is not looked at."""
        return [prompt for prompt in dict.fromkeys(prompts) if not self.path(prompt).is_file()]

    def condition(self, prompts: Sequence[str]) -> Condition:
        """Conditioning of prompts, (B, S, D); those not on disk are encoded first, which loads the text encoder."""
        if self.prepare(prompts):
            _LOG.warning("prompts were encoded in the middle of a run; call `prepare` with all of them beforehand")
        distinct = list(dict.fromkeys(prompts))
        conditions = Condition.cat([self._read(prompt) for prompt in distinct])
        return conditions[[distinct.index(prompt) for prompt in prompts]]

    def path(self, prompt: str) -> Path:
        """File of a prompt."""
        options = self._options
        key = json.dumps([prompt.strip(), options.tokens, str(options.dtype), self._digest])
        return self._cache / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

    def _read(self, prompt: str) -> Condition:
        tensors = load_file(self.path(prompt), device=self._options.device)
        return Condition(tensors["video"], tensors["audio"], tensors.get("mask"))

    def _write(self, prompt: str, condition: Condition) -> None:
        path = self.path(prompt)
        tensors = {"video": condition.video, "audio": condition.audio}
        if condition.mask is not None:
            tensors["mask"] = condition.mask
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
            with path_aside(path) as aside:
                save_file(tensors, aside, metadata={"digest": _tensors_digest(tensors)})
        except (SafetensorError, OSError) as error:
            raise EnvironmentProblem(
                f"{path}: the conditioning of a prompt cannot be written ({error}). Set backbone.cache to a folder "
                "with space: 16 MB per prompt."
            ) from error


def _is_whole(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:  # compares the header with the size of the file
            digest = (file.metadata() or {}).get("digest")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        _LOG.warning("%s is broken (%s); the prompt is encoded again", path, error)
        return False
    if digest != _tensors_digest(tensors):
        # Also a file of an older version, which states no digest: encoding it again costs seconds.
        _LOG.warning("%s is damaged or old (its checksum differs); the prompt is encoded again", path)
        return False
    return {"video", "audio"} <= set(tensors)


def _tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def digest_parts(folder: Path, parts: Sequence[str]) -> str:
    """Identity of some components of a pipeline: their small files, and sizes and samples of their weight files."""
    digest = hashlib.sha256()
    for part in parts:
        for path in sorted((folder / part).rglob("*")):
            if path.suffix not in {".json", ".safetensors", ".model", ".txt"}:
                continue
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder)}:{size}".encode())
            with path.open("rb") as file:
                for piece in range(_PIECES):
                    file.seek(max(0, size - _PIECE_BYTES) * piece // (_PIECES - 1))
                    digest.update(file.read(_PIECE_BYTES))
    return digest.hexdigest()


@torch.no_grad()
def _encode(folder: Path, prompts: Sequence[str], options: TextOptions) -> Iterator[Condition]:
    """Conditioning (1, S, D) of each prompt, on the CPU; the encoder is loaded for it and freed afterwards."""
    pipeline = _text_pipeline(folder, options)
    # With registers, padding is replaced by them and every token counts: no mask, so that attention may be fused.
    masked = pipeline.connectors.config.video_connector_num_learnable_registers is None
    for prompt in prompts:
        _warn_if_cut(pipeline.tokenizer, prompt, options.tokens)
        states, mask, *_ = pipeline.encode_prompt(
            prompt,
            do_classifier_free_guidance=False,
            max_sequence_length=options.tokens,
            device=torch.device(options.device),
            dtype=options.dtype,
        )
        side = pipeline.tokenizer.padding_side
        video, audio, mask = (part.cpu() for part in pipeline.connectors(states, mask, padding_side=side))
        yield Condition(video, audio, mask if masked else None)
    del pipeline
    free_device_memory()


def _text_pipeline(folder: Path, options: TextOptions) -> Any:
    """An LTX2Pipeline of the text components only."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    name = index["text_encoder"][1]
    encoder = getattr(transformers, str(name), None)
    if encoder is None:
        raise UsageError(f"{folder}: text encoder {name} is not in the installed transformers.")
    device_map = {"": options.device}
    try:
        pipeline: Any = LTX2Pipeline
        return pipeline(
            text_encoder=encoder.from_pretrained(
                folder / "text_encoder", dtype=options.dtype, device_map=device_map
            ).eval(),
            tokenizer=transformers.AutoTokenizer.from_pretrained(folder / "tokenizer"),
            connectors=LTX2TextConnectors.from_pretrained(
                folder, subfolder="connectors", torch_dtype=options.dtype, device_map=device_map
            ).eval(),
            scheduler=None,
            vae=None,
            audio_vae=None,
            transformer=None,
            vocoder=None,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise EnvironmentProblem(f"{folder}: the text components cannot be loaded ({error}).") from error


def _warn_if_cut(tokenizer: transformers.PreTrainedTokenizerBase, prompt: str, tokens: int) -> None:
    count = len(tokenizer(prompt.strip()).input_ids)
    if count > tokens:
        _LOG.warning("a prompt of %d tokens is cut to %d: '%.40s...'", count, tokens, prompt)
