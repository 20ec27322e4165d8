"""Small files that claim or unfold to far more than they are: one function per kind, each writes a file."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from synthetic import draw_frames, draw_sound, write_clip


def _small(path: Path) -> bytearray:
    write_clip(path, draw_frames(1, seconds=0.5, size=(48, 64)), draw_sound(1, seconds=0.5))
    return bytearray(path.read_bytes())


def box(name: bytes, *parts: bytes) -> bytes:
    """An MP4 box."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def _numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def _track(entry: bytes, stbl: bytes, *, kind: bytes = b"vide", edits: bytes = b"") -> bytes:
    """A trak box for one sample description and its tables."""
    media_header = box(b"vmhd", _numbers(1, 0, 0)) if kind == b"vide" else box(b"smhd", _numbers(0, 0))
    tkhd = box(
        b"tkhd", _numbers(7, 0, 0, 1, 0, 100), bytes(16), _numbers(65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30, 0, 0)
    )
    stsd = box(b"stsd", _numbers(0, 1), entry)
    dinf = box(b"dinf", box(b"dref", _numbers(0, 1), box(b"url ", _numbers(1))))
    minf = box(b"minf", media_header, dinf, box(b"stbl", stsd, stbl))
    mdhd, hdlr = box(b"mdhd", _numbers(0, 0, 0, 1000, 100), bytes(4)), box(b"hdlr", bytes(8), kind, bytes(13))
    return box(b"trak", tkhd, edits, box(b"mdia", mdhd, hdlr, minf))


def _movie(track: bytes, data: bytes = bytes(4000)) -> bytes:
    header = box(b"ftyp", b"isom", _numbers(512), b"isom") + box(b"mdat", data)
    mvhd = box(b"mvhd", _numbers(0, 0, 0, 1000, 100, 65536), bytes(76))
    return header + box(b"moov", mvhd, track)


def _raw_video(width: int, height: int) -> bytes:
    fixed = bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", width, height)
    return box(b"raw ", fixed, _numbers(72 << 16, 72 << 16, 0), struct.pack(">H", 1), bytes(32), b"\0\x18\xff\xff")


def _tables(count: int, size: int, delta: int = 1) -> bytes:
    return (
        box(b"stts", _numbers(0, 1, count, delta))
        + box(b"stsz", _numbers(0, size, count))
        + box(b"stsc", _numbers(0, 1, 1, count, 1))
        + box(b"stco", _numbers(0, 1, 32))
    )


def billion_frames(path: Path) -> None:
    path.write_bytes(_movie(_track(_raw_video(1, 1), _tables(1_000_000_000, 3))))


def many_edits(path: Path) -> None:
    edit = struct.pack(">IiI", 1, 0, 65536)
    edits = box(b"edts", box(b"elst", _numbers(0, 20_000), edit * 20_000))
    path.write_bytes(_movie(_track(_raw_video(1, 1), _tables(100_000, 3), edits=edits), bytes(300_000)))


def fragments_of_nothing(path: Path) -> None:
    fragment = box(b"tfhd", _numbers(0x30, 1, 3, 0)) + box(b"trun", _numbers(0, 100_000_000))
    trex = box(b"mvex", box(b"trex", _numbers(0, 1, 1, 1, 3, 0)))
    movie = _movie(_track(_raw_video(1, 1), _tables(0, 3)) + trex)
    path.write_bytes(
        movie + box(b"moof", box(b"mfhd", _numbers(0, 1)), box(b"traf", fragment)) + box(b"mdat", bytes(99))
    )


def overlapping_packets(path: Path) -> None:
    tables = (
        box(b"stts", _numbers(0, 1, 3000, 40))
        + box(b"stsz", _numbers(0, 0, 3000), _numbers(*[300_000] * 3000))
        + box(b"stsc", _numbers(0, 1, 1, 1, 1))
        + box(b"stco", _numbers(0, 3000), _numbers(*[32] * 3000))
    )
    path.write_bytes(_movie(_track(_raw_video(400, 250), tables), bytes(300_000)))


def billion_samples(path: Path) -> None:
    entry = box(b"sowt", bytes(6), struct.pack(">HIIHHI", 1, 0, 0, 2, 16, 0), struct.pack(">HH", 8000, 0))
    path.write_bytes(_movie(_track(entry, _tables(2_000_000_000, 4), kind=b"soun")))


def large_frames(path: Path) -> None:
    path.write_bytes(_movie(_track(_raw_video(8192, 8192), _tables(1, 4000, 1000))))


