"""The GPU kernel of the first pass: equal to the CPU in Triton's interpreter, and compiled for real cards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

triton = pytest.importorskip("triton")

POINTERS = {"rows": "*i8", "queries": "*i8", "best": "*i32"}
OF_WINDOWS = dict.fromkeys(("groups", "windows", "starts", "counts"), "*i64")
CANDIDATES = {"rows": "*i8", "queries": "*i8"} | OF_WINDOWS | {"scores": "*i32", "probes": "*i32"}
COUNTS = dict.fromkeys(("num_rows", "num_groups", "num_windows"), "i32")


def test_it_equals_the_search_on_the_cpu() -> None:
    command = [sys.executable, "-m", "tests.asid_core.matching.interpreted"]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("capability", "product"), [(80, "mma.sync"), (90, "wgmma.mma_async")])
@pytest.mark.parametrize(("probes", "dims", "group"), [(75, 128, 8), (225, 256, 16)])
def test_it_compiles_for_an_a100_and_an_h100(capability: int, product: str, probes: int, dims: int, group: int) -> None:
    from asid_core.matching import fused

    tiles = fused.fitting(probes, dims)
    sizes = fused.constants(probes, dims, group, tiles)
    signature = POINTERS | COUNTS | dict.fromkeys(sizes, "constexpr")
    source = triton.compiler.ASTSource(fn=fused.best_kernel, signature=signature, constexprs=sizes)
    target = triton.backends.compiler.GPUTarget("cuda", capability, 32)
    compiled = triton.compile(source, target, {"num_warps": tiles.warps, "num_stages": tiles.stages})
    assert product in compiled.asm["ptx"], "it does not use the tensor cores as it should"
    assert compiled.metadata.shared <= fused.SHARED_BYTES


@pytest.mark.parametrize(("capability", "product"), [(80, "mma.sync"), (90, "wgmma.mma_async")])
@pytest.mark.parametrize("dims", [256, 512])
def test_the_kernel_of_candidates_compiles_too(capability: int, product: str, dims: int) -> None:
    from asid_core.matching import fused, fused_groups

    sizes = fused_groups.constants(225, dims, 16)
    signature = CANDIDATES | {"num_rows": "i32"} | dict.fromkeys(sizes, "constexpr")
    source = triton.compiler.ASTSource(fn=fused_groups.groups_kernel, signature=signature, constexprs=sizes)
    target = triton.backends.compiler.GPUTarget("cuda", capability, 32)
    how = {"num_warps": fused_groups.WARPS, "num_stages": fused_groups.STAGES}
    compiled = triton.compile(source, target, how)
    assert product in compiled.asm["ptx"], "it does not use the tensor cores as it should"
    assert compiled.metadata.shared <= fused.SHARED_BYTES


def test_tiles_suit_the_vectors() -> None:
    from asid_core.matching.fused import TILES, fitting

    assert fitting(75, 128) == TILES
    for probes, dims in [(1, 128), (3, 256), (225, 512), (9, 8192)]:
        tiles = fitting(probes, dims)
        assert tiles.windows >= 4 and tiles.probes >= 2 and tiles.rows >= 16, (probes, dims)
        assert tiles.probes < 2 * max(probes, 2)
