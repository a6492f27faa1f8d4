"""Mixes channels to mono: their mean, unless they cancel each other out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

# Power of the mean, relative to that of uncorrelated channels: 1 for uncorrelated channels or a single active one,
# 2 for two equal channels, 0 for left = -right
CANCELS_BELOW, HOLDS_ABOVE = 0.1, 0.3
HOP_S = 1.0
SILENT_POWER = 1e-7  # -70 dB; softer seconds keep the current mix


def to_mono(blocks: Iterable[np.ndarray], rate_hz: int) -> Iterator[np.ndarray]:
    """Mix float32 blocks [n_i, channels] to float32 blocks [m_i].

    Decides second by second, so that the file is read only once: if the channels cancel in the mean, those in antiphase
    to the loudest one are inverted. Changes of the mix are cross-faded over one second.
    """
    mixer = _Mixer()
    hop = max(1, round(HOP_S * rate_hz))
    pieces: list[np.ndarray] = []
    held = 0
    for block in blocks:
        if pieces and block.shape[1] != pieces[0].shape[1]:
            yield mixer.mix(np.concatenate(pieces))
            pieces, held = [], 0
        if block.shape[1] == 1 and not pieces:
            yield block[:, 0]
            continue
        pieces.append(block)
        held += len(block)
        while held >= hop:
            joined = np.concatenate(pieces)
            yield mixer.mix(joined[:hop])
            pieces, held = [joined[hop:]], held - hop
    if held:
        yield mixer.mix(np.concatenate(pieces))


class _Mixer:
    """Mixes seconds, and remembers the signs of the last one (None: the mean)."""

    def __init__(self) -> None:
        self._signs: np.ndarray | None = None

    def mix(self, block: np.ndarray) -> np.ndarray:
        """Mix float32 [n, channels] to [n]."""
        before, self._signs = self._signs, self._decide(block)
        after = self._signs
        if before is None and after is None or before is not None and len(before) != block.shape[1]:
            return _mixed(block, after)
        if before is not None and after is not None and np.array_equal(before, after):
            return _mixed(block, after)
        fade = np.linspace(0, 1, len(block), dtype=np.float32)
        return _mixed(block, before) * (1 - fade) + _mixed(block, after) * fade

    def _decide(self, block: np.ndarray) -> np.ndarray | None:
        before = self._signs if self._signs is not None and len(self._signs) == block.shape[1] else None
        if not len(block) or not np.isfinite(block).all():
            return before
        wide = block.astype(np.float64)
        products = wide.T @ wide
        total = float(np.trace(products))
        if total < SILENT_POWER * block.size:
            return before

        def share(weights: np.ndarray) -> float:
            return float(weights @ products @ weights) / total

        if share(np.ones(block.shape[1])) >= (CANCELS_BELOW if before is None else HOLDS_ABOVE):
            return None
        if before is not None and share(before) >= HOLDS_ABOVE:
            return before
        loudest = int(np.argmax(np.diag(products)))
        signs = np.where(products[loudest] < 0, -1.0, 1.0)
        signs *= signs[0]  # never invert the first channel, so that the polarity of the mix stays the same
        if share(signs) < CANCELS_BELOW:
            signs = np.zeros(block.shape[1])
            signs[loudest] = block.shape[1]
        return signs


def _mixed(block: np.ndarray, signs: np.ndarray | None) -> np.ndarray:
    if signs is None:
        return np.asarray(block.mean(axis=1), dtype=np.float32)
    return np.asarray(block @ (signs / len(signs)).astype(np.float32))
