"""The table of checkpoints: where each file comes from, its size, its checksum, its licence."""

from __future__ import annotations

from collections.abc import Iterable

from avbench.weights.schema import Checkpoint, CheckpointFile
from avbench.weights.speech_checkpoints import FACE_CHECKPOINTS, VOICE_CHECKPOINTS, WHISPER_CHECKPOINTS
from avbench.weights.vbench_checkpoints import VBENCH_CHECKPOINTS

# Sources of revisions, sizes and checksums: (1) the table and download script of the five OmniNFT rewards in
# verl-omni's documentation, "OmniNFT Reward", checked by its authors on 2026-08-26 against the hub and against
# zghhui/OmniNFT-Reward-Series at 9e30061; (2) lists of file digests in public repositories that pin the same hub
# revision, each named at its row; (3) git, for the two files that come from git.
_QWEN_TOKENIZER = "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"
_RAW = "https://raw.githubusercontent.com"

_TABLE = (
    Checkpoint(
        "imagebind_huge",
        # Size and checksum: two independent public users of the official file give the same.
        (
            CheckpointFile(
                "imagebind_huge.pth",
                4_803_584_173,
                "d6f6c22bedcc90708448d5d2fbb7b2db9c73f505dc89bd0b2e09b23af1b62157",
                url="https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
            ),
        ),
        "CC BY-NC-SA 4.0 (non-commercial)",
        "https://github.com/facebookresearch/ImageBind",
        folders=("", "ImageBind"),
        must_accept=True,
    ),
    Checkpoint(
        "clip_vit_b32",
        # OpenAI's own file is a TorchScript archive, which only runs; this is open_clip's copy of its tensors.
        # Checksum: the hub's LFS digest, repeated by several public users of this revision.
        (
            CheckpointFile(
                "open_clip_model.safetensors",
                605_143_284,
                "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31",
            ),
        ),
        "MIT",
        "https://github.com/openai/CLIP",
        hubs=("timm/vit_base_patch32_clip_224.openai",),
        revision="a6f597a30f7b82c51704746581f9a4e41421e878",
        folders=("",),
    ),
    Checkpoint(
        "clap_htsat_unfused",
        # Weights: source 1. The small files: a public licence inventory that lists this revision file by file.
        (
            CheckpointFile(
                "pytorch_model.bin",
                614_525_833,
                "1cd3c601bc4afe0fa87be3de4c13dd2cfadd249fac1e29acf74a9b296c3219bb",
            ),
            CheckpointFile("config.json", 5390, "9efb9557bc804f2ca6e394486af2e45dfed0b18554909735a99c6220b84e4288"),
            CheckpointFile(
                "preprocessor_config.json", 541, "9739f58296aa6f9ac18008fd0150fb2649bc554985fbde86d0a4041c882ac753"
            ),
            CheckpointFile(
                "tokenizer.json", 2_108_746, "77ef92283d67f0d97e1454909a964afcbfa2019f0fb9f18f8e88d5c25c3ba729"
            ),
            CheckpointFile(
                "tokenizer_config.json", 384, "377f91458f7729a4574a84c77bdce67dbc3c58c1a345a29bbf8c4eb1307948a3"
            ),
            CheckpointFile(
                "special_tokens_map.json", 280, "06e405a36dfe4b9604f484f6a1e619af1a7f7d09e34a8555eb0b77b66318067f"
            ),
            CheckpointFile("vocab.json", 798_293, "ed19656ea1707df69134c4af35c8ceda2cc9860bf2c3495026153a133670ab5e"),
            CheckpointFile("merges.txt", 456_356, "fe36cab26d4f4421ed725e10a2e9ddb7f799449c603a96e7f29b5a3c82a95862"),
        ),
        "Apache-2.0",
        "https://huggingface.co/laion/clap-htsat-unfused",
        hubs=("laion/clap-htsat-unfused",),
        revision="8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
        folders=("clap-htsat-unfused", "CLAP"),
    ),
    Checkpoint(
        "clap_laion",
        # The default checkpoint of package laion-clap without fusion. Checksum: a public manifest of this revision.
        (
            CheckpointFile(
                "630k-audioset-best.pt",
                1_863_587_645,
                "8053c9775516af2f4902e1e8281e356cc1bf7a85e8b761908170767b77c3f037",
            ),
        ),
        "CC0-1.0",
        "https://huggingface.co/lukewys/laion_clap",
        hubs=("lukewys/laion_clap",),
        revision="b3708341862f581175dba5c356a4ebf74a9b6651",
        folders=("",),
        requires=("clap_htsat_unfused",),  # its tokenizer
    ),
    Checkpoint(
        "audiobox_aesthetics",
        # Weights: source 1. config.json: a public experiment that lists the files of this revision.
        (
            CheckpointFile(
                "model.safetensors",
                415_472_992,
                "a5a3c2412649cc2384ec525ffd5180ce6c4778f43bed6108e0a1303de04d014e",
            ),
            CheckpointFile("config.json", 492, "0b8eabc5ced92cefed116a3aca8f1e59d2a33dc4d376b9e86dfb9c072e1d280d"),
        ),
        "CC BY 4.0",
        "https://huggingface.co/facebook/audiobox-aesthetics",
        hubs=("facebook/audiobox-aesthetics",),
        revision="9b1dd8e5df9af7216e836a98974fe3b82c56ded6",
        folders=("audiobox-aesthetics",),
    ),
    Checkpoint(
        "synchformer",
        # Source 1.
        (
            CheckpointFile(
                "synchformer_state_dict.pth",
                950_058_171,
                "8aff082f2df5c3bc52759db0c865c7ee772ae6400b860d1b7e90413f2defb67c",
                url="https://github.com/hkchengrex/MMAudio/releases/download/v0.1/synchformer_state_dict.pth",
            ),
        ),
        "MIT",
        "https://github.com/v-iashin/Synchformer",
        folders=("", "synchformer"),
    ),
    Checkpoint(
        "videoalign",
        # Source 1. model_config.json has no checksum: the copy in OmniNFT-Reward-Series differs in a path.
        (
            CheckpointFile(
                "model.pth",
                5_031_072_529,
                "48375908e6112de9f0248402db156a23b480709a6960b091c598c6f4c88d21b9",
                remote="checkpoint-11352/model.pth",
            ),
            CheckpointFile("model_config.json"),
        ),
        "Apache-2.0",
        "https://huggingface.co/KlingTeam/VideoReward",
        hubs=("KlingTeam/VideoReward", "KwaiVGI/VideoReward"),
        revision="4f26600130683e6f1de9f5d463887f28e8ef995c",
        folders=("VideoReward",),
        requires=("qwen2_vl_2b", "videoalign_template"),
    ),
    Checkpoint(
        "qwen2_vl_2b",
        # No weights: VideoReward's file holds the whole network. Two public users of this revision list these digests.
        (
            CheckpointFile("config.json", 1196, "422adefa19e62dd175961cec85bc0400344fe5bf9b22bd1182e05aaae78556e0"),
            CheckpointFile("chat_template.json", 0, "ad60d90252ed0b0705ba14e2d0ad0fec0beac1ea955642b54059b36052d8bc96"),
            CheckpointFile(
                "tokenizer.json", 7_029_741, "cb63a0a23eef3d5b01063a9880a1925a65aaf4d1591d519910ee3527852950a0"
            ),
            CheckpointFile(
                "tokenizer_config.json", 4190, "ff5c4fd898fe8c39591eb70e5d39d2782802d4204d6ae9ba1223252f354842a0"
            ),
            CheckpointFile("vocab.json", 2_776_833, "ca10d7e9fb3ed18575dd1e277a2579c16d108e32f27439684afa0e10b1440910"),
            CheckpointFile("merges.txt", 1_671_839, "599bab54075088774b1733fde865d5bd747cbcc7a547c5bc12610e874e26f5e3"),
        ),
        "Apache-2.0",
        "https://huggingface.co/Qwen/Qwen2-VL-2B-Instruct",
        hubs=("Qwen/Qwen2-VL-2B-Instruct",),
        revision="895c3a49bc3fa70a340399125c650a463535e71c",
        folders=("Qwen2-VL-2B-Instruct",),
    ),
    Checkpoint(
        "videoalign_template",
        (
            CheckpointFile(
                "prompt_template.py",
                10_760,
                "8fb42f91fd7440a1c9a377e78f36d67da6132eb348f402eecbeb57e41f138ae9",
                url=f"{_RAW}/KwaiVGI/VideoAlign/219ab9db64c045e5181a2202d11f686439351292/prompt_template.py",
            ),
        ),
        "MIT",
        "https://github.com/KwaiVGI/VideoAlign",
        folders=("",),
    ),
    Checkpoint(
        "hpsv3",
        # Source 1.
        (
            CheckpointFile(
                "HPSv3.safetensors",
                16_584_387_300,
                "a13d7ff5a07b7ffa0f7824e60d62e6ae144541ceefd5224b4c08fda7ab39f353",
            ),
        ),
        "MIT",
        "https://huggingface.co/MizzenAI/HPSv3",
        hubs=("MizzenAI/HPSv3",),
        revision="4f81e3e09edd82fe3c5f636444c721b592a735ca",
        folders=("", "HPSv3"),
        requires=("qwen2_vl_7b", "hpsv3_template"),
    ),
    Checkpoint(
        "qwen2_vl_7b",
        # HPSv3 holds all weights; only the architecture and the tokenizer are taken from here.
        tuple(
            CheckpointFile(name)
            for name in ("config.json", "preprocessor_config.json", "chat_template.json", *_QWEN_TOKENIZER)
        ),
        "Apache-2.0",
        "https://huggingface.co/Qwen/Qwen2-VL-7B-Instruct",
        hubs=("Qwen/Qwen2-VL-7B-Instruct",),
        revision="eed13092ef92e448dd6875b2a00151bd3f7db0ac",
        folders=("Qwen2-VL-7B-Instruct",),
    ),
    Checkpoint(
        "hpsv3_template",
        (
            CheckpointFile(
                "data_collator_qwen.py",
                8574,
                "b0f936e89f8df652c67d470412e1d9afd27aa711dec85724c19989ac91e7a3e3",
                url=f"{_RAW}/zghhui/OmniNFT/c03c3f29201543a903beb65ff32ff1a73ddfda90/"
                "flow_grpo/HPSv3/hpsv3/dataset/data_collator_qwen.py",
            ),
        ),
        "MIT",
        "https://github.com/MizzenAI/HPSv3",
        folders=("",),
    ),
    Checkpoint(
        "i3d_k400",
        # The revision stands in JavisBench's download code. No source gives a checksum.
        (CheckpointFile("i3d_pretrained_400.pt", remote="opensora/eval/fvd/videogpt/i3d_pretrained_400.pt"),),
        "not stated (kinetics-i3d, from which it was converted: Apache-2.0)",
        "https://github.com/google-deepmind/kinetics-i3d",
        hubs=("LanguageBind/Open-Sora-Plan-v1.0.0",),
        revision="810fa8c4bdb3a4c8eec9bd57375c29bde6fb46de",
        hub_type="space",
        folders=("",),
    ),
    Checkpoint(
        "audioclip",
        # Source 1, which found this file in folder CLAP of OmniNFT-Reward-Series.
        (
            CheckpointFile(
                "AudioCLIP-Full-Training.pt",
                537_302_068,
                "2441d35b353352c8b1bbfb8f7c687f46314c3d2909e940eaf763b8c17f632c44",
                url="https://github.com/AndreyGuzhov/AudioCLIP/releases/download/v0.1/AudioCLIP-Full-Training.pt",
            ),
        ),
        "MIT",
        "https://github.com/AndreyGuzhov/AudioCLIP",
        folders=("", "CLAP"),
    ),
    Checkpoint(
        "cavp",
        # Size and checksum: the installer of a public program that pins this revision.
        (
            CheckpointFile(
                "cavp_epoch66.ckpt",
                1_361_483_035,
                "3472c2217a9481f530a96e32611c9e4611766f10b7f0d185a1ce35be7b7f9c80",
                remote="diff_foley_ckpt/cavp_epoch66.ckpt",
            ),
        ),
        "Apache-2.0",
        "https://huggingface.co/SimianLuo/Diff-Foley",
        hubs=("SimianLuo/Diff-Foley",),
        revision="b17ddbe76e6d42f4b4135eeb443b1c1644267e3e",
        folders=("",),
    ),
)

CHECKPOINTS: dict[str, Checkpoint] = {
    row.name: row for row in (*_TABLE, *VBENCH_CHECKPOINTS, *WHISPER_CHECKPOINTS, *VOICE_CHECKPOINTS, *FACE_CHECKPOINTS)
}


def with_required(names: Iterable[str]) -> list[str]:
    """These checkpoints and those that they require, in order, without repetition."""
    chosen: list[str] = []
    for name in names:
        chosen += [name, *with_required(CHECKPOINTS[name].requires)]
    return list(dict.fromkeys(chosen))
