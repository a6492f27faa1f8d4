"""Measures the throughput of every stage of `asid run`, and how close segment and embed come to the encoder's speed.

The limit is the encoder alone (`speed.windows_per_second`: one thread, audio in memory, including the front end) times
the number of cores, as if decoding, storage and Ray cost nothing. The paper's full encoder is timed with random
weights, which take as long as trained ones.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asid_core import config as configs
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.lib import speed
from benchmarks.lib.meter import Meter
from benchmarks.lib.results import cores, write_json, write_section
from jobs import cli
from pipelines.store.catalogue import Catalogue

COMMAND = "make -C benchmarks pipeline MUSIC=path"
STAGES = ("segment", "embed", "index", "sweep")
FULL = "gnn-paper with graph blocks"
MODELS = {"discriminant": STAGES, "gnn-paper": STAGES[:2], FULL: STAGES[:2]}


@dataclass(frozen=True)
class Run:
    """The measurements of one model on the whole folder."""

    model: str
    audio_h: float
    windows: int
    seconds: dict[str, float]  # by verb
    peak_gb: float
    encoder_windows_per_second: float

    @property
    def share_of_encoder(self) -> float:
        """The time that the encoder alone would take, relative to the time of segment and embed."""
        return self.windows / self.encoder_windows_per_second / (self.seconds["segment"] + self.seconds["embed"])


def weights_of(model: str, folder: Path) -> str:
    """The value of --weights for a model. Writes random weights to `folder` for FULL."""
    if model != FULL:
        return model
    made = folder / "weights"
    Fingerprinter(configs.load("gnn-paper", ["model.encoder.graph_blocks=true"])).save(made)
    return str(made)


def measure(model: str, music: Path, recording: Path) -> Run:
    """Run the model's stages one by one in a new catalogue. Raises RuntimeError if one fails."""
    folder = Path(tempfile.mkdtemp(prefix="asid-pipeline-"))
    weights = weights_of(model, folder)
    alone = cores() * speed.windows_per_second(weights, recording)
    meter = Meter()

    def verb(name: str) -> None:
        given = {"segment": ["--corpus", str(music)], "index": []}.get(name, ["--weights", weights])
        if code := cli.main([name, *given, "--catalogue", str(folder / "catalogue"), "--quiet"]):
            raise RuntimeError(f"asid {name} failed with exit code {code}")

    for name in MODELS[model]:
        meter.measure(name, lambda name=name: verb(name))  # type: ignore[misc]
    catalogue = Catalogue(str(folder / "catalogue"))
    audio_h = sum(sum(batch["duration_s"].to_pylist()) for batch in catalogue.tracks(columns=["duration_s"])) / 3600
    windows = sum(run["counts"]["windows"] for run in catalogue.runs() if run["verb"] == "embed")
    shutil.rmtree(folder)
    seconds = {step.name: step.seconds for step in meter.steps}
    return Run(model, audio_h, windows, seconds, max(step.all_gb for step in meter.steps), alone)


def table(runs: Sequence[Run]) -> str:
    lines = [
        "| model | windows | " + " | ".join(f"{name} (s)" for name in STAGES)
        + " | hours of audio per hour | peak memory (GB) | encoder alone, windows/s | share of it by segment + embed |",
        "|---|" + "---|" * (len(STAGES) + 5),
    ]  # fmt: skip
    for run in runs:
        stages = " | ".join(f"{run.seconds[name]:.0f}" if name in run.seconds else "" for name in STAGES)
        rate = run.audio_h / sum(run.seconds.values()) * 3600
        lines.append(
            f"| {run.model} | {run.windows:,} | {stages} | {rate:.0f} | {run.peak_gb:.2f} | "
            f"{run.encoder_windows_per_second:,.0f} | {run.share_of_encoder:.2f} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--music", metavar="DIR", type=Path, required=True)
    args = parser.parse_args(argv)
    recording = max(args.music.rglob("*.ogg"), key=lambda path: path.stat().st_size)
    runs = [measure(model, args.music, recording) for model in MODELS]
    text = f"{runs[0].audio_h:.2f} h of music; every stage run separately, with start-up.\n\n{table(runs)}"
    print(text)
    write_json("pipeline", {"runs": runs})
    write_section("Pipeline speed", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
