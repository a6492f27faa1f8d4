"""Writes benchmarks/RESULTS.md: one section per benchmark, with its command. A new run replaces the section."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import time
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "RESULTS.md"
FIGURES = Path("out/benchmarks")  # for JSON files with all figures of a run
TITLE = "# Results\n\nEvery section is written by the command it names.\n"
VERSIONS = ("asid", "torch", "ray", "lancedb", "pylance", "numpy")


def machine() -> str:
    """Processor, cores and memory of this machine, in one line."""
    return f"{_proc('cpuinfo', 'model name') or platform.machine()}, {cores()} cores, {_memory_gb()} GB of memory"


def cores() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gb() -> str:
    total = _proc("meminfo", "MemTotal")
    return f"{int(total.split()[0]) / 1024**2:.0f}" if total else "?"


def _proc(name: str, key: str) -> str | None:
    path = Path("/proc") / name
    match = re.search(rf"^{key}\s*:\s*(.*)$", path.read_text(), re.M) if path.is_file() else None
    return match[1].strip() if match else None


def _largest_gb() -> float:
    """Peak memory in GB of this process or of one of its children, whichever is larger."""
    of = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in of) * 1024 / 1e9  # Linux counts in KiB


def write_section(name: str, command: str, body: str) -> None:
    """Write a section to RESULTS.md. Replaces the section with the same name, or is appended."""
    used = ", ".join(f"{package} {metadata.version(package)}" for package in VERSIONS)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    on = f"Python {platform.python_version()}; {machine()}; {_largest_gb():.1f} GB peak memory of a process"
    made_by = f"`{command}`, {date}\n\n{used}, {on}."
    section = f"## {name}\n\n{made_by}\n\n{body.strip()}"
    before = RESULTS.read_text() if RESULTS.exists() else TITLE
    sections = re.split(r"^(?=## )", before, flags=re.M)
    kept = {part.split("\n", 1)[0]: part.rstrip("\n") for part in sections} | {f"## {name}": section}
    RESULTS.write_text("\n\n".join(kept.values()) + "\n")


def write_json(name: str, values: Mapping[str, Any]) -> None:
    """Write figures (plain values and dataclasses), with the machine and the time, to FIGURES/name.json."""

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
        raise TypeError(f"{type(value).__name__} is not a figure")

    FIGURES.mkdir(parents=True, exist_ok=True)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = json.dumps({"machine": machine(), "at": at, **values}, indent=1, default=plain)
    (FIGURES / f"{name}.json").write_text(text + "\n")
