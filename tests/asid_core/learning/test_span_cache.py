from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from asid_core.config import load
from asid_core.learning import span_cache as module
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.pairs import Batch, make_pairs
from asid_core.learning.span_cache import SpanCache
from asid_core.model.fingerprinter import Fingerprinter


def batch(seconds: float = 8.0, rests: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(round(seconds * 16_000)) / 16_000
    pitches = torch.randint(40, 70, (3, 6), generator=generator)
    tones = [sum((0.1 * (6.283 * 440 * 2 ** ((p - 57) / 12) * t).sin()) for p in row.tolist()) for row in pitches]
    sources = torch.stack(tones) * (1 + (6.283 * 3 * t).sin()) + 0.01 * torch.randn(3, len(t), generator=generator)
    stems = torch.full((3,), rests)
    return Batch(sources, sources.flip(0) * rests, stems, torch.arange(3))


def test_a_pair_from_memory_is_the_pair_from_its_waveforms() -> None:
    config = load("gnn")
    ranges = replace(config.training.augmentation, semitones=0.0, tempo_ratios=(1.0, 1.0), offset_s=0.0)
    training = replace(config.training, augmentation=ranges)
    spectra = spectra_of(Fingerprinter(config).front_end, 0.0)
    frames = SpanCache(spectra, ranges).frames
    whole = batch((frames - 1) * 0.04)
    for stems in (False, True):
        whole = batch((frames - 1) * 0.04, stems)
        cache = SpanCache(spectra, ranges)
        cache.add(whole)
        drawn = cache.draw(3, np.random.default_rng(0))
        order = drawn.track  # draws are in any order
        direct = Batch(whole.sources[order], whole.rests[order], whole.stems[order], order)
        made = []
        for one in (drawn, direct):
            torch.manual_seed(1)
            made.append(make_pairs(one, spectra, training, 0.0))
        assert torch.allclose(made[0].references, made[1].references, atol=1e-3)
        assert torch.allclose(made[0].queries, made[1].queries, atol=1e-3)
        assert made[0].references.norm(dim=(1, 2)).min() > 0.9


def test_pitches_are_kept_too() -> None:
    config = load("gnn")
    spectra = spectra_of(Fingerprinter(config).front_end, 0.5)
    waveforms = batch().sources
    semitones = torch.tensor([-0.5, 0.0, 0.5])
    from_wave = spectra.bands(spectra.stft(waveforms), semitones)
    from_memory = spectra.bands(spectra.prepared(waveforms), semitones)
    assert torch.allclose(from_wave.sqrt(), from_memory.sqrt(), rtol=2e-3, atol=1e-5)
    assert not torch.allclose(from_memory[0], spectra.bands(spectra.prepared(waveforms))[0], rtol=0.1)


def test_the_oldest_spans_make_room(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    config = load("gnn")
    cache = SpanCache(spectra_of(Fingerprinter(config).front_end, 0.0), config.training.augmentation)
    cache.add(batch())
    monkeypatch.setattr(module, "LIMIT_BYTES", cache.spans[0].bytes * 4)
    assert not cache.full
    more = batch()
    cache.add(replace(more, track=torch.arange(10, 13)))
    assert cache.full and sorted(span.track for span in cache.spans) == [2, 10, 11, 12]
    assert len(cache.draw(20, np.random.default_rng(0)).sources) == 20
