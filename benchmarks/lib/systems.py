"""Systems side by side on one benchmark: what each is made of, what it costs, how good it is, and against the first."""

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
    """Weights (a name we ship or a directory) and what is set beside their config; `slug` names its file of figures."""

    name: str
    slug: str
    weights: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """A system's name, its reports by stage, and its model (None for a program that is not ours)."""

    name: str
    reports: dict[str, Report]
    weights: str | None = None


def shipped() -> list[str]:
    """Names of the weights of this checkout, `linear` first: the others are compared with it."""
    return sorted(shipped_weights(), key=lambda name: name != "linear")


def systems_of(weights: str, kept: Path) -> Iterator[System]:
    """The model as it is; without probes, where it has some; with its graph blocks left out, where it uses them."""
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
    """A copy of the weights with `graph_blocks: false`, and a name of its own."""
    values = json.loads((directory / "config.json").read_text())
    values["model"]["encoder"]["graph_blocks"] = False
    values["model"]["name"] += "-blocks-off"
    copy = kept / values["model"]["name"]
    shutil.copytree(directory, copy, dirs_exist_ok=True)
    (copy / "config.json").write_text(json.dumps(values))
    return copy


def scored(system: System, bench: Path) -> Scored:
    """Run a system on the benchmark; its figures stay in the benchmark's folder. Raises RuntimeError if it fails."""
    figures = bench / "figures" / f"{system.slug}.json"
    figures.parent.mkdir(exist_ok=True)
    run_bench(bench, system.weights, system.settings, figures)
    reports = json.loads(figures.read_text())["reports"]
    found = {stage: Report.from_dict(values) for stage, values in reports.items()}
    return Scored(system.name, found, system.weights)


def parameters(model: Fingerprinter) -> int:
    """Numbers that make a fingerprint: weights in use, a projection's included, a training head's not."""
    unused: set[int] = set()
    if not model.config.model.encoder.has_graph_blocks:
        blocks = [m for m in model.encoder.modules() if isinstance(m, GraphBlock)]
        unused = {id(p) for block in blocks for p in block.parameters()}
    named = ((name, p) for name, p in model.encoder.named_parameters() if not name.startswith("classifier"))
    count = sum(p.numel() for _, p in named if id(p) not in unused)
    return count or sum(b.numel() for name, b in model.encoder.named_buffers() if name == "components")


def bytes_per_second(model: Fingerprinter) -> float:
    """Of audio, in the fingerprint table's vectors."""
    return model.dim * VALUE_BYTES / model.hop_s


def quality_table(found: Sequence[Scored]) -> str:
    """A row a system and stage; the paired difference is to the first system's last stage, by mAP."""
    against = found[0].reports["all"]
    lines = [
        f"| system | stage | mAP | {' | '.join(TIERS)} | AUROC | mAP minus {found[0].name}'s, same queries |",
        "|---" * (5 + len(TIERS)) + "|",
    ]
    for system in found:
        for stage, report in system.reports.items():
            tiers = [report.groups.get("tier", {}).get(tier, {}).get("map") for tier in TIERS]
            cells = [str(report.figures["map"]), *(f"{t.value:.3f}" if t else "-" for t in tiers)]
            paired = "" if report is against else str(compare(report, against))
            cells += [str(report.figures["auroc"]), paired]
            lines.append(f"| {system.name} | {STAGES.get(stage, stage)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cost_table(found: Sequence[Scored], windows_per_second: dict[str, float]) -> str:
    """A row per model: parts and cost. `windows_per_second`: by weights, on one core, where measured."""
    lines = ["| model | parameters | vector bytes a second of audio | windows a second and core |", "|---|---|---|---|"]
    for weights in dict.fromkeys(system.weights for system in found if system.weights):
        model = Fingerprinter.from_pretrained(weights)
        speed = f"{windows_per_second[weights]:,.0f}" if weights in windows_per_second else "-"
        name = weights_directory(weights).name
        lines.append(f"| {name} | {parameters(model):,} | {bytes_per_second(model):,.0f} | {speed} |")
    return "\n".join(lines) + "\n"
