from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asid_core.signal.decode import DecodeError, decode, open_native
from tests.conftest import tone, write_audio

Make = Callable[..., Path]


def samples(path: Path) -> np.ndarray:
    return np.concatenate(list(decode(str(path))))


def refusal(path: Path) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        samples(path)
    return caught.value


@pytest.mark.parametrize(
    "kind", ["wav", "flac", "ogg", "oga", "mp3", "m4a", "aac", "mp4", "opus", "aiff", "aif", "wma"]
)
def test_every_format_gives_its_length_and_its_sound(audio: Make, kind: str) -> None:
    rate_hz = 48_000 if kind == "opus" else 44_100
    path = audio(f"a.{kind}", seconds=3.0, rate_hz=rate_hz, channels=2)
    with open_native(str(path)) as (info, _):
        pass
    assert (info.rate_hz, info.channels) == (rate_hz, 2)
    wave = samples(path)
    assert wave.dtype == np.float32 and wave.ndim == 1
    assert len(wave) / 16_000 == pytest.approx(3.0, abs=0.15)  # lossy formats pad
    assert float(np.sqrt(np.mean(wave**2))) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 1), (44_100, 8), (192_000, 2), (11_025, 3)])
def test_rates_and_channels(audio: Make, rate_hz: int, channels: int) -> None:
    wave = samples(audio("a.wav", 2.0, rate_hz, channels))
    assert len(wave) == 32_000
    assert np.abs(wave[2000:-2000] - samples(audio("mono.wav", 2.0, 16_000))[2000:-2000]).max() < 0.2


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = np.full((2, 16_000), [[0.5], [-0.25]], np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(samples(tmp_path / "a.wav"), np.full(16_000, 0.125, np.float32))


@pytest.mark.parametrize(
    ("name", "container"), [("a.wav", "ogg"), ("a.mp3", "wav"), ("a.flac", "m4a"), ("b.m4a", "mp3")]
)
def test_content_decides_not_the_extension(audio: Make, name: str, container: str) -> None:
    assert len(samples(audio(name, 2.0, 44_100, container=container))) == pytest.approx(32_000, abs=2000)


def test_unicode_name(audio: Make) -> None:
    assert len(samples(audio("Sigur Rós – 夜の歌 🎵.flac", 1.0))) == 16_000


@pytest.mark.parametrize(
    ("content", "error_type"),
    [
        (b"", "empty"),
        (b"It was a dark and stormy night. " * 300, "not_audio"),
        (bytes(range(256)) * 40, "not_audio"),
        (b"#EXTM3U\n#EXTINF:3,\nfile:///etc/hostname\n", "not_audio"),
        (b"ffconcat version 1.0\nfile other.wav\n", "not_audio"),
        (b"\0" * 5000, "not_audio"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.m4a"])
def test_what_is_not_audio_is_refused(tmp_path: Path, name: str, content: bytes, error_type: str) -> None:
    (tmp_path / name).write_bytes(content)
    error = refusal(tmp_path / name)
    assert error.error_type == error_type and len(str(error)) > 10


def test_truncated_files_need_nine_tenths(audio: Make) -> None:
    path = audio("a.flac", 10.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    error = refusal(path)
    assert error.error_type == "truncated" and "of 10.0 s" in str(error)
    path.write_bytes(whole[: len(whole) * 96 // 100])
    assert 9.0 < len(samples(path)) / 16_000 < 10.0


@pytest.mark.parametrize(("kind", "error_type"), [("m4a", "not_audio"), ("mp3", "truncated")])
def test_half_a_file_is_refused(audio: Make, kind: str, error_type: str) -> None:
    path = audio(f"a.{kind}", 8.0, 44_100, 2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refusal(path).error_type == error_type


def test_a_truncated_wav_is_what_is_there(audio: Make) -> None:
    path = audio("a.wav", 4.0)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 32_000])
    assert len(samples(path)) == 32_000


def test_folder_missing_and_unreadable(tmp_path: Path, audio: Make) -> None:
    (tmp_path / "x.wav").mkdir()
    assert refusal(tmp_path / "x.wav").error_type == "folder"
    assert refusal(tmp_path / "gone.wav").error_type == "vanished"
    locked = audio("locked.wav")
    locked.chmod(0)
    if os.geteuid():  # root reads everything
        assert refusal(locked).error_type == "unreadable"


@pytest.mark.parametrize("value", [np.nan, np.inf, 40_000.0])
def test_values_that_are_no_samples(tmp_path: Path, value: float) -> None:
    wave = tone(1.0)
    wave[8000] = value
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    assert refusal(tmp_path / "a.wav").error_type == ("out_of_range" if np.isfinite(value) else "not_finite")


def test_no_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1), np.float32), 16_000)
    assert refusal(tmp_path / "a.wav").error_type in ("no_samples", "not_audio")


def wav_header(channels: int, rate_hz: int, data_bytes: int, content: bytes) -> bytes:
    width = min(2 * channels, 65_535)
    fmt = struct.pack("<HHIIHH", 1, min(channels, 65_535), rate_hz, rate_hz * 2 & 0xFFFFFFFF, width, 16)
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + fmt + b"data" + struct.pack("<I", data_bytes) + content


def test_absurd_headers_cost_nothing(tmp_path: Path) -> None:
    good = np.zeros(16_000, "<i2").tobytes()
    (tmp_path / "long.wav").write_bytes(wav_header(1, 16_000, 0xFFFFFFFE, good))
    (tmp_path / "wide.wav").write_bytes(wav_header(65_535, 16_000, 1000, good))
    (tmp_path / "fast.wav").write_bytes(wav_header(1, 4_000_000_000, 1000, good))
    (tmp_path / "slow.wav").write_bytes(wav_header(1, 1, len(good), good))
    tracemalloc.start()
    assert len(samples(tmp_path / "long.wav")) == 16_000
    for name in ("wide.wav", "fast.wav", "slow.wav"):
        assert refusal(tmp_path / name).error_type in ("header", "not_audio"), name
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_long_file_never_lies_whole_in_memory(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.flac", np.zeros((16_000 * 1200, 1), np.float32), 16_000)
    tracemalloc.start()
    assert sum(len(block) for block in decode(str(path))) == 16_000 * 1200
    assert tracemalloc.get_traced_memory()[1] < 10e6  # the whole is 77 MB
    tracemalloc.stop()
