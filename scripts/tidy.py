#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that no other tool checks: sizes, doors, tests, first lines.

Reads the files that git knows, prints one line per finding, exits 1 if there is any. Functions are
found by what clang-format makes of them, so run it after the format check.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MAX_COLUMNS = 100
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
MAX_PARAMETERS = 6

# Path or path:function -> why it may break a size rule. An entry that is not needed is a finding.
SIZE_EXCEPTIONS = {
    "src/kv_view.cpp:KvView::packed": "public: the dimensions of a tensor in their order",
    "src/kv_view.cpp:KvView::packed16": "public: the dimensions of a tensor in their order",
    "src/kv_view.cpp:KvView::paged": "public: the dimensions of a tensor in their order",
    "tests/support/cuda/library.cpp:cudaLibraryLoadData": "the CUDA runtime's own",
}

# Sources without a test file of their own -> where they are tested instead.
CONFORMANCE = "tests/backends/cpu/cpu_conformance_test.cpp, every ISA against the reference"
EXPRESSIONS = "tests/backends/cpu/expressions_test.cpp, the catalogues on every ISA"
EMULATED = "tests/backends/cuda/emulated/ and device/, on an emulated device and a real one"
TILES = "tests/backends/cpu/expr_*_test.cpp, every operation on every ISA"
TESTED_ELSEWHERE = {
    "backends/backend_list.cpp": "tests/src/runtime_test.cpp asks for the list",
    "backends/cpu/convert.cpp": "tests/src/convert_test.cpp, every ISA",
    "backends/cpu/cpu_backend.cpp": CONFORMANCE,
    "backends/cpu/kernels/amx.cpp": "tests/backends/cpu/amx_*_test.cpp, tiles emulated",
    "backends/cpu/kernels/avx2.cpp": CONFORMANCE,
    "backends/cpu/kernels/avx512.cpp": CONFORMANCE,
    "backends/cpu/kernels/avx512_bf16.cpp": CONFORMANCE + ", and arithmetic_test.cpp next to it",
    "backends/cpu/kernels/baseline.cpp": CONFORMANCE,
    "backends/cpu/kernels/onednn.cpp": CONFORMANCE,
    "backends/cpu/kernels/neon.cpp": CONFORMANCE + ", under scripts/test_aarch64.sh",
    "backends/cpu/packed16_append.cpp": "tests/src/append_packed16_test.cpp, every ISA",
    "backends/cuda/cuda_backend.cpp": EMULATED,
    "backends/cuda/device_memory.cpp": EMULATED,
    "backends/cuda/call_expression.cpp": "tests/backends/cuda/attend_expressions_test.cpp",
    "backends/cuda/call_params.cpp": "tests/backends/cuda/, every emulated call",
    "backends/cuda/expression_kernels.cpp": EMULATED,
    "backends/cpu/attend_programs.cpp": EXPRESSIONS,
    "backends/reference/expressions.cpp": EXPRESSIONS + "; tests/src/expr/evaluate_test.cpp",
    "backends/reference/reference_backend.cpp": "tests/backends/reference/, through attend",
    "src/attention.cpp": CONFORMANCE,
    "src/expr/fuse_steps.cpp": TILES,
    "src/expr/lower_tile.cpp": TILES,
    "src/expr/needs_int64.cpp": TILES + "; expressions_test.cpp for differences beyond int32",
    "src/expr/tile_ops.cpp": TILES,
    "src/expr/tile_registers.cpp": TILES,
    "src/plan_items.cpp": "tests/src/plan_test.cpp",
    "src/plan_report.cpp": "tests/src/plan_test.cpp and plan_mask_test.cpp",
    "src/plan_verify.cpp": "tests/src/plan_mask_test.cpp",
    "src/validate_convert.cpp": "tests/src/convert_test.cpp",
    "src/validate_tables.cpp": "tests/src/validate_plan_test.cpp and validate_append_test.cpp",
}

