#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Registers and spills of the CUDA kernels, from what scripts/ptxas_log.sh kept of their build.

Prints a line for each kernel and architecture. Fails where one with a head dim of at most 128
spills, where any keeps arrays in local memory, or where a kernel is missing.
"""

import re
import sys
from pathlib import Path

MAX_DIM_WITHOUT_SPILLS = 128
DIMS = (64, 128, 192, 256)


def kernels(text):
    """Yields (name, architecture, registers, stack bytes, spilled bytes)."""
    name = arch = None
    stack = spilled = 0
    for line in text.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            name, arch = match.groups()
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", line):
            stack, spilled = map(int, match.groups())
        elif (match := re.search(r"Used (\d+) registers", line)) and name:
            yield name, arch, int(match[1]), stack, spilled
            name = None


def readable(name):
    """'bf16 d128 8x1 warps' for attention kernels, else the mangled name's own words."""
    if match := re.search(r"AttendShapeILi(\d+)ELi(\d+)ELi(\d+)E", name):
        dtype = "f16" if "4HalfE" in name else "bf16"
        return f"attend {dtype} d{match[1]} {match[2]}x{match[3]} warps", int(match[1])
    match = re.search(r"\d((?:merge|clear|append)[a-z_]*?_kernel)", name)
    return match[1] if match else name, 0


def main():
    if len(sys.argv) != 2:
        print("usage: check_ptxas.py BUILD-DIRECTORY", file=sys.stderr)
        return 2
    wrong = []
    dims = set()
    for path in sorted(Path(sys.argv[1]).rglob("*.ptxas")):
        for name, arch, registers, stack, spilled in kernels(path.read_text(encoding="utf-8")):
            what, dim = readable(name)
            dims.add(dim)
            line = f"{what:28} {arch}: {registers:3} registers, {spilled} bytes spilled"
            print(line)
            if (spilled and dim <= MAX_DIM_WITHOUT_SPILLS) or (stack and not spilled):
                wrong.append(line + f", {stack} bytes of stack")
    wrong += [f"no kernel for head dim {dim}" for dim in DIMS if dim not in dims]
    print("\n".join(["", *wrong]) if wrong else "\nno spills")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
