"""Rows of the checkpoints that VBench's dimensions use; `avbench.weights.checkpoints` adds them to its table."""

from __future__ import annotations

from avbench.weights.schema import Checkpoint, CheckpointFile

# Sources of sizes and checksums: (1) a public checker of VBench's cache folder, which lists eleven files with their
# sizes and the SHA-256 of those whose hash is published; (2) public repositories that pin the same bytes, named at each
# row. No source gives a revision of OpenGVLab/VBench_Used_Models: its files are taken by address, and the checksum pins
# them.
_VBENCH_MODELS = "https://huggingface.co/OpenGVLab/VBench_Used_Models/resolve/main"
_NON_COMMERCIAL = "CC BY-NC-SA 4.0 (non-commercial)"

# `folders` are those of VBench's own cache (~/.cache/vbench), and "" for the flat hub repository.
VBENCH_CHECKPOINTS = (
    Checkpoint(
        "dino_vitb16",
        # Size: source 1. Checksum: a reproduction of VBench and a medical benchmark, which downloaded it separately.
        (
            CheckpointFile(
                "dino_vitbase16_pretrain.pth",
                343_242_485,
                "bf34ad0f424b9029b593e8dc3ed553bf26e88bcba0d32bf3e62a6209cb64c85e",
                url="https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
            ),
        ),
        "Apache-2.0",
        "https://github.com/facebookresearch/dino",
        folders=("", "dino_model"),
    ),
    Checkpoint(
        "clip_vit_l14",
        # As clip_vit_b32: open_clip's copy of OpenAI's tensors. Checksum: two public users of this revision.
        (
            CheckpointFile(
                "open_clip_model.safetensors",
                1_710_517_724,
                "9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e",
            ),
        ),
        "MIT",
        "https://github.com/openai/CLIP",
        hubs=("timm/vit_large_patch14_clip_224.openai",),
        revision="18d0535469bb561bf468d76c1d73aa35156c922b",
    ),
    Checkpoint(
        "laion_aesthetic_l14",
        # Two public users give this checksum; one of them says that the file has not changed since 2022.
        (
            CheckpointFile(
                "sa_0_4_vit_l_14_linear.pth",
                4071,
                "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
                url="https://raw.githubusercontent.com/LAION-AI/aesthetic-predictor/main/sa_0_4_vit_l_14_linear.pth",
            ),
        ),
        "MIT",
        "https://github.com/LAION-AI/aesthetic-predictor",
        folders=("", "aesthetic_model/emb_reader"),
        requires=("clip_vit_l14",),  # whose features it reads
    ),
    Checkpoint(
        "amt_s",
        # Source 1 and a public scorer of interpolated video. The code is CC BY-NC 4.0, the hub's page says NC-SA.
        (CheckpointFile("amt-s.pth", 12_038_359, "07e7e03405c213fe4405678db9b42d05671e48c56faf6a441b99bb0047d3cf77"),),
        _NON_COMMERCIAL,
        "https://huggingface.co/lalala125/AMT",
        hubs=("lalala125/AMT",),
        revision="31d0420ef7788f6dc22aad3445148705007141bb",
        folders=("", "amt_model"),
        must_accept=True,
    ),
    Checkpoint(
        "raft_things",
        # The authors ship it inside an archive; ProPainter ships the same bytes alone. More than five public users give
        # this checksum, one of them for the file inside the authors' archive.
        (
            CheckpointFile(
                "raft-things.pth",
                21_108_000,
                "fcfa4125d6418f4de95d84aec20a3c5f4e205101715a79f193243c186ac9a7e1",
                url="https://github.com/sczhou/ProPainter/releases/download/v0.1.0/raft-things.pth",
            ),
        ),
        "BSD-3-Clause",
        "https://github.com/princeton-vl/RAFT",
        folders=("", "raft_model/models"),
    ),
    Checkpoint(
        "musiq_spaq",
        # Size: source 1. Checksum: two public users; its first eight digits stand in the file's name. Google published
        # the weights under Apache-2.0, but this conversion is distributed as non-commercial only.
        (
            CheckpointFile(
                "musiq_spaq_ckpt-358bb6af.pth",
                108_610_983,
                "358bb6af275e28ea56821d44fb55c6cb83645db11f394d3ad65b2d149965ab50",
                url="https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/"
                "musiq_spaq_ckpt-358bb6af.pth",
            ),
        ),
        _NON_COMMERCIAL,
        "https://huggingface.co/chaofengc/IQA-PyTorch-Weights",
        folders=("", "pyiqa_model"),
        must_accept=True,
    ),
    Checkpoint(
        "grit_b_densecap_objectdet",
        # Source 1 and a reproduction of VBench. The entries are half precision.
        (
            CheckpointFile(
                "grit_b_densecap_objectdet.pth",
                417_381_733,
                "53b6e9b3fd948eac55b574c9b6f94ad0743dff46ba449df7ac2d33009ee92ef1",
                url=f"{_VBENCH_MODELS}/grit_b_densecap_objectdet.pth",
            ),
        ),
        "not stated (GRiT, its code: MIT)",
        "https://github.com/JialianW/GRiT",
        folders=("", "grit_model"),
        requires=("bert_base_uncased_vocab",),
    ),
    Checkpoint(
        "umt_l16_k400",
        # Source 1 and a reproduction of VBench. The entries are half precision.
        (
            CheckpointFile(
                "l16_ptk710_ftk710_ftk400_f16_res224.pth",
                607_024_201,
                "bfee78a03bf806fbc0c216309e8f92792011b7db6556fa860e9d869c1e69fecd",
                url=f"{_VBENCH_MODELS}/l16_ptk710_ftk710_ftk400_f16_res224.pth",
            ),
        ),
        "not stated (unmasked_teacher, its code: MIT)",
        "https://github.com/OpenGVLab/unmasked_teacher",
        folders=("", "umt_model"),
    ),
    Checkpoint(
        "viclip_l14_internvid_10m",
        # Source 1 alone. The authors' page on the hub says MIT; only the clips of InternVid are CC BY-NC-SA 4.0.
        (
            CheckpointFile(
                "ViClip-InternVid-10M-FLT.pth",
                1_710_545_812,
                "7a4d6ad6eac6632db3693f4b97f9f8f6445b65b1e139a6fc6686150522238c56",
                url=f"{_VBENCH_MODELS}/ViClip-InternVid-10M-FLT.pth",
            ),
        ),
        "MIT",
        "https://huggingface.co/OpenGVLab/ViCLIP",
        folders=("", "ViCLIP"),
    ),
    Checkpoint(
        "tag2text_swin_b",
        # Source 1 alone; the hub's listing gives the same size. Two thirds of it is the state of the optimizer.
        (
            CheckpointFile(
                "tag2text_swin_14m.pth",
                4_478_705_095,
                "4ce96f0ce98f940a6680d567f66a38ccc9ca8c4e638e5f5c5c2e881a0e3502ac",
            ),
        ),
        "Apache-2.0",
        "https://github.com/xinyu1205/recognize-anything",
        hubs=("xinyu1205/recognize-anything",),
        revision="4b6c1161a44412eb4cf17633df36f5ad084dbec6",
        hub_type="space",
        folders=("", "caption_model"),
        requires=("bert_base_uncased_vocab",),
    ),
    Checkpoint(
        "bert_base_uncased_vocab",
        # Checksum: a public build that pins this revision, and many users of the same vocabulary.
        (CheckpointFile("vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),),
        "Apache-2.0",
        "https://huggingface.co/google-bert/bert-base-uncased",
        hubs=("google-bert/bert-base-uncased", "bert-base-uncased"),
        revision="86b5e0934494bd15c9632b12f734a8a67f723594",
        folders=("bert-base-uncased",),
    ),
)