# Include (a prefix of what stands between the brackets) -> the only places that may have it.
DOORS = {
    "xsimd/": ["backends/cpu/kernels/"],
    # The tests' tile instructions need the CPU's fused multiply-add, whatever the build's flags.
    "immintrin.h": ["backends/cpu/kernels/", "tests/support/amx_tiles.cpp"],
    "arm_neon.h": ["backends/cpu/kernels/"],
    "cpuid.h": ["backends/cpu/cpu_features.cpp"],
    "tbb/": ["backends/cpu/parallel.cpp", "perf/", "tests/"],
    "oneapi/tbb": ["backends/cpu/parallel.cpp", "perf/", "tests/"],
    "oneapi/dnnl/": ["backends/cpu/onednn_panels.cpp"],
    "omp.h": ["backends/cpu/onednn_panels.cpp", "tests/backends/cpu/onednn_panels_test.cpp"],
    "cuda_": [
        "backends/cuda/",
        "perf/cuda/",
        "tests/backends/cuda/device/",
        "tests/support/cuda/",
    ],
    "doctest": ["tests/"],
    "CLI/": ["perf/", "tests/perf/"],
    "fmt/": ["perf/", "tests/perf/"],
    "nlohmann/": ["perf/", "tests/perf/"],
    "backends/": ["backends/", "tests/", "perf/"],
    # The simulation is of use only while it runs the cutting and the costs that the executor runs;
    # a plan's bytes, and masks element by element, are nothing that users ask for.
    "src/": [
        "src/",
        "backends/",
        "tests/",
        "perf/plan_probe.cpp",
        "perf/simulate.cpp",
        "perf/sweep_call.cpp",
        "perf/tile_scores.cpp",
    ],
    "tests/": ["tests/"],
    "perf/": ["perf/", "tests/"],
}

NOT_FUNCTIONS = (
    "TEST_SUITE",
    "namespace",
    "class",
    "struct",
    "enum",
    "union",
    "extern",
    "using",
    "typedef",
)


class Report:
    def __init__(self):
        self.findings = []
        self.used_exceptions = set()

    def add(self, path, line, text):
        self.findings.append(f"{path}:{line}: {text}")

    def add_size(self, key, path, line, text):
        if key in SIZE_EXCEPTIONS:
            self.used_exceptions.add(key)
        else:
            self.add(path, line, text)


def tracked_files():
    names = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    return [name for name in names if (ROOT / name).is_file()]


def check_lines(report, path, lines):
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            report.add(path, number, f"{len(line)} columns, at most {MAX_COLUMNS}")
        if line != line.rstrip():
            report.add(path, number, "trailing white space")
        if re.search(r"\bTODO\b|\bFIXME\b|^\s*#\s*if 0\b", line) and path != "scripts/tidy.py":
            report.add(path, number, "unfinished or disabled code")
    if len(lines) >= MAX_FILE_LINES:
        report.add_size(path, path, 1, f"{len(lines)} lines, must be under {MAX_FILE_LINES}")


def check_head(report, path, lines):
    head = lines[1:] if lines and lines[0].startswith("#!") else lines
    mark = "//" if path.endswith((".cpp", ".hpp", ".cu", ".cuh")) else "#"
    if not head or head[0] != f"{mark} SPDX-License-Identifier: Apache-2.0":
        report.add(path, 1, "the first line is not the SPDX line")
        return
    # A source next to its header, and a test, say it by their names.
    described = len(head) > 1 and head[1].startswith((mark, '"""'))
    twin = path.endswith(".cpp") and (ROOT / path).with_suffix(".hpp").is_file()
    if not described and not twin and not path.endswith("_test.cpp"):
        report.add(path, 2, "no line says what the file is for")


def check_includes(report, path, lines):
    for number, line in enumerate(lines, 1):
        match = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
        if not match:
            continue
        name = match.group(1)
        for door, allowed in DOORS.items():
            if name.startswith(door) and not path.startswith(tuple(allowed)):
                report.add(path, number, f"{name} is for {', '.join(allowed)} only")
        if path.startswith("include/") and not re.fullmatch(r"attnrt/\w+\.hpp|[a-z_]+", name):
            report.add(path, number, f"{name} is neither std nor attnrt")


