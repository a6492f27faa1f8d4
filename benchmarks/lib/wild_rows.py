"""Wild queries, their real references and any number of synthetic rows beside these, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asid_core.config import Config
from asid_core.evaluation.truth import read_truth, track_name
from asid_core.matching.eight_bits import quantised, step
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.lib.among_distractors import WEIGHTS
from benchmarks.lib.synthetic import ROWS_PER_TRACK, prepared, tracks_like
from pipelines.search.exact import Blocks, References
from pipelines.search.identify import Identifier
from pipelines.search.sweep_plan import find_references
from pipelines.store.catalogue import Catalogue

DRAWN_AT_ONCE = 10  # synthetic tracks


@dataclass(frozen=True)
class Rows:
    """Reference rows, in eight bits, and where they are."""

    codes: Tensor  # int8 [m, dim]
    track: np.ndarray  # int32 [m]
    centre_s: np.ndarray  # float64 [m]

    def first(self, count: int) -> Rows:
        return Rows(self.codes[:count], self.track[:count], self.centre_s[:count])


class WildRows:
    """Wild queries that sample one reference, forwards; the rows of all references; synthetic rows after them."""

    def __init__(self, bench: Path, catalogue: Catalogue, model: Fingerprinter, config: Config, every: int) -> None:
        """every: take one in so many queries."""
        tracks, self.references = find_references(catalogue, model, "references/*")
        self.config, self._catalogue = config, catalogue
        sampled = {r.query: r.reference for r in read_truth(bench / "truth.json").relations if not r.backwards}
        rows = [row for row in tracks.to_pylist() if track_name(row["track_id"]) in sampled][::every]
        self.names = [track_name(track) for track in self.references.tracks["track_id"].to_pylist()]
        self.queries = list(prepared(catalogue, Identifier(catalogue, model, config, self.references), config, rows))
        self.true = [self.names.index(sampled[query.name]) for query in self.queries]
        self.real = real_rows(catalogue, self.references, config)
        self.num_real = len(self.names)

    def with_synthetic(self, count: int) -> Rows:
        """The real rows and `count` synthetic ones, in tracks of ROWS_PER_TRACK rows that are numbered after them."""
        source, unit = tracks_like(self._catalogue, WEIGHTS, ROWS_PER_TRACK), step(self.real.codes.shape[1])
        generator, codes = torch.Generator().manual_seed(0), [self.real.codes]
        for _ in range(0, count, ROWS_PER_TRACK * DRAWN_AT_ONCE):
            codes.append(quantised(source.draw(DRAWN_AT_ONCE, generator), unit))
        track, place = np.divmod(np.arange(count), ROWS_PER_TRACK)
        centre_s = place * self.references.hop_s + self.references.window_s / 2
        together = torch.cat(codes)[: len(self.real.codes) + count]
        tracks = np.concatenate([self.real.track, (track + self.num_real).astype(np.int32)])
        return Rows(together, tracks, np.concatenate([self.real.centre_s, centre_s]))


def real_rows(catalogue: Catalogue, references: References, config: Config) -> Rows:
    """All rows of the references that are not silent."""
    parts = []
    for block in Blocks(catalogue, references, config.search.silence_db):
        kept, unit = block.tracks >= 0, step(block.vectors.shape[1])
        codes = quantised(block.vectors[torch.from_numpy(kept)], unit)
        parts.append(Rows(codes, block.tracks[kept], block.start_s[kept] + references.window_s / 2))
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("track", "centre_s")]
    return Rows(torch.cat([part.codes for part in parts]), *columns)
