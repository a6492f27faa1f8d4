"""The rules of ARCHITECTURE.md that a program can check: imports run one way, files stay small."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("asid_core", "pipelines", "jobs", "benchmarks")
FILES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
# a package of asid_core may import those of lower rank and itself
WINGS = {"signal": 0, "model": 1, "learning": 2, "matching": 2, "evaluation": 3, "synthetic": 4}
# a package of pipelines may import those of lower rank and itself; a file beside them may import all of them
ROOMS = {
    "json_log": 0,
    "local_ray": 0,
    "runtime": 1,
    "metrics": 2,
    "driver": 3,
    "store": 3,
    "ingest": 4,
    "fingerprint": 5,
    "train": 5,
    "search": 6,
    "report": 7,
}
CLUSTER_LIBRARIES = {"ray", "lance", "lancedb", "lance_ray", "s3fs", "boto3", "botocore"}


def _imports(path: Path) -> Iterator[str]:
    """Dotted names of every import, including those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _violations(path: Path, names: list[str]) -> list[str]:
    """The imports of `path` (relative to the root) that point the wrong way."""
    package, *rest = path.parts
    bad = []
    for name in names:
        target, *inside = name.split(".")
        if target in PACKAGES and PACKAGES.index(target) > PACKAGES.index(package):
            bad.append(name)
        if package == "asid_core" and target in CLUSTER_LIBRARIES:
            bad.append(name)
        if package == target == "asid_core" and inside[0] in WINGS:
            wing = rest[0]  # a file directly in asid_core imports none of its packages
            if wing != inside[0] and WINGS.get(wing, -1) <= WINGS[inside[0]]:
                bad.append(name)
        if package == target == "pipelines" and inside[0] in ROOMS:
            room = rest[0].removesuffix(".py")
            if room != inside[0] and ROOMS.get(room, len(ROOMS)) <= ROOMS[inside[0]]:
                bad.append(name)
        if package == target == "benchmarks" and inside[0] != "lib":  # an entry point, which must not be imported
            bad.append(name)
    return bad


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {_module(path): path for path in FILES}
    graph = {
        name: {target for full in _imports(path) for target in (full, full.rpartition(".")[0]) if target in modules}
        for name, path in modules.items()
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the modules


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    assert _violations(path.relative_to(ROOT), list(_imports(path))) == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("asid_core/signal/x.py", "asid_core.model.encoder.GnnEncoder"),
        ("asid_core/matching/x.py", "asid_core.learning.losses.nt_xent"),
        ("asid_core/config/model.py", "asid_core.signal.decode.decode"),
        ("asid_core/model/x.py", "ray.data"),
        ("asid_core/model/x.py", "pipelines.store.location.Location"),
        ("pipelines/x.py", "jobs.command.Verb"),
        ("pipelines/store/x.py", "pipelines.search.sweep.sweep"),
        ("pipelines/runtime.py", "pipelines.store.catalogue.Catalogue"),
        ("jobs/x.py", "benchmarks.quality.BENCH"),
        ("benchmarks/x.py", "benchmarks.quality.BENCH"),
        ("benchmarks/lib/x.py", "benchmarks.quality.BENCH"),
    ],
)
def test_the_check_reports_wrong_imports(path: str, name: str) -> None:
    assert _violations(Path(path), [name]) == [name]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("asid_core/evaluation/x.py", "asid_core.matching.align.align"),
        ("asid_core/signal/x.py", "asid_core.config.Config"),
        ("pipelines/x.py", "ray.data"),
        ("jobs/x.py", "pipelines.store.location.Location"),
        ("pipelines/reindex.py", "pipelines.search.sweep.sweep"),
        ("pipelines/search/x.py", "pipelines.search.exact.References"),
        ("benchmarks/x.py", "benchmarks.lib.calls.run_bench"),
    ],
)
def test_the_check_accepts_right_imports(path: str, name: str) -> None:
    assert _violations(Path(path), [name]) == []


def _kinds_asked_for(tree: ast.AST) -> set[str]:
    """Names of encoder and front-end classes in calls of `isinstance`."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    asked = [call.args[1] for call in calls if getattr(call.func, "id", "") == "isinstance"]
    names = {getattr(part, "id", getattr(part, "attr", "")) for kind in asked for part in ast.walk(kind)}
    return {name for name in names if name.endswith(("Encoder", "FrontEnd", "Spectra"))}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_factories_know_the_kinds_of_encoders_and_front_ends(path: Path) -> None:
    assert _kinds_asked_for(ast.parse(path.read_text())) == set()


def test_the_check_of_kinds_sees_all_forms() -> None:
    text = "isinstance(a, x.GnnEncoder) or isinstance(b, (int, LogMelFrontEnd)) or isinstance(c, CqtSpectra | str)"
    assert _kinds_asked_for(ast.parse(text)) == {"GnnEncoder", "LogMelFrontEnd", "CqtSpectra"}


def _longer_than(lines: int, files: list[Path]) -> dict[str, int]:
    assert len(files) > 20
    return {str(p): n for p in files if (n := len(p.read_text().splitlines())) > lines}


def test_no_file_is_longer_than_300_lines_and_no_test_than_400() -> None:
    assert _longer_than(300, FILES) == {}
    assert _longer_than(400, sorted((ROOT / "tests").rglob("*.py"))) == {}
