"""Resamples a stream in bounded memory, with the same result as torchaudio on the whole signal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from asid_core.config import SAMPLE_RATE_HZ

# The filter table has up x down entries. Odd rates such as 44,101 Hz are rounded to limit it to 50 MB; the error is at
# most 5e-5, 10 ms in 4 minutes.
MAX_UP = 1000


def resample_blocks(
    blocks: Iterable[np.ndarray], rate_hz: int, target_hz: int = SAMPLE_RATE_HZ
) -> Iterator[np.ndarray]:
    """Resample mono float32 blocks [n_i] from `rate_hz` to `target_hz`; yields float32 blocks.

    The concatenated output has `ceil(n * target_hz / rate_hz)` samples, and equals `torchaudio.transforms.Resample` of
    the concatenated input: internally, blocks overlap by the width of the filter.
    """
    if rate_hz == target_hz:
        yield from blocks
        return
    import torch
    from torchaudio.transforms import Resample

    ratio = Fraction(rate_hz, target_hz).limit_denominator(MAX_UP)
    up, down = ratio.denominator, ratio.numerator
    resample = Resample(down, up)
    # input samples needed on either side of an output frame (`down` in, `up` out), in whole frames
    context = down * (-(-resample.width // down) + 1)
    least = max(rate_hz, 4 * context)

    def run(pieces: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        signal = np.concatenate(pieces)
        with torch.inference_mode():
            return signal, resample(torch.from_numpy(signal)).numpy()

    pieces: list[np.ndarray] = []
    held = lead = 0  # samples held, and how many of them are already done (a multiple of `down`)
    for block in blocks:
        pieces.append(np.ascontiguousarray(block, dtype=np.float32))
        held += len(block)
        if held < lead + context + least:
            continue
        signal, out = run(pieces)
        done = lead + (held - lead - context) // down * down
        yield out[lead // down * up : done // down * up]
        keep = max(0, done - context)
        pieces, held, lead = [signal[keep:]], held - keep, done - keep
    if held > lead:
        yield run(pieces)[1][lead // down * up :]