def functions(lines):
    """Yields (name, parameters, first line, last line) of definitions at indents 0 and 2."""
    statement, start = "", 0
    index = 0
    while index < len(lines):
        line = lines[index]
        code = re.sub(r"//.*", "", line).rstrip()
        if not statement:
            start = index
        statement = f"{statement} {code.strip()}".strip() if code.strip() else ""
        indent = len(lines[start]) - len(lines[start].lstrip())
        if code.endswith((";", "}", ":")) or code.startswith("#"):
            statement = ""
        elif code.endswith("{"):
            head, statement = statement, ""
            body_is_function = (
                indent in (0, 2)
                and "(" in head
                and not re.match(rf"(template <.*> )?({'|'.join(NOT_FUNCTIONS)})\b", head)
                and not re.search(r"=\s*\{$|^(if|for|while|switch|do|else|return)\b", head)
            )
            if body_is_function:
                end = index
                while end + 1 < len(lines) and not re.match(rf" {{{indent}}}\}}", lines[end]):
                    end += 1
                name = re.search(r"(operator\W+|[\w:~]+)\s*\(", head)
                yield name.group(1) if name else "?", parameters(head), start + 1, end + 1
                index = end
        index += 1


def parameters(head):
    """Counts the parameters of the first parenthesis of a definition's head."""
    text = re.sub(r"operator\(\)", "operator", head)
    depth, count, seen = 0, 0, ""
    for char in text[text.index("(") :]:
        if char in "(<{[":
            depth += 1
        elif char in ")>}]":
            depth -= 1
            if depth == 0:
                break
        elif char == "," and depth == 1:
            count += 1
        seen += char
    return count + 1 if seen.strip("( ") else 0


def check_functions(report, path, lines):
    for name, count, first, last in functions(lines):
        length = last - first + 1
        key = f"{path}:{name}"
        if length >= MAX_FUNCTION_LINES:
            text = f"{name} has {length} lines, must be under {MAX_FUNCTION_LINES}"
            report.add_size(key, path, first, text)
        if count > MAX_PARAMETERS and name != "TEST_CASE":
            text = f"{name} has {count} parameters, at most {MAX_PARAMETERS}: make it a struct"
            report.add_size(key, path, first, text)


def check_tests(report, files):
    for path in files:
        if not path.endswith(".cpp") or not path.startswith(("src/", "backends/")):
            continue
        test = f"tests/{path.removesuffix('.cpp')}_test.cpp"
        if test in files:
            if path in TESTED_ELSEWHERE:
                report.add(path, 1, f"has {test}, and a reason not to")
        elif path not in TESTED_ELSEWHERE:
            report.add(path, 1, f"has no {test} and no entry in TESTED_ELSEWHERE")
    for path in TESTED_ELSEWHERE:
        if path not in files:
            report.add("scripts/tidy.py", 1, f"TESTED_ELSEWHERE names {path}, which is not there")


def main():
    report = Report()
    files = tracked_files()
    for path in files:
        code = path.endswith((".cpp", ".hpp", ".cu", ".cuh"))
        script = path.endswith((".sh", ".py")) or path == ".ci/run"
        cmake = path.endswith(("CMakeLists.txt", ".cmake"))
        if not (code or script or cmake):
            continue
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        check_lines(report, path, lines)
        if code or script:
            check_head(report, path, lines)
        if code:
            check_includes(report, path, lines)
            check_functions(report, path, lines)
    check_tests(report, files)
    for key in SIZE_EXCEPTIONS.keys() - report.used_exceptions:
        report.add("scripts/tidy.py", 1, f"SIZE_EXCEPTIONS names {key}, which needs none")
    print("\n".join(report.findings) or f"tidy: {len(files)} files, nothing found")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
