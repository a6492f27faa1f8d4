"""Spans of stem tables as a few Opus files, a tenth of the size, for a training machine without access to the tables.

Opus at 18 kbit/s loses nothing that matters after the augmentation of training, which removes more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from asid_core.config import SAMPLE_RATE_HZ

Pcm = npt.NDArray[np.int16]
COMPRESSION = 0.956  # libsndfile's scale from 256 kbit/s (0) to 6 kbit/s (1)
DECODERS = 16


def pack(file: Path, track_ids: Sequence[str], spans: Iterator[Pcm]) -> None:
    """Write equally long spans, one after the other, to `file` (.ogg), and their track ids to a .json beside it."""
    with soundfile.SoundFile(
        file, "w", SAMPLE_RATE_HZ, 1, format="OGG", subtype="OPUS", compression_level=COMPRESSION
    ) as opus:
        for span in spans:
            opus.write(span)
    file.with_suffix(".json").write_text(json.dumps(list(track_ids)))
    file.with_suffix(".npy").unlink(missing_ok=True)  # of what was there before


def unpack(folder: Path) -> tuple[Pcm, list[str]]:
    """All spans [n, samples] of the files in a folder, and their track ids. Raises ValueError if there are none.

    Keeps the decoded samples beside the files, for the next training on the same machine.
    """
    files = sorted(folder.glob("*.ogg"))
    if not files:
        raise ValueError(f"{folder} holds no .ogg files of spans")
    with ThreadPoolExecutor(DECODERS) as pool:
        spans, track_ids = zip(*pool.map(_unpacked, files), strict=True)
    return np.concatenate(spans), [track_id for some in track_ids for track_id in some]


def _unpacked(file: Path) -> tuple[Pcm, list[str]]:
    track_ids: list[str] = json.loads(file.with_suffix(".json").read_text())
    kept = file.with_suffix(".npy")
    if kept.exists():
        return np.load(kept, mmap_mode="r"), track_ids
    decoded, rate = soundfile.read(file, dtype="int16")
    if rate != SAMPLE_RATE_HZ or len(decoded) % len(track_ids):
        raise ValueError(f"{file}: {len(decoded)} samples at {rate} Hz are not {len(track_ids)} spans at 16 kHz")
    spans = decoded.reshape(len(track_ids), -1)
    np.save(kept, spans)
    return spans, track_ids
