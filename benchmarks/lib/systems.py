"""Compares systems on one benchmark: quality of each stage, paired differences, size and speed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asid_core.evaluation.report import Report, compare
from asid_core.model.encoder import GraphBlock
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.weights import read_config, shipped_weights, weights_directory
from benchmarks.lib.calls import run_bench

STAGES = {"coarse": "coarse alone", "rerank": "reranker alone", "verify": "verification alone", "all": "all stages"}
TIERS = ("exact", "mild", "hard")
NO_PROBES = ("probes.semitones=[0]", "probes.tempo_ratios=[1]")
BACKWARDS = ("probes.reversed=true",)  # as `asid query` searches; a sweep does so with --reversed
VALUE_BYTES = 4


@dataclass(frozen=True)
class System:
    """A system to evaluate. weights: a shipped name or a directory. settings: overrides. slug: name of its figures."""

    name: str
    slug: str
    weights: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """The result of a system: its reports by stage, and its weights (None for an external program)."""

    name: str
    reports: dict[str, Report]
    weights: str | None = None


def shipped() -> list[str]:
    """Names of the shipped weights, starting with `linear`, with which the others are compared."""
    return sorted(shipped_weights(), key=lambda name: name != "linear")


def systems_of(weights: str, kept: Path) -> Iterator[System]:
    """The model itself; also without probes if it has some, and without graph blocks if it uses them."""
    directory = weights_directory(weights)
    name = directory.name
    config = read_config(directory)
    probed = len(config.probes.grid) > 1
    yield System(name, name, weights)
    if probed:
        yield System(f"{name}, no probes", f"{name}-no-probes", weights, NO_PROBES)
    if config.model.encoder.has_graph_blocks:
        yield System(f"{name}, graph blocks off", f"{name}-blocks-off", str(without_blocks(directory, kept)))


def without_blocks(directory: Path, kept: Path) -> Path:
    """A copy of the weights with `graph_blocks: false` and a new name."""
    values = json.loads((directory / "config.json").read_text())
    values["model"]["encoder"]["graph_blocks"] = False
    values["model"]["name"] += "-blocks-off"
    copy = kept / values["model"]["name"]
    shutil.copytree(directory, copy, dirs_exist_ok=True)
    (copy / "config.json").write_text(json.dumps(values))
    return copy


def scored(system: System, bench: Path) -> Scored:
    """Run a system on the benchmark, and keep its figures in that folder. Raises RuntimeError if it fails."""
    figures = bench / "figures" / f"{system.slug}.json"
    figures.parent.mkdir(exist_ok=True)
    run_bench(bench, system.weights, system.settings, figures)
    reports = json.loads(figures.read_text())["reports"]
    by_stage = {stage: Report.from_dict(values) for stage, values in reports.items()}
    return Scored(system.name, by_stage, system.weights)


def parameters(model: Fingerprinter) -> int:
    """Number of parameters used for fingerprints: includes a projection, but no training head and no unused blocks."""
    unused: set[int] = set()
    if not model.config.model.encoder.has_graph_blocks:
        blocks = [m for m in model.encoder.modules() if isinstance(m, GraphBlock)]
        unused = {id(p) for block in blocks for p in block.parameters()}
    named = ((name, p) for name, p in model.encoder.named_parameters() if not name.startswith("classifier"))
    count = sum(p.numel() for _, p in named if id(p) not in unused)
    return count or sum(b.numel() for name, b in model.encoder.named_buffers() if name == "components")


def bytes_per_second(model: Fingerprinter) -> float:
    """Bytes of vectors in the fingerprint table per second of audio."""
    return model.dim * VALUE_BYTES / model.hop_s


def quality_table(systems: Sequence[Scored]) -> str:
    """A Markdown table with one row per system and stage. Paired differences of mAP are to the first system."""
    against = systems[0].reports["all"]
    lines = [
        f"| system | stage | mAP | {' | '.join(TIERS)} | AUROC | mAP minus {systems[0].name}'s, same queries |",
        "|---" * (5 + len(TIERS)) + "|",
    ]
    for system in systems:
        for stage, report in system.reports.items():
            tiers = [report.groups.get("tier", {}).get(tier, {}).get("map") for tier in TIERS]
            cells = [str(report.figures["map"]), *(f"{t.value:.3f}" if t else "-" for t in tiers)]
            paired = "" if report is against else str(compare(report, against))
            cells += [str(report.figures["auroc"]), paired]
            lines.append(f"| {system.name} | {STAGES.get(stage, stage)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cost_table(systems: Sequence[Scored], windows_per_second: dict[str, float]) -> str:
    """A Markdown table of size and speed of each model. windows_per_second: by weights, on one core, if measured."""
    lines = ["| model | parameters | vector bytes per second of audio | windows/s per core |", "|---|---|---|---|"]
    for weights in dict.fromkeys(system.weights for system in systems if system.weights):
        model = Fingerprinter.from_pretrained(weights)
        speed = f"{windows_per_second[weights]:,.0f}" if weights in windows_per_second else "-"
        name = weights_directory(weights).name
        lines.append(f"| {name} | {parameters(model):,} | {bytes_per_second(model):,.0f} | {speed} |")
    return "\n".join(lines) + "\n"
