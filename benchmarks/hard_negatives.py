"""How well a reranker of nodes tells a pair from its hardest negatives, by how much the query is changed.

Needs spans that `pack_spans` has packed. The negatives of a query are the references of other held-out pairs that the
encoder finds nearest. RESULTS.md has the figures of the shipped `gnn-paper`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from asid_core import config as configs
from asid_core.config import Config
from asid_core.learning.loop import Loop
from asid_core.learning.pairs import Pairs
from asid_core.learning.tasks import NEGATIVES, EncoderTask, RerankerTask
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.lib.packed_spans import Pcm, unpack
from benchmarks.lib.results import write_section
from benchmarks.lib.spans_on_device import SpansOnDevice, held_out_pairs

COMMAND = "python -m benchmarks.hard_negatives WEIGHTS --spans DIR"
BATCHES, ROWS = 8, 128
HELD_OUT = ("supertuxkart-data", "flare-game", "music/pixel-dungeon", "music/neverball", "music/openmusic")
PLAIN = dict.fromkeys(("drive", "noise", "chorus", "pumping_db", "drift", "one_part", "cut_inside"), "0")
FILTERS = {"low_cut_hz": "300", "high_cut_hz": "3000", "reverb_s": "0.5", "compression": "0.4", "codec_db": "45"}
CHANGES = {
    "textbook: as in `asid bench make`": {
        "semitones": "3.0", "tempo_ratios": "[0.78, 1.3]", "background_db": "[-20, 0]", **FILTERS, **PLAIN,
    },
    "as the first gnn-paper was trained": {
        "semitones": "4.0", "tempo_ratios": "[0.72, 1.4]", "background_db": "[-14, 6]", **FILTERS, **PLAIN,
    },
    "wild: as the shipped one is trained": {},
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("weights", metavar="WEIGHTS", nargs="+", help="models with a reranker of nodes")
    parser.add_argument("--spans", metavar="DIR", type=Path, required=True, help="made by pack_spans")
    args = parser.parse_args(argv)
    text = "\n".join(report(args.weights, *unpack(args.spans)))
    print(text)
    write_section("Reranker and hard negatives", COMMAND, text)
    return 0


def report(weights: Sequence[str], pcm: Pcm, track_ids: Sequence[str]) -> Iterator[str]:
    """Lines of a table, and before it what was measured."""
    held_out = np.flatnonzero([track_id.startswith(HELD_OUT) for track_id in track_ids])
    yield (
        f"{BATCHES * ROWS:,} pairs of the tracks that training leaves out. AUC: of these pairs against each query with "
        f"the {NEGATIVES} references of other pairs that the encoder finds nearest. MRR: of the encoder alone."
    )
    yield ""
    yield "| model | queries are changed | MRR | accuracy | AUC |"
    yield "|---" * 5 + "|"
    for name in weights:
        model = Fingerprinter.from_pretrained(name).eval()
        for change, values in CHANGES.items():
            settings = [f"training.augmentation.{key}={value}" for key, value in values.items()]
            config = configs.load(model.config.model.name, settings)
            pairs = made(model, config, pcm[held_out], np.array(track_ids)[held_out].tolist())
            found = EncoderTask(model, config.training).validate(pairs)
            judged = RerankerTask(model, config.training).validate(pairs)
            figures = (found["mrr"], judged["accuracy"], judged["auc"])
            yield f"| {Path(name).name} | {change} | {' | '.join(f'{figure:.3f}' for figure in figures)} |"


def made(model: Fingerprinter, config: Config, pcm: Pcm, track_ids: Sequence[str]) -> Pairs:
    """Pairs of these spans, the same for every model."""
    loop = Loop(EncoderTask(model, config.training), config.training, 1, 0.0)
    spans = SpansOnDevice(pcm, track_ids, loop.spectra, config.training.augmentation)
    return held_out_pairs(spans, BATCHES, ROWS, loop)


if __name__ == "__main__":
    sys.exit(main())
