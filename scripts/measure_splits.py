#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What fixed splits cost: `attnrt-perf lines` of this build against one with long splits.

Splits of 512 keys at fixed places make a row's bits independent of its batch and of the threads. A
library that splits freely would give each thread one piece: with splits of 8,192 keys, 16k keys on
two threads are cut like that, and prompts of 2k not at all. So the same sources are built once
more with that one constant changed, and both programs take turns. Needs build/release/attnrt-perf.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTANT = "inline constexpr int32_t kSplitKeys = "
ROWS = "decode-g4-16k-p16-t2,decode-mha,decode-g8,decode-nhd,prefill-full,prefill-causal"


def build_free(folder, jobs):
    """Builds the tool with long splits from the files that git knows; returns the program."""
    source = folder / "source"
    for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines():
        text = (ROOT / name).read_bytes()
        if name == "include/attnrt/attention.hpp":
            changed = text.replace(f"{CONSTANT}512;".encode(), f"{CONSTANT}8192;".encode())
            if changed == text:
                sys.exit(f"measure_splits: {name} does not say '{CONSTANT}512;'")
            text = changed
        target = source / name
        if target.is_file() and target.read_bytes() == text:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text)
        shutil.copymode(ROOT / name, target)
    configure = ["cmake", "-S", source, "-B", folder / "build", "-G", "Ninja"]
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DATTNRT_BUILD_TESTS=OFF"]
    subprocess.check_call([*configure, *options, "-DATTNRT_BUILD_EXAMPLES=OFF"])
    build = ["cmake", "--build", folder / "build", "--target", "attnrt-perf", "-j", str(jobs)]
    subprocess.check_call(build)
    return folder / "build" / "attnrt-perf"


def measure(program, options):
    """Median microseconds by row."""
    command = [program, "lines", "--only", options.rows, "--format", "json"]
    command += ["--max-seconds", str(options.max_seconds), "--rotation", options.rotation]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: a line is not met
        sys.exit(f"measure_splits: {program}: {done.stderr.strip()}")
    return {row["row"]: row["median_us"] for row in json.loads(done.stdout)["rows"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of both programs [5]")
    parser.add_argument("--rows", default=ROWS, help="of attnrt-perf lines")
    parser.add_argument("--max-seconds", type=float, default=1.0, help="for a row and turn [1]")
    parser.add_argument("--rotation", default="512m", help="as attnrt-perf lines [512m]")
    parser.add_argument("--jobs", type=int, default=2, help="of the build [2]")
    parser.add_argument("--free", type=Path, help="a program with long splits, built before")
    options = parser.parse_args()
    fixed = ROOT / "build/release/attnrt-perf"
    if not fixed.is_file():
        sys.exit("measure_splits: build/release/attnrt-perf is missing: cmake --preset release")
    free = options.free or build_free(ROOT / "build/free_splits", options.jobs)
    rounds = []
    for turn in range(options.rounds):
        programs = [fixed, free] if turn % 2 == 0 else [free, fixed]
        times = {program: measure(program, options) for program in programs}
        rounds.append((times[fixed], times[free]))
    print("| row | fixed us | free us | fixed over free | rounds |")
    print("|---|---|---|---|---|")
    for row in rounds[0][0]:
        ratios = [a[row] / b[row] - 1 for a, b in rounds]
        medians = [statistics.median(times[i][row] for times in rounds) for i in (0, 1)]
        print(
            f"| {row} | {medians[0]:,.0f} | {medians[1]:,.0f} | {statistics.median(ratios):+.1%} "
            f"| {min(ratios):+.1%} to {max(ratios):+.1%} |"
        )


if __name__ == "__main__":
    main()
