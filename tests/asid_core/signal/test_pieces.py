"""Several recordings in one file, and headers that do not match what follows."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from asid_core.signal.decode import DecodeError, open_native
from tests.conftest import tone, write_audio

Make = Callable[..., Path]
ID3 = b"ID3\x04\0\0\0\0\x20\0" + bytes(range(256)) * 16
APE_ITEMS = b"\xff\xfb\x90\x44" * 500  # a picture may hold what looks like a frame


def ape(version: int, flags: int) -> bytes:
    return b"APETAGEX" + struct.pack("<IIII", version, len(APE_ITEMS) + 32, 1, flags) + b"\0" * 8


APE = ape(2000, 0xA0000000) + APE_ITEMS + ape(2000, 0x80000000)
APE_1 = APE_ITEMS + ape(1000, 0)
ID3_1 = b"TAG" + b"x" * 125


def read(path: Path) -> tuple[float, float, float]:
    """Duration in seconds, missing seconds, RMS."""
    with open_native(str(path)) as (info, blocks):
        pieces = []
        while True:
            try:
                pieces.append(next(blocks))
            except StopIteration as end:
                samples = np.concatenate(pieces)
                return len(samples) / info.rate_hz, end.value, float(np.sqrt(np.mean(samples**2)))


def mp3(path: Path, seconds: float, rate_hz: int = 44_100, xing: bool = True) -> bytes:
    with av.open(str(path), "w", format="mp3", options={} if xing else {"write_xing": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(seconds, rate_hz).T), "fltp", "mono")
        frame.sample_rate = rate_hz
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path.read_bytes()


def joined(path: Path, *parts: Path | bytes) -> Path:
    path.write_bytes(b"".join(part if isinstance(part, bytes) else part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize("kind", ["ogg", "opus", "flac", "wav", "aiff", "mp3", "aac", "m4a", "wma", "caf", "w64", "au"])
def test_recordings_one_after_the_other_are_all_read(audio: Make, tmp_path: Path, kind: str) -> None:
    rate_hz = 48_000 if kind == "opus" else 44_100
    first, second = audio(f"1.{kind}", 2.0, rate_hz), audio(f"2.{kind}", 3.0, rate_hz, seed=1)
    seconds, missing_s, _ = read(joined(tmp_path / f"both.{kind}", first, second))
    assert seconds == pytest.approx(5.0, abs=0.2) and missing_s == 0


@pytest.mark.parametrize(
    ("codec", "container", "kind"),
    [
        ("wavpack", "wv", "wv"),
        ("tta", "tta", "tta"),
        ("ac3", "ac3", "ac3"),
        ("mp2", "mp2", "mp2"),
        ("libopus", "webm", "webm"),
        ("alac", "ipod", "m4a"),
    ],
)
def test_what_only_ffmpeg_writes_too(tmp_path: Path, codec: str, container: str, kind: str) -> None:
    paths = []
    for number in range(2):
        paths.append(tmp_path / f"{number}.{kind}")
        with av.open(str(paths[-1]), "w", format=container) as output:
            stream = output.add_stream(codec, rate=48_000, layout="mono")
            sample_format = stream.codec_context.codec.audio_formats[0].name
            size = stream.codec_context.frame_size or 1024
            fit = av.AudioResampler(sample_format, "mono", 48_000, size)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(2.0, 48_000).T), "fltp", "mono")
            frame.sample_rate = 48_000
            for part in [*fit.resample(frame), *fit.resample(None)]:
                part.pts = None
                output.mux(stream.encode(part))
            output.mux(stream.encode(None))
    assert read(joined(tmp_path / f"both.{kind}", *paths))[0] == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize(
    "parts",
    [
        (("1.ogg", 22_050, 1), ("2.ogg", 44_100, 2), ("3.ogg", 48_000, 1)),
        (("1.opus", 48_000, 1), ("2.opus", 48_000, 2)),
        (("1.opus", 48_000, 2), ("2.ogg", 44_100, 1)),
        (("1.flac", 22_050, 1), ("2.flac", 96_000, 2)),
        (("1.wav", 8_000, 2), ("2.wav", 44_100, 1)),
        (("1.mp3", 22_050, 1), ("2.mp3", 44_100, 2), ("3.mp3", 48_000, 2)),
        (("1.ogg", 44_100, 2), ("2.mp3", 44_100, 2)),
    ],
)
def test_rates_and_channels_may_change_between_them(
    audio: Make, tmp_path: Path, parts: tuple[tuple[str, int, int], ...]
) -> None:
    files = [audio(name, 2.0, rate_hz, channels) for name, rate_hz, channels in parts]
    seconds, missing_s, rms = read(joined(tmp_path / "all.bin", *files))
    assert seconds == pytest.approx(2.0 * len(parts), abs=0.1 * len(parts)) and missing_s == 0
    assert rms == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def made(path: Path, codec: str, container: str, seconds: float = 2.0, **options: str) -> bytes:
    """A recording that only FFmpeg writes."""
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=48_000, layout="mono")
        codec_context = stream.codec_context
        fit = av.AudioResampler(
            codec_context.codec.audio_formats[0].name, "mono", 48_000, codec_context.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(seconds, 48_000).T), "fltp", "mono")
        frame.sample_rate = 48_000
        for part in [*fit.resample(frame), *fit.resample(None)]:
            part.pts = None
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return path.read_bytes()


def any_format(folder: Path, kind: str) -> bytes:
    """Two seconds in any format."""
    codecs = {"webm": ("libopus", "webm"), "wv": ("wavpack", "wv"), "tta": ("tta", "tta"), "ac3": ("ac3", "ac3"),
              "ts": ("aac", "mpegts"), "mp2": ("mp2", "mp2"), "mka": ("flac", "matroska")}  # fmt: skip
    if kind in codecs:
        return made(folder / f"a.{kind}", *codecs[kind])
    if kind in ("rifx", "le-au"):
        container, endian = ("WAV", "BIG") if kind == "rifx" else ("AU", "LITTLE")
        soundfile.write(folder / kind, tone(2.0, 44_100), 44_100, "PCM_16", endian, container)
        return (folder / kind).read_bytes()
    return write_audio(folder / f"a.{kind}", tone(2.0, 48_000), 48_000).read_bytes()


@pytest.mark.parametrize(
    "kinds",
    ["flac mp3", "mp3 flac", "wav ogg", "ogg wav", "wav ac3", "aiff mp2", "m4a flac", "flac m4a wav", "webm mp3",
     "ac3 wav", "wv opus", "caf aac", "au ts", "wma wav", "tta webm", "mp2 au", "rifx rifx", "rifx wav", "le-au le-au",
     "le-au aiff", "w64 rf64 caf", "aac m4a mp3", "ts flac"],
)  # fmt: skip
def test_recordings_of_different_formats_one_after_the_other(tmp_path: Path, kinds: str) -> None:
    parts = [any_format(tmp_path, kind) for kind in kinds.split()]
    seconds, missing_s, rms = read(joined(tmp_path / "all.wav", *parts))
    assert seconds == pytest.approx(2.0 * len(parts), abs=0.1 * len(parts)) and missing_s == 0
    assert rms == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def pcm(path: Path, kind: str, seconds: float = 4.0) -> bytearray:
    soundfile.write(path, tone(seconds, 44_100), 44_100, "PCM_16", format=kind)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("kind", ["FLAC", "AIFF", "AU", "CAF", "W64"])
@pytest.mark.parametrize("stated_s", [2.0, 0.0])
def test_a_header_that_states_too_little_is_not_believed(tmp_path: Path, kind: str, stated_s: float) -> None:
    data, size = pcm(tmp_path / "a", kind), round(stated_s * 88_200)
    if kind == "FLAC":  # 36 bits: total samples
        data[21:26] = bytes([data[21] & 0xF0]) + struct.pack(">I", size // 2)
    elif kind == "AU":
        data[8:12] = struct.pack(">I", size)
    else:
        mark, layout, added = {"AIFF": (b"SSND", ">I", 8), "CAF": (b"data", ">q", 4), "W64": (b"data", "<q", 24)}[kind]
        at = data.index(mark) + (16 if kind == "W64" else 4)
        data[at : at + struct.calcsize(layout)] = struct.pack(layout, size + added)
    assert read(joined(tmp_path / "b", bytes(data)))[:2] == pytest.approx((4.0, 0.0), abs=0.02)


@pytest.mark.parametrize("kind", ["AIFF", "AU", "CAF", "W64"])
def test_what_a_header_states_and_the_file_lacks_is_told(tmp_path: Path, kind: str) -> None:
    data = pcm(tmp_path / "a", kind)
    seconds, missing_s, _ = read(joined(tmp_path / "b", bytes(data[: len(data) * 3 // 4])))
    assert (seconds, missing_s) == pytest.approx((3.0, 1.0), abs=0.05)


def test_what_is_cut_off_within_a_page_or_box_is_told(audio: Make, tmp_path: Path) -> None:
    """How much is missing is not known: at least the rest of the page."""
    fragments = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}
    whole = (audio("a.ogg", 20.0, 44_100).read_bytes(), made(tmp_path / "b", "aac", "mp4", 8.0, **fragments))
    for data in whole:
        assert read(joined(tmp_path / "c", data))[1] == 0
        assert read(joined(tmp_path / "c", data[: len(data) // 2]))[1] > 0


def chunk(name: bytes) -> bytes:
    return name + struct.pack(">I", 4) + b"abcd"


@pytest.mark.parametrize("first", [b"ANNO", b"AUTH", b"ID3 ", b"MARK"])
def test_an_aiff_may_begin_with_any_chunk(tmp_path: Path, first: bytes) -> None:
    data = bytes(pcm(tmp_path / "a", "AIFF", 2.0))
    other = b"FORM" + struct.pack(">I", len(data) + 4) + b"AIFF" + chunk(first) + data[12:] + chunk(b"ANNO")
    assert read(joined(tmp_path / "b", data, other, data))[:2] == pytest.approx((6.0, 0.0), abs=0.01)


@pytest.mark.parametrize("kind", ["FLAC", "AIFF", "AU", "CAF", "W64"])
def test_tags_and_padding_behind_a_recording_are_not_audio(tmp_path: Path, kind: str) -> None:
    data = bytes(pcm(tmp_path / "a", kind))
    for behind in (APE + ID3_1, ID3, b"\0" * 9000, ID3_1):
        assert read(joined(tmp_path / "b", data, behind))[:2] == pytest.approx((4.0, 0.0), abs=0.01)


def test_what_stands_in_front_is_not_audio(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(100_000)
    wav, bare = bytes(pcm(tmp_path / "a", "WAV")), mp3(tmp_path / "1.mp3", 4.0, xing=False)
    assert read(joined(tmp_path / "b", b"\0\x05a.wav" + bytes(121), wav))[:2] == (4.0, 0.0)  # MacBinary
    assert read(joined(tmp_path / "b", noise, bare))[:2] == pytest.approx((4.0, 0.0), abs=0.1)


def test_very_many_recordings_in_one_file(tmp_path: Path) -> None:
    data = bytes(pcm(tmp_path / "a", "WAV", 0.01))
    assert read(joined(tmp_path / "b", data * 1100))[0] == pytest.approx(11.0, abs=0.01)


@pytest.mark.parametrize("xing", [True, False])
@pytest.mark.parametrize(
    ("before", "between", "after"),
    [(b"", b"", b""), (ID3, b"", ID3_1), (ID3, ID3, b""), (b"", APE + ID3_1, APE), (b"", ID3_1 + ID3, APE_1),
     (b"\0" * 3000, b"\0" * 500, b"\0" * 9000)],
)  # fmt: skip
def test_joined_mp3_files_with_tags_anywhere(
    tmp_path: Path, xing: bool, before: bytes, between: bytes, after: bytes
) -> None:
    one, two = mp3(tmp_path / "1.mp3", 2.0, xing=xing), mp3(tmp_path / "2.mp3", 3.0, xing=xing)
    seconds, missing_s, rms = read(joined(tmp_path / "both.mp3", before, one, between, two, after))
    assert seconds == pytest.approx(5.0, abs=0.15) and missing_s == 0
    assert rms == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_an_mp3_is_only_truncated_by_what_it_claims(tmp_path: Path) -> None:
    claimed, bare = mp3(tmp_path / "1.mp3", 4.0), mp3(tmp_path / "2.mp3", 4.0, xing=False)
    assert read(joined(tmp_path / "bare.mp3", bare[: len(bare) // 2]))[0] == pytest.approx(2.0, abs=0.2)
    with pytest.raises(DecodeError, match=r"only (2\.0|1\.9) s of 4\.0 s can be read"):
        read(joined(tmp_path / "cut.mp3", claimed[: len(claimed) // 2]))


def test_damage_in_the_middle_is_told(audio: Make, tmp_path: Path) -> None:
    noise = os.urandom(2000)
    bare = mp3(tmp_path / "1.mp3", 8.0, xing=False)
    assert read(joined(tmp_path / "m.mp3", bare[:40_000], noise, bare[42_000:]))[1] > 0.05
    ogg = audio("a.ogg", 30.0, 44_100).read_bytes()
    half = len(ogg) // 2
    seconds, missing_s, _ = read(joined(tmp_path / "m.ogg", ogg[:half], bytes(2000), ogg[half + 2000 :]))
    assert missing_s > 0.1 and seconds + missing_s == pytest.approx(30.0, abs=0.1)


def wav_with(path: Path, riff_bytes: int | None = None, data_bytes: int | None = None, behind: bytes = b"") -> Path:
    write_audio(path, tone(3.0), 16_000)
    whole = bytearray(path.read_bytes())
    at = whole.index(b"data") + 4
    if riff_bytes is not None:
        whole[4:8] = struct.pack("<I", riff_bytes)
    if data_bytes is not None:
        whole[at : at + 4] = struct.pack("<I", data_bytes)
    path.write_bytes(bytes(whole) + behind)
    return path


LIST = b"LIST" + struct.pack("<I", 20) + b"INFO" + b"x" * 16


@pytest.mark.parametrize(
    ("sizes", "behind", "missing_s"),
    [((0, 0), b"", 0), ((0xFFFFFFFF, 0xFFFFFFFF), b"", 0), ((0xFFFFFFFF, 0x7FFFFFFF), b"", 0), ((None, 1000), b"", 0),
     ((None, 192_000), b"", 3.0), ((None, None), LIST, 0), ((None, None), ID3, 0), ((None, None), ID3_1, 0),
     ((None, None), b"\0" * 999, 0)],
)  # fmt: skip
def test_sizes_in_a_wav_are_not_believed(
    tmp_path: Path, sizes: tuple[int | None, int | None], behind: bytes, missing_s: float
) -> None:
    seconds, missing, _ = read(wav_with(tmp_path / "a.wav", *sizes, behind=behind))
    assert (seconds, missing) == (3.0, missing_s)


def test_rf64(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(3.0), 16_000, format="RF64")
    assert read(tmp_path / "a.wav")[:2] == (3.0, 0)


@pytest.mark.parametrize(("name", "kind"), [("a.mp3", "aac"), ("a.mp3", "m4a"), ("a.wav", "aac"), ("a.flac", "mp3")])
@pytest.mark.parametrize("front", [b"", ID3])
def test_the_name_and_a_tag_in_front_decide_nothing(audio: Make, name: str, kind: str, front: bytes) -> None:
    path = audio(name, 2.0, 44_100, container=kind)
    if kind != "m4a" or not front:
        path.write_bytes(front + path.read_bytes())
    assert read(path)[0] == pytest.approx(2.0, abs=0.15)


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    for name in ("x.wav", "zero.wav"):
        with pytest.raises(DecodeError, match="not a file"):
            read(tmp_path / name)


def test_what_each_decoder_says_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"It was a dark and stormy night. " * 300)
    with pytest.raises(DecodeError, match="libsndfile: .+; ffmpeg: .+"):
        read(tmp_path / "a.wav")
