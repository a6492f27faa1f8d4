"""Mutated files of every format become tracks of finite samples or rejects with a reason; the decoder never hangs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asid_core.signal.decode import DecodeError
from pipelines.ingest.decoding import IsolatedDecoder
from tests.conftest import tone, write_audio

KINDS = ("wav", "flac", "ogg", "mp3", "m4a", "opus", "aiff", "aac", "wma", "caf", "w64", "au")
MUTATIONS = 90  # of each kind


@pytest.fixture()
def decoder() -> Iterator[IsolatedDecoder]:
    made = IsolatedDecoder(timeout_s=30)
    yield made
    made.close()


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One mutation: flipped bits anywhere or in the header, a cut, a hole, zeros, a repeat, noise, swapped parts."""
    data = bytearray(content)
    at, length = int(rng.integers(len(data))), int(rng.integers(1, len(data) // 4))
    way = int(rng.integers(8))
    if way < 2:
        for place in rng.integers(0, len(data) if way else min(len(data), 200), int(rng.integers(1, 40))):
            data[place] ^= 1 << int(rng.integers(8))
        return bytes(data)
    piece, rest = data[at : at + length], data[at + length :]
    noise = rng.bytes(length)
    changed = (
        data[:at],
        data[:at] + rest,
        data[:at] + bytes(len(piece)) + rest,
        data + piece,
        data[:at] + noise + rest,
    )
    return bytes((*changed, rest + data[: at + length])[way - 2])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_a_track_or_a_reject(kind: str, decoder: IsolatedDecoder, tmp_path: Path) -> None:
    rate_hz = 48_000 if kind == "opus" else 44_100
    content = write_audio(tmp_path / f"whole.{kind}", tone(1.5, rate_hz, 2), rate_hz).read_bytes()
    rng = np.random.default_rng(sum(kind.encode()))
    ends: Counter[str] = Counter()
    for number in range(MUTATIONS):
        path = tmp_path / f"{number}.{kind}"
        path.write_bytes(mutated(content, rng))
        try:
            with decoder.open(str(path)) as (info, blocks):
                samples = np.concatenate([np.zeros(0, np.float32), *blocks])
            assert np.isfinite(samples).all() and len(samples) and info.rate_hz > 0, path
            ends["track"] += 1
        except DecodeError as refused:
            assert refused.message and refused.error_type not in ("decoder_hung", "decoder_failed"), (path, refused)
            ends[refused.error_type] += 1
    print(kind, dict(ends))
    assert sum(ends.values()) == MUTATIONS
