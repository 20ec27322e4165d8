"""Cut files are errors, by what they state of themselves; whole files are not, whatever FFmpeg estimates."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import draw_frames, draw_sound, write_clip

from avbench import score_clips
from avbench.clips import Clip
from avbench.media import AtRate, Frames, Waveform, decode_clip
from avbench.media.stated_size import StatedSize, stated_size
from avbench.media.unfinished import ends_early

SECONDS = 3.0
FRAMES = draw_frames(5, seconds=SECONDS, size=(48, 64))
SOUND = draw_sound(5, seconds=SECONDS)
# Suffix, codec of the video, codec of the audio; options of the muxer.
VIDEOS = {
    "mkv": ("libx264", "aac", {}),
    "webm": ("libvpx-vp9", "libopus", {}),
    "avi": ("mpeg4", "pcm_s16le", {}),
    "flv": ("libx264", "aac", {}),
    "mov": ("libx264", "aac", {"movflags": "faststart"}),
    "mp4": ("libx264", "aac", {"movflags": "faststart"}),
}
SOUNDS = {"wav": "pcm_s16le", "w64": "pcm_s16le", "aiff": "pcm_s16be", "flac": "flac", "mp3": "mp3"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Writes a file of a suffix once, with as much of the sound as asked."""
    folder = tmp_path_factory.mktemp("whole")

    def write(suffix, audio_seconds=SECONDS):
        path = folder / f"{audio_seconds}.{suffix}"
        if not path.exists():
            sound = SOUND[:, : int(audio_seconds * 16_000)]
            if suffix in VIDEOS:
                codec, audio_codec, options = VIDEOS[suffix]
                write_clip(path, FRAMES, sound, codec=codec, audio_codec=audio_codec, options=options)
            else:
                write_clip(path, None, sound, audio_codec=SOUNDS[suffix])
        return path

    return write


def cut(path, folder, fraction):
    data = path.read_bytes()
    part = folder / f"cut{path.suffix}"
    part.write_bytes(data[: int(len(data) * fraction)])
    return part


def decode(path, views=(), audio=None):
    return decode_clip(Clip(path.stem, path, audio), path.stem, views)


@pytest.mark.parametrize("suffix", VIDEOS)
def test_cut_videos_are_errors(suffix, whole, tmp_path):
    assert decode(whole(suffix), [Waveform()]).problems == {}
    media = decode(cut(whole(suffix), tmp_path, 0.55), [Waveform()])
    assert set(media.problems) == {"video", "audio"}
    assert all("truncated" in problem for problem in media.problems.values())


@pytest.mark.parametrize("suffix", SOUNDS)
def test_cut_sound_files_are_errors(suffix, whole, tmp_path):
    video = whole("mp4")
    assert decode(video, [Waveform()], whole(suffix)).problems == {}
    media = decode(video, [Waveform()], cut(whole(suffix), tmp_path, 0.6))
    assert set(media.problems) == {"audio"}
    assert "truncated" in media.problems["audio"]


@pytest.mark.parametrize("suffix", ["mkv", "webm", "avi", "mov", "mp4", "flv"])
def test_a_video_that_lacks_a_few_frames_at_its_end(suffix, whole, tmp_path):
    part = cut(whole(suffix), tmp_path, 0.9)
    media = decode(part, [Waveform()])
    assert media.problems and all("truncated" in problem for problem in media.problems.values())


def test_uncompressed_sound_of_a_cut_video_is_counted_by_its_length(tmp_path):
    short = write_clip(
        tmp_path / "a.mov", FRAMES, SOUND[:, :16_000], audio_codec="pcm_s16le", options={"movflags": "faststart"}
    )
    assert decode(short, [Waveform()]).problems == {}
    assert set(decode(cut(short, tmp_path, 0.97), [Waveform()]).problems) == {"video"}