def _mux(path: Path, codec: str, pixel_format: str, frames: list[bytes]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for index, data in enumerate(frames):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, index, index, Fraction(1, 24)
            container.mux(packet)


def _jpeg(width: int, height: int) -> bytes:
    """A JPEG of 64x48 whose header states another size."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuvj420p", Fraction(1, 24)
    data = bytearray(bytes(encoder.encode(av.VideoFrame.from_ndarray(draw_frames(1, size=(48, 64))[0]))[0]))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def outgrows_its_header(path: Path) -> None:
    """MJPEG frames of 64x48, and then one of 16384x16384."""
    _mux(path, "mjpeg", "yuvj420p", [*[_jpeg(64, 48)] * 20, _jpeg(16384, 16384)])


def _png(side: int) -> bytes:
    """A black PNG: its rows are compressed once and written many times."""
    total = (1 + 3 * side) * side
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    million = deflate.compress(bytes(1_000_000)) + deflate.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compress(bytes(total % 1_000_000))[2:-4]
    # Of zeros, Adler's checksum is 1 and their number.
    body = b"\x78\xda" + million * (total // 1_000_000) + rest + struct.pack(">HH", total % 65521, 1)
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = _chunk(b"IHDR", head), _chunk(b"IDAT", body), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bomb(path: Path) -> None:
    """PNG frames that unfold to 1.2 GB each, below a header of 64x48."""
    _mux(path, "png", "rgb24", [_png(64)] + [_png(20_000)] * 2)


def cover_bomb(path: Path) -> None:
    """A good clip with a cover of 20,000x20,000 pixels."""
    clip, image = _small(path), _png(20_000)
    covers = box(b"covr", box(b"data", _numbers(14, 0), image))
    handler = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    meta = box(b"udta", box(b"meta", _numbers(0), handler, box(b"ilst", covers)))
    start = clip.index(b"moov") - 4  # the last box of these files
    size = struct.unpack(">I", clip[start : start + 4])[0]
    clip[start : start + 4] = struct.pack(">I", size + len(meta))
    path.write_bytes(bytes(clip) + meta)


def many_tracks(path: Path) -> None:
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(200)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 80), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
            container.mux(stream.encode(frame))


def many_subtitles(path: Path) -> None:
    track = _track(box(b"tx3g", bytes(6), b"\0\1", bytes(38)), _tables(1, 8), kind=b"text")
    path.write_bytes(_movie(track * 300))


def compressed_index(path: Path) -> None:
    path.write_bytes(box(b"ftyp", b"qt  ", _numbers(0)) + box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), bytes(50))))


def slow_rate(path: Path, rate: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, rate, 0, "NONE", ""))
        file.writeframes(bytes(200_000))


def fast_rate(path: Path) -> None:
    slow_rate(path, 2_147_483_647)


def channels_65535(path: Path) -> None:
    samples = bytes(65535 * 2)
    form = struct.pack("<HHIIHH", 1, 65535, 8000, 8000 * 65535 % 2**32, 65535, 8)
    riff = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", len(riff)) + riff)


def silent_hours(path: Path) -> None:
    """FLAC of eight silent channels: a few hundred kB that unfold to gigabytes."""
    data = io.BytesIO()
    with av.open(data, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=192_000, layout="7.1", options={"frame_size": "65535"})
        for index in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8 * 65535), np.int16), format="s16", layout="7.1")
            frame.sample_rate, frame.pts, frame.time_base = 192_000, index * 65535, Fraction(1, 192_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole = bytearray(data.getvalue())
    first = whole.index(b"\xff\xf8", 42)
    frames = bytes(whole[first:])
    whole[21:26] = bytes([whole[21] & 0xF0, 0, 0, 0, 0])  # the length is not stated
    path.write_bytes(bytes(whole[:first]) + frames * 50)


VIDEO: dict[str, tuple[Callable[[Path], object], str]] = {
    "billion_frames.mp4": (billion_frames, "over the limit"),
    "many_edits.mp4": (many_edits, "edits"),
    "fragments_of_nothing.mp4": (fragments_of_nothing, "over the limit frames"),
    "overlapping_packets.mov": (overlapping_packets, "over the limit packet_ratio"),
    "billion_samples.mov": (billion_samples, "over the limit"),
    "large_frames.mp4": (large_frames, "over the limit pixels"),
    "outgrows_its_header.avi": (outgrows_its_header, ""),
    "png_bomb.avi": (png_bomb, ""),
    "cover_bomb.mp4": (cover_bomb, ""),
    "many_tracks.mkv": (many_tracks, "over the limit tracks"),
    "many_subtitles.mp4": (many_subtitles, "over the limit tracks"),
    "compressed_index.mov": (compressed_index, "compressed"),
}
"""Name of the file, what writes it, and words of its reason."""

SOUND: dict[str, tuple[Callable[[Path], object], str]] = {
    "slow_rate.wav": (slow_rate, "over the limit seconds"),
    "fast_rate.wav": (fast_rate, "over the limit sample_rate"),
    "channels_65535.wav": (channels_65535, ""),
    "silent_hours.flac": (silent_hours, "over the limit"),
}
