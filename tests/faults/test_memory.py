"""Memory does not grow with the length of a recording, from minutes to hours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.faults.driver import ROOT

SEGMENT = """
import resource, sys
import pyarrow as pa
from asid_core.config import SegmentConfig
from pipelines.ingest.decoding import READER
from pipelines.ingest.segment_task import FILES, segment_batch
from pipelines.store.catalogue import Catalogue
path, catalogue = sys.argv[1:]
Catalogue(catalogue, create=True)
file = {"track_id": "long", "uri": path, "size_bytes": 1, "version": "1"}
found = segment_batch(pa.Table.from_pylist([file], schema=FILES), catalogue, "run", SegmentConfig(), READER)
assert found.to_pylist()[0]["track"], found.to_pylist()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peaks_mb(folder: Path, minutes: float, gain: float) -> tuple[float, float]:
    """Peak memory of the task and of its decoder."""
    minute = (gain * np.sin(np.arange(60 * 8000) * 0.5)).astype(np.float32)
    with soundfile.SoundFile(folder / "long.flac", "w", 8000, 1) as file:
        for _ in range(round(minutes)):
            file.write(minute)
    command = [sys.executable, "-c", SEGMENT, str(folder / "long.flac"), str(folder / f"c{minutes}")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    shutil.rmtree(folder / f"c{minutes}")  # a gigabyte
    task, decoder = ended.stdout.split()[-2:]
    return int(task) / 1024, int(decoder) / 1024


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("gain", [0.5, 0.002], ids=["as it is", "soft"])
def test_ten_hours_take_the_memory_of_ten_minutes(tmp_path: Path, gain: float) -> None:
    short, long = (peaks_mb(tmp_path, minutes, gain) for minutes in (10, 600))
    print(f"10 min: {short[0]:.0f} and {short[1]:.0f} MB; 10 h: {long[0]:.0f} and {long[1]:.0f} MB")
    assert all(after < before + 80 for before, after in zip(short, long, strict=True))
