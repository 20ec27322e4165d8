"""The files of VABench's prompts from text to audio and video: size and checksum of each at a pinned commit."""

from __future__ import annotations

from avbench.weights.schema import CheckpointFile

COMMIT = "a42ed0a0bf54bf8c27b90803cbf560b609f9ef8c"
_ADDRESS = f"https://raw.githubusercontent.com/tanABCC/VABench/{COMMIT}/json_files/json_text"
_FILES = (
    (
        "easy_Immediate_Event_Synchronization",
        123_273,
        "93206d6139d2fa1c09851f5590261ca795d0ba06b4f4b844e9ea046a2f97f21a",
    ),
    (
        "easy_Indoor_Environment_and_Urban_Atmosphere",
        69_375,
        "211e89ae4837458ddd19022ec0d703a4c3357d5ccabb5b69dde66d37adbc6ba2",
    ),
    (
        "easy_Physical_Interaction_and_Acoustic_Phenomena",
        87_972,
        "c7e86af3451e106e32296a68db82d4b10756ac3a5ad802ab4aef7b34f6b228ef",
    ),
    ("easy_bioacoustics", 67_662, "93a2756d51432a54203fdf193383e9fa7e3942c10fff58b35fd0eaf8c45398db"),
    ("easy_human_language", 126_587, "bd3c90dffc82d761af95c96b2302e95a6f41f6ffe7919db4bc7cd4fd7d960a5d"),
    ("easy_human_nonverbal", 124_950, "39a834779775eb5e3d7751a99297b917e92f1692bc25a6730fdd99a58eae9068"),
    ("easy_music", 45_168, "a6fa93f2505a75fa44185ec2d572562e83b2e0c1d0942d81e6c0e09630716e89"),
    ("easy_natural_environment", 36_089, "523b98d3ce1e377c7af9f1d03c6f2848e5f19b5b7083f06bf9bc2a10e9b1e51b"),
    (
        "easy_strong_synchronization_and_rhythmic_movements",
        36_721,
        "8279e752c923f4c7171d85f8d11f85e3a24584a4ea52c7d2bcaf5950c3231022",
    ),
    ("easy_subjective_feeling", 44_187, "e4368075fb784523528a44b0ad3168b010d8e087821ae97cdfae83b1729c3a43"),
    ("hard_Exact_Time_Synchronization", 54_230, "f69650f38b058703d4dc8746e406a0431abfdc2d192c0513c90422b18f665146"),
    (
        "hard_Indoor_Environment_and_Urban_Atmosphere",
        27_789,
        "030ab32894eaf5ad6eb830f6c13f01030ee46ece6f9d0ba60fe7879280324fbf",
    ),
    (
        "hard_Physical_Interaction_and_Acoustic_Phenomena",
        49_246,
        "5021cfb0884950a181ec42194deada0de7493321f8f5cbd8a4f01a20c25479a6",
    ),
    (
        "hard_Physics_knowledge_and_world_knowledge",
        68_105,
        "3aea9261d4475a7ca15ea97d0ec9f2250661a445e25c7550517517d578f33472",
    ),
    ("hard_Virtual_Environment", 208_194, "9a11545ba5776a4700fffbc98d5eb9438505e82fdfad9273be2f89d4a305b9e0"),
    ("hard_complex_acoustic_scene", 118_220, "3da981060e46fd94294f5e630f627c746d43ffd5a46c891617b9d299dd414aa5"),
    ("hard_human_language", 86_784, "738d5ac829e3b3ce3bbd6cfc9be44d72b3dfc1bffe3428a8664fa995c375cb5c"),
    ("hard_invisible_sound_source", 63_122, "d7222a6ac92245dc1f25bf21e4fe92c0edd87779eb67da5754b565ed08e968c3"),
    ("hard_music", 28_306, "8202643b106fe4e5d75c15f01209fa26b1221421b3827538aa9f6aaa0b4eedad"),
    ("hard_natural_environment", 33_999, "17905361a8e5fd9cdc121a4a458e1a56faf1151c510c6ae73effb52f64b73a25"),
    ("hard_nonverbal_human", 50_939, "010b77845b3dadaf6b05d88f03a7ed0b0b0e316bde2ed15c53cbaf20de67cb82"),
    ("hard_sound_symbolism_and_metaphor", 106_892, "94c412ac0c72915df70c50408dc27d746e0be72927cd1a844eab5ee30aed86fd"),
    (
        "hard_strong_synchronization_and_rhythmic_movements",
        27_978,
        "db6cbf4e5f56134c917fff0d312521516f4ff6482e0dd731c74ac2610da06d16",
    ),
    ("hard_subjective_feeling", 54_452, "bbda3168270dbc6de6b4d386313600f6ecbcc1dbed201f3cbd80fc0e70993449"),
)
FILES = tuple(
    CheckpointFile(f"{name}.json", size, sha256, url=f"{_ADDRESS}/{name}.json") for name, size, sha256 in _FILES
)
