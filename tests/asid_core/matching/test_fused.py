"""The GPU kernel of the first pass: equal to the CPU in Triton's interpreter, and compiled for real cards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

triton = pytest.importorskip("triton")

POINTERS = {"rows": "*i8", "queries": "*i8", "best": "*i32"}
COUNTS = dict.fromkeys(("num_rows", "num_groups", "num_windows"), "i32")


def test_it_equals_the_search_on_the_cpu() -> None:
    command = [sys.executable, "-m", "tests.asid_core.matching.interpreted"]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("capability", [80, 90])
def test_it_compiles_for_an_a100_and_an_h100(capability: int) -> None:
    from asid_core.matching import fused

    sizes = {"PROBES": 225, "DIMS": 128, "GROUP": 8}
    sizes |= {name: getattr(fused, name) for name in ("TILE_ROWS", "TILE_PROBES", "TILE_DIMS")}
    signature = POINTERS | COUNTS | dict.fromkeys(sizes, "constexpr")
    source = triton.compiler.ASTSource(fn=fused.best_kernel, signature=signature, constexprs=sizes)
    compiled = triton.compile(source, target=triton.backends.compiler.GPUTarget("cuda", capability, 32))
    assert "mma" in compiled.asm["ptx"], "it does not use the tensor cores"