# Containers that state no length: codecs of video and audio.
STREAMS = {
    "ts": ("libx264", "aac"),
    "m2ts": ("libx264", "aac"),
    "mpg": ("mpeg1video", "mp2"),
    "vob": ("mpeg2video", "mp2"),
    "ogv": ("libvpx", "libopus"),
    "ogg": (None, "libopus"),
    "ivf": ("libvpx-vp9", None),
}


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Writes a file of a container without a length once."""
    folder = tmp_path_factory.mktemp("streams")

    def write(suffix):
        path, (codec, audio_codec) = folder / f"whole.{suffix}", STREAMS[suffix]
        if not path.exists():
            tracks = FRAMES if codec else None, SOUND if audio_codec else None
            write_clip(path, *tracks, codec=codec or "", audio_codec=audio_codec or "")
        return path

    return write


@pytest.mark.parametrize("missing", [1, 50, 600])
@pytest.mark.parametrize("suffix", STREAMS)
def test_a_stream_that_ends_within_a_packet(suffix, missing, stream, tmp_path):
    whole = decode(stream(suffix), [Waveform()])
    assert whole.problems == {}
    part = tmp_path / f"cut.{suffix}"
    part.write_bytes(stream(suffix).read_bytes()[:-missing])
    tracks = {name for name in ("video", "audio") if getattr(whole, name) is not None}
    media = decode(part, [Waveform()])
    assert set(media.problems) == tracks
    assert all("truncated" in problem and "the file ends within a" in problem for problem in media.problems.values())


@pytest.mark.parametrize("suffix", STREAMS)
def test_what_follows_a_whole_stream_is_no_damage(suffix, stream, tmp_path):
    data, joined = stream(suffix).read_bytes(), tmp_path / f"joined.{suffix}"
    # Padding, a tag, and, where files may be joined, the next one.
    tails = {"ivf": [], "ts": [b"\0" * 50, data], "mpg": [b"\0" * 50, b"\0\0\1\xb9"], "ogg": [b"TAG" + b" " * 125]}
    for tail in tails.get(suffix, [b"\0" * 50]):
        joined.write_bytes(data + tail)
        assert not any("ends within" in problem for problem in decode(joined).problems.values())


def test_an_ogg_file_whose_last_page_is_missing(stream, tmp_path):
    data = stream("ogg").read_bytes()
    part = tmp_path / "cut.ogg"
    part.write_bytes(data[: data.rindex(b"OggS")])
    assert "its last page is not marked as the last one" in decode(part).problems["audio"]


def test_the_seconds_asked_for_of_a_cut_stream_are_used(stream, tmp_path):
    from avbench.media.options import DecodeOptions

    part = cut(stream("ts"), tmp_path, 0.9)
    media = decode_clip(Clip("cut", part), "cut", [], DecodeOptions(seconds=1.5))
    assert media.problems.keys() <= {"audio"}


@settings(deadline=None)
@given(suffix=st.sampled_from(sorted(STREAMS)), data=st.data())
def test_damaged_streams_give_a_reason_or_none(suffix, data, stream, tmp_path_factory):
    content = bytearray(stream(suffix).read_bytes()[-3000:])
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged-stream"  # one file for all examples
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for name in ("mpegts", "mpeg", "ogg", "ivf", "mov"):
        assert isinstance(ends_early(path, {name}), str | None)


@pytest.mark.parametrize("suffix", ["wav", "w64"])
def test_a_sound_file_that_lacks_a_few_samples(suffix, whole, tmp_path):
    data = whole(suffix).read_bytes()
    for missing, problems in ((0, set()), (2, {"audio"}), (1000, {"audio"})):
        part = tmp_path / f"cut.{suffix}"
        part.write_bytes(data[: len(data) - missing])
        assert set(decode(part, [Waveform()]).problems) == problems


def test_an_mp4_that_lacks_its_last_packet(whole, tmp_path):
    data = whole("mp4").read_bytes()
    part = tmp_path / "cut.mp4"
    with av.open(str(whole("mp4"))) as container:
        part.write_bytes(data[: max(packet.pos for packet in container.demux() if packet.size)])
    (problem,) = decode(part, [Waveform()]).problems.values()
    assert "truncated: " in problem and "packets are there" in problem
    # What lies behind the media is no part of it.
    part.write_bytes(data + b"\0\0\1\0skip")
    assert decode(part, [Waveform()]).problems == {}


@pytest.mark.parametrize("suffix", VIDEOS)
def test_sound_that_ends_early_is_no_damage(suffix, whole, tmp_path):
    short = whole(suffix, 1.0)
    assert decode(short, [Waveform()]).problems == {}
    # A sound file beside it: the end of the embedded track is not looked at.
    assert decode(short, [Waveform()], whole("wav")).problems == {}


def test_the_whole_track_of_a_cut_file_is_used(whole, tmp_path):
    media = decode(cut(whole("mkv", 0.5), tmp_path, 0.7), [Waveform()])
    assert set(media.problems) == {"video"}
    assert media.audio.duration == pytest.approx(0.5, abs=0.15)


def test_without_tags_the_length_of_the_container_counts(whole, tmp_path):
    path = tmp_path / "untagged.mkv"
    path.write_bytes(whole("mkv").read_bytes().replace(b"DURATION", b"DuRASHUN"))
    assert decode(path).problems == {}
    assert set(decode(cut(path, tmp_path, 0.6)).problems) == {"video", "audio"}
    # Cut behind the last packet: one track reaches the end of the container, so the other ended by itself.
    early = tmp_path / "early.mkv"
    early.write_bytes(whole("mkv", 1.0).read_bytes().replace(b"DURATION", b"DuRASHUN"))
    assert decode(cut(early, tmp_path, 0.99)).problems == {}


def test_a_stream_that_never_states_a_length_is_scored(tmp_path):
    live = write_clip(tmp_path / "live.mkv", FRAMES, SOUND, options={"live": "1"})
    assert decode(live).problems == {}
    assert decode(cut(live, tmp_path, 0.7)).problems == {}


def held(path, seconds):
    """Write 24 frames at 24 fps, the last of which stays for `seconds`."""
    codec = "libx264" if path.suffix == ".flv" else "mpeg4"
    source = write_clip(path.with_suffix(".source.mp4"), FRAMES[:24], None, codec=codec)
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux() if packet.dts is not None]
        last = max(packets, key=lambda packet: packet.pts)
        last.duration = round(seconds / last.time_base)
        for packet in packets:
            packet.stream = stream
            new.mux(packet)
    source.unlink()
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_held_last_frame_counts(suffix, tmp_path):
    sampled = Frames(AtRate(10))
    media = decode(held(tmp_path / f"held.{suffix}", 2.0), [sampled])
    assert media.problems == {}
    assert media.video.duration == pytest.approx(23 / 24 + 2.0, abs=0.01)
    frames = media.view(sampled)
    assert len(frames) == pytest.approx(29, abs=1)
    assert (frames[-15:] == frames[-1]).all()


@pytest.mark.parametrize("suffix", ["flv", "wmv", "mkv"])
def test_a_held_last_frame_is_no_damage_where_frames_need_not_state_a_duration(suffix, tmp_path):
    assert decode(held(tmp_path / f"held.{suffix}", 2.0)).problems == {}


def test_a_held_last_frame_counts_up_to_the_seconds_asked_for(tmp_path):
    from avbench.media.options import DecodeOptions

    path = held(tmp_path / "held.mp4", 2.0)
    media = decode_clip(Clip("held", path), "held", [], DecodeOptions(seconds=1.5))
    assert (media.problems, media.video.duration) == ({}, pytest.approx(1.5))


def test_a_last_frame_that_is_held_for_days_is_refused(tmp_path):
    media = decode(held(tmp_path / "held.mp4", 90_000.0), [Frames(AtRate(1000))])
    assert "over the limit seconds=1800" in media.problems["video"]


def test_the_metrics_agree_on_the_length_of_a_held_clip(tmp_path):
    path = held(tmp_path / "held.mp4", 2.0)
    sound = write_clip(tmp_path / "held.wav", None, SOUND[:, : int(71 / 24 * 16_000)], audio_codec="pcm_s16le")
    run = score_clips([Clip("held", path, sound)], tmp_path / "run", metrics=["duration_mismatch"])
    assert run.scores["value"].tolist() == pytest.approx([0.0], abs=1e-3)
    assert run.clips["duration"].tolist() == pytest.approx([71 / 24], abs=1e-6)


def joined_rates(path, suffix):
    """Two seconds of silence at a low bit rate, then noise at a high one, and no length in any header."""
    rng, parts = np.random.default_rng(0), []
    for name, sound, rate in (("a", np.zeros((1, 32_000)), 16_000), ("b", rng.uniform(-0.5, 0.5, (1, 32_000)), 96_000)):
        part = path.with_name(f"{name}.{suffix}")
        with av.open(
            str(part), "w", options={"write_xing": "0", "id3v2_version": "0"} if suffix == "mp3" else {}
        ) as out:
            stream = out.add_stream({"mp3": "mp3", "aac": "aac"}[suffix], rate=16_000, layout="mono")
            stream.bit_rate = rate
            frame = av.AudioFrame.from_ndarray(sound.astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16_000
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        parts.append(part.read_bytes())
        part.unlink()
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("suffix", ["aac", "mp3"])
def test_an_estimate_from_the_bit_rate_is_no_promise(suffix, whole, tmp_path):
    sound = joined_rates(tmp_path / f"sound.{suffix}", suffix)
    with av.open(str(sound)) as container:
        assert container.duration / av.time_base > 5  # FFmpeg's estimate is far off
    for media in (decode(whole("mp4"), [Waveform()], sound), decode(sound, [Waveform()])):
        assert media.problems == {}
        assert media.audio.duration == pytest.approx(4.0, abs=0.4)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_that_was_written_to_a_pipe(size, whole, tmp_path):
    data = bytearray(whole("wav").read_bytes())
    place = data.index(b"data") + 4
    struct.pack_into("<I", data, place, size)
    path = tmp_path / "piped.wav"
    path.write_bytes(data)
    media = decode(whole("mp4"), [Waveform()], path)
    assert media.problems == {}
    assert media.audio.duration == pytest.approx(SECONDS, abs=0.01)


@pytest.mark.parametrize("suffix", [*VIDEOS, *SOUNDS])
def test_stated_sizes(suffix, whole, tmp_path):
    size = stated_size(whole(suffix))
    assert size is None or not size.is_cut
    stated = stated_size(cut(whole(suffix), tmp_path, 0.6))
    assert (stated is not None and stated.is_cut) == (suffix not in ("aiff", "flac"))


@settings(deadline=None)
@given(suffix=st.sampled_from(["mkv", "webm", "avi", "flv", "wav", "w64", "mp3", "mp4"]), data=st.data())
def test_damaged_headers_give_a_size_or_none(suffix, data, whole, tmp_path_factory):
    content = bytearray(whole(suffix).read_bytes()[:400])
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"  # one file for all examples
    path.write_bytes(content[: data.draw(st.integers(0, 400))])
    found = stated_size(path)
    assert found is None or (isinstance(found, StatedSize) and found.stated > 0)
