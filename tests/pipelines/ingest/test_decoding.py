from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from asid_core.signal.decode import DecodeError, open_native
from pipelines.ingest.decoding import IsolatedDecoder

STUB = "tests.pipelines.stub_decoders:by_name"


@pytest.fixture()
def decoder() -> Iterator[IsolatedDecoder]:
    decoder = IsolatedDecoder(timeout_s=1.5, reader=STUB)
    yield decoder
    decoder.close()


def read(decoder: IsolatedDecoder, path: str) -> int:
    with decoder.open(path) as (_, blocks):
        return sum(len(block) for block in blocks)


@pytest.mark.parametrize(
    ("name", "error_type", "message"),
    [
        ("crash.wav", "decoder_crashed", r"crashed \(signal 11\)"),
        ("exit.wav", "decoder_crashed", r"exit code 3"),
        ("hang.wav", "decoder_hung", r"no progress for 1.5 s"),
        ("slow-start.wav", "decoder_hung", r"no progress for 1.5 s"),
        ("memory.wav", "decoder_memory", r"4 GiB"),
        ("raise.wav", "decoder_failed", r"ZeroDivisionError: oops"),
    ],
)
def test_a_bad_file_is_refused_and_the_next_one_is_read(
    decoder: IsolatedDecoder, name: str, error_type: str, message: str
) -> None:
    with pytest.raises(DecodeError, match=message) as caught:
        read(decoder, name)
    assert caught.value.error_type == error_type
    assert read(decoder, "good.wav") == (1 << 16) + 1000


def test_the_child_is_kept_between_files_and_replaced_after_leaving_early(decoder: IsolatedDecoder) -> None:
    read(decoder, "good.wav")
    child = decoder._child
    with pytest.raises(DecodeError):
        read(decoder, "raise.wav")
    read(decoder, "good.wav")
    assert decoder._child is child and child is not None
    with decoder.open("long.wav") as (info, blocks):
        assert info.duration_s == 36_000.0 and len(next(blocks)) >= 16_000
    assert child.poll() is not None
    assert read(decoder, "good.wav") == (1 << 16) + 1000


def test_a_child_that_died_while_idle_is_replaced(decoder: IsolatedDecoder) -> None:
    read(decoder, "good.wav")
    assert decoder._child is not None
    decoder._child.kill()
    decoder._child.wait()
    assert read(decoder, "good.wav") == (1 << 16) + 1000


def test_the_same_samples_as_in_this_process(audio: Callable[..., Path]) -> None:
    path = str(audio("a.flac", 20.0, 44_100, 2))
    decoder = IsolatedDecoder(timeout_s=60)
    with decoder.open(path) as (info, blocks), open_native(path) as (info_here, blocks_here):
        assert info == info_here
        np.testing.assert_array_equal(np.concatenate(list(blocks)), np.concatenate(list(blocks_here)))
    decoder.close()


def test_an_environment_without_the_reader_is_no_fault_of_the_file() -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        read(IsolatedDecoder(timeout_s=5, reader="asid_core.signal.decode:nothing"), os.devnull)


def test_what_is_missing_comes_with_the_end(audio: Callable[..., Path]) -> None:
    path = audio("a.flac", 20.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 95 // 100])
    decoder, missing_s = IsolatedDecoder(timeout_s=60), []
    with decoder.open(str(path)) as (_, blocks):

        def noted() -> Iterator[np.ndarray]:
            missing_s.append((yield from blocks))

        seconds = sum(map(len, noted())) / 16_000
    decoder.close()
    assert seconds + missing_s[0] == pytest.approx(20.0, abs=0.01) and missing_s[0] > 0.5
