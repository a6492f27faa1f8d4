"""Measures windows per second on one core, and whether the machine is idle enough for this."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from asid_core.config import SAMPLE_RATE_HZ
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal.decode import decode
from pipelines.fingerprint.embed_actor import inference_type

BUSY_SHARE, LOOK_S = 0.05, 2.0
AUDIO_S = 120.0
LEAST_S = 5.0  # shortest time to measure


def idle(look_s: float = LOOK_S, stat: Path = Path("/proc/stat")) -> bool:
    """Whether all processors together were busy for less than BUSY_SHARE of `look_s` seconds. False outside Linux."""
    if not stat.is_file():
        return False
    before = _ticks(stat)
    time.sleep(look_s)
    after = _ticks(stat)
    total = sum(after) - sum(before)
    waiting = after[3] + after[4] - before[3] - before[4]
    return total > 0 and 1 - waiting / total < BUSY_SHARE


def _ticks(stat: Path) -> list[int]:
    """Processor times since boot: user, nice, system, idle, iowait, ..."""
    return [int(value) for value in stat.read_text().split("\n", 1)[0].split()[1:]]


def windows_per_second(weights: str, recording: Path) -> float:
    """Windows per second on one thread, including the front end, for the first two minutes of a recording."""
    loaded = Fingerprinter.from_pretrained(weights)
    audio = np.concatenate(list(decode(str(recording))))[: round(AUDIO_S * SAMPLE_RATE_HZ)]
    waveform = torch.from_numpy(audio)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = loaded.for_inference(inference_type(loaded))
        model.fingerprint(waveform[: 20 * SAMPLE_RATE_HZ])  # to warm up
        windows, started = 0, time.monotonic()
        while time.monotonic() - started < LEAST_S:
            windows += len(model.fingerprint(waveform).window_index)
        return windows / (time.monotonic() - started)
    finally:
        torch.set_num_threads(threads)
