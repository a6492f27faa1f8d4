"""The Ray task of `stems`: reads some recordings, writes one part file, returns one outcome per recording."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from asid_core.config import SAMPLE_RATE_HZ, SegmentConfig
from asid_core.learning.separation import percussive_harmonic, pretrained_separator, separate
from asid_core.signal.decode import DecodeError, unreadable
from asid_core.signal.pcm import from_pcm, to_pcm
from asid_core.signal.resample import resample_blocks
from pipelines.ingest.decoding import READER, IsolatedDecoder
from pipelines.runtime import assigned_device
from pipelines.store.location import Location, StorageError
from pipelines.train.render_midi import render
from pipelines.train.stem_files import write_part

MIN_LENGTH_SHARE = 0.8  # of the longest stem; the file of an instrument that stops early is often shorter
MAX_TRACK_S = 3600.0  # a task holds whole stems in memory, 115 MB per hour and stem

# `uris` and `names` have the same length: the files of a track's stems. seed: selects a rendering of a MIDI file.
SOURCES = pa.schema(
    [
        pa.field("track_id", pa.string()),
        pa.field("version", pa.string()),
        pa.field("kind", pa.string()),  # stems, mix, separate, hpss or midi
        pa.field("uris", pa.list_(pa.string())),
        pa.field("names", pa.list_(pa.string())),
        pa.field("seed", pa.string()),
    ]
)
OUTCOMES = pa.schema(
    [
        pa.field("track_id", pa.string()),
        pa.field("version", pa.string()),
        pa.field("part", pa.string()),
        pa.field("spans", pa.int64()),
        pa.field("audio_s", pa.float64()),
        pa.field("error_type", pa.string()),
        pa.field("error", pa.string()),
    ]
)


@functools.lru_cache(maxsize=1)
def _decoder(timeout_s: float) -> IsolatedDecoder:
    return IsolatedDecoder(timeout_s, READER)


@functools.lru_cache(maxsize=1)
def _separator() -> tuple[torch.nn.Module, int]:
    model, rate_hz = pretrained_separator()
    return model.to(assigned_device()), rate_hz


def stem_batch(batch: pa.Table, output_uri: str, run_id: str, names: list[str], config: SegmentConfig) -> pa.Table:
    """Read, separate or render the tracks in `batch` (rows of SOURCES) into one part; returns rows of OUTCOMES."""
    part = f"parts/{run_id}/part-{uuid.uuid4().hex}.parquet"
    outcomes: list[dict[str, Any]] = []

    def tracks() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for source in batch.to_pylist():
            outcome = {"track_id": source["track_id"], "version": source["version"]}
            try:
                audio = _audio(source, config)
            except DecodeError as error:
                outcomes.append(outcome | {"error_type": error.error_type, "error": error.message})
                continue
            seconds = max(map(len, audio.values())) / SAMPLE_RATE_HZ
            outcomes.append(outcome | {"part": part, "audio_s": seconds})
            yield source["track_id"], audio

    counts = iter(write_part(Location(output_uri).join(part), names, tracks()))
    for outcome in outcomes:
        if "part" in outcome:
            outcome["spans"] = next(counts)
            if not outcome["spans"]:
                outcome |= {"part": None, "error_type": "silent", "error": "the recording is silent"}
    return pa.Table.from_pylist(outcomes, schema=OUTCOMES)


def _audio(source: dict[str, Any], config: SegmentConfig) -> dict[str, np.ndarray]:
    """The stems of one track: name -> int16 [n] at 16 kHz. Raises DecodeError."""
    try:
        if source["kind"] == "midi":
            return render(Location(source["uris"][0]).read_bytes(), source["seed"])
        if source["kind"] == "separate":
            return _separated(source["uris"][0], config)
        if source["kind"] == "hpss":
            mix = from_pcm(_read(source["uris"][0], config))
            return {name: to_pcm(part) for name, part in percussive_harmonic(mix, SAMPLE_RATE_HZ).items()}
        read = {name: _read(uri, config) for name, uri in zip(source["names"], source["uris"], strict=True)}
    except (FileNotFoundError, PermissionError, IsADirectoryError, StorageError) as error:
        raise unreadable(error) from None
    lengths = {name: len(pcm) for name, pcm in read.items()}
    if min(lengths.values()) < MIN_LENGTH_SHARE * max(lengths.values()):
        seconds = ", ".join(f"{name} {n / SAMPLE_RATE_HZ:.1f} s" for name, n in lengths.items())
        raise DecodeError("not_aligned", f"the stems differ in length, so they cannot be aligned: {seconds}")
    return read


def _read(uri: str, config: SegmentConfig, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Decode a recording to int16 [n] at `rate_hz`. Raises DecodeError."""
    pieces, count = [], 0
    with Location(uri).local_copy() as path, _decoder(config.decode_timeout_s).open(path) as (info, blocks):
        for block in resample_blocks(blocks, info.rate_hz, rate_hz):
            pieces.append(to_pcm(block))
            count += len(block)
            if count > MAX_TRACK_S * rate_hz:
                raise DecodeError("too_long", f"longer than {MAX_TRACK_S / 60:g} min; split it into tracks")
    if count < config.min_track_s * rate_hz:
        raise DecodeError("too_short", f"only {count / rate_hz:.2f} s; at least {config.min_track_s:g} s are needed")
    return np.concatenate(pieces)


def _separated(uri: str, config: SegmentConfig) -> dict[str, np.ndarray]:
    model, rate_hz = _separator()
    mix = torch.from_numpy(_read(uri, config, rate_hz).astype(np.float32) / 32_768)
    separated = separate(model, mix, rate_hz)
    return {
        name: to_pcm(np.concatenate(list(resample_blocks([stem.numpy()], rate_hz)))) for name, stem in separated.items()
    }
