"""Compiles the kernels for GPUs that are not here and prints what each needs, one JSON line each.

``python tests/helpers/aot.py 80 90`` in a process without TRITON_INTERPRET: the interpreter cannot compile.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from genkit.attention.operators.block_mass import triton as block_mass
from genkit.attention.operators.block_sparse import triton as block_sparse
from genkit.attention.operators.frame_table import triton as frame_table
from genkit.attention.operators.permute import triton as permute
from genkit.attention.operators.pool import triton as pool
from genkit.attention.operators.threshold import triton as threshold

POINTERS = {
    "lse_ptr": "*fp32",
    "rows_ptr": "*i64",
    "cols_ptr": "*i64",
    "order_ptr": "*i64",
    "whole_count_ptr": "*i32",
    "whole_block_ptr": "*i32",
    "some_count_ptr": "*i32",
    "some_block_ptr": "*i32",
    "exact_ptr": "*i32",
    "table_ptr": "*i1",
    "keep_ptr": "*i1",
    "sinks_ptr": "*i1",
    "tail_count_ptr": "*fp32",
    "count_ptr": "*fp32",
    "mean_ptr": "*fp32",
    "var_ptr": "*fp32",
    "similarity_ptr": "*fp32",
    "mass_ptr": "*fp32",
}
TABLE_POINTERS = dict.fromkeys(("tiles_ptr", "count_ptr", "listed_ptr", "rows_ptr", "columns_ptr"), "*i32")
TABLE_POINTERS |= {"bias_ptr": "*fp32", "gain_ptr": "*fp32", "peak_ptr": "*fp32", "valid_ptr": "*i8"}
FLOATS = {"scale", "tau", "log2e"}


def kernels(chip: int) -> Iterator[tuple[str, Any, dict[str, Any], dict[str, int], dict[str, str]]]:
    """Name, kernel, constants, launch options and pointers of each variant, with the launch numbers of a chip."""
    dtype = torch.bfloat16
    for width in (64, 128):
        launch = block_sparse.TABLE.choose(chip, width, dtype, 128)
        for tail in (False, True):
            constants = block_sparse.constants(launch, width, 128, dtype, tabled=False, tail=tail)
            name = f"block_sparse{'+tail' if tail else ''} D={width}"
            yield name, block_sparse._forward, constants, launch.keywords(), {"valid_ptr": "*i1"}
        launch = threshold.TABLE.choose(chip, width, dtype, 64)
        constants = threshold.constants(launch, width, 64, dtype)
        yield f"threshold D={width}", threshold._forward, constants, launch.keywords(), {"valid_ptr": "*i1"}
    launch = block_mass.TABLE.choose(chip, 128, dtype, 64)
    constants = block_mass.constants(launch, 128, 64, dtype)
    yield "block_mass D=128", block_mass._forward, constants, launch.keywords(), {"valid_ptr": "*i8"}
    wanted = {"gained": True, "positive": True}
    for name, mixed, peaked in (("frame_table D=128", False, False), ("frame_table+mixed+peak D=128", True, True)):
        launch = frame_table.MIXED if mixed else frame_table.TABLE.choose(chip, 128, dtype, 0)
        constants = frame_table.constants(launch, 128, dtype, mixed=mixed, peaked=peaked, **wanted)
        yield name, frame_table._forward, constants, launch.keywords(), TABLE_POINTERS
    launch = pool.TABLE.choose(chip, 128, dtype, 64)
    constants = pool.constants(launch, 128, 64)
    yield "pool D=128", pool._forward, constants, launch.keywords(), {"valid_ptr": "*i8", "mean_ptr": "*fp32"}
    launch = permute.TABLE.choose(chip, 128, dtype, 0)
    yield "permute D=128", permute._forward, permute.constants(launch, 128), launch.keywords(), {}


def needs(kernel: Any, constants: dict[str, Any], options: dict[str, int], pointers: dict[str, str], chip: int) -> Any:
    """Registers, spilled bytes and shared bytes of one kernel, and whether it uses the warp-group products of sm_90."""
    names, fixed = kernel.arg_names, dict(constants)
    fixed |= {name: 1 for name in names if name.endswith("_d")}  # the last stride is 1
    types = POINTERS | pointers
    signature = {
        name: "constexpr"
        if name in fixed
        else types.get(name, "*bf16")
        if name.endswith("_ptr")
        else "fp32"
        if name in FLOATS
        else "i32"
        for name in names
    }
    aligned = [i for i, name in enumerate(names) if name.endswith(("_ptr", "_n", "_h", "_b")) and name not in fixed]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in fixed.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i in aligned},
    )
    made = triton.compile(source, target=GPUTarget("cuda", chip, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(made.asm["cubin"])
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        told = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    registers, spilled = map(int, re.findall(r"REG:(\d+) STACK:(\d+)", told.stdout)[0])
    return {
        "registers": registers,
        "spilled": spilled,
        "shared": made.metadata.shared,
        "wgmma": "wgmma" in made.asm["ptx"],
    }


def main() -> None:
    for chip in map(int, sys.argv[1:]):
        for name, kernel, constants, options, pointers in kernels(chip):
            found = needs(kernel, constants, options, pointers, chip)
            print(json.dumps({"kernel": name, "chip": chip, **found}), flush=True)


if __name__ == "__main__":
    main()
