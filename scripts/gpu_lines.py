#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The calls that the CUDA backend is held to, timed beside PyTorch in one process, as Markdown.

usage: gpu_lines.py LIBRARY [--commit HASH] [--device NAME] > perf/results/lines-<device>-<date>.md

LIBRARY is build/cuda/libattnrt_cuda_lines.so; ATTNRT_CUDA_LIBRARY must say where libattnrt_cuda.so
is. Columns of PyTorch are empty where it is not installed with CUDA or has no such call. Times are
medians in milliseconds; GB/s count K and V once, TFLOP/s visible scores only (4 x D each). A call
that fails has the reason in its row, and the exit code is 1.
"""

import argparse
import ctypes
import datetime
import random
import sys

try:
    import torch

    if not torch.cuda.is_available():
        torch = None
except ImportError:
    torch = None

ITERATIONS = 20
MIN_ROTATED_BYTES = 1 << 30


class Line(ctypes.Structure):
    _fields_ = [
        ("q_lens", ctypes.POINTER(ctypes.c_int32)),
        ("kv_lens", ctypes.POINTER(ctypes.c_int32)),
        *((name, ctypes.c_int32) for name in (
            "batch", "heads_q", "heads_kv", "head_dim", "page_size", "causal", "caches",
            "iterations")),
    ]


def kv_bytes(kv_lens, heads_kv, dim):
    return sum(kv_lens) * heads_kv * dim * 4


def scores(q_lens, kv_lens, causal):
    if not causal:
        return sum(q * k for q, k in zip(q_lens, kv_lens))
    return sum(q * k - q * (q - 1) // 2 for q, k in zip(q_lens, kv_lens))


def time_ours(library, q_lens, kv_lens, heads, dim, page_size, causal):
    lists = [(ctypes.c_int32 * len(lens))(*lens) for lens in (q_lens, kv_lens)]
    one = kv_bytes(kv_lens, heads[1], dim)
    caches = max(1, min(64, -(-MIN_ROTATED_BYTES // one))) if max(q_lens) <= 16 else 1
    line = Line(*lists, len(q_lens), *heads, dim, page_size, int(causal), caches, ITERATIONS)
    call, read = ctypes.c_double(), ctypes.c_double()
    error = ctypes.create_string_buffer(400)
    if library.attnrt_line_time(ctypes.byref(line), ctypes.byref(call), ctypes.byref(read), error,
                                len(error)):
        raise RuntimeError(error.value.decode())
    return call.value, read.value


def time_torch(call):
    times = []
    for i in range(2 * ITERATIONS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        if i >= ITERATIONS:
            times.append(begin.elapsed_time(end))
    return sorted(times)[ITERATIONS // 2]


def torch_sdpa(q_lens, heads, dim, causal, backend):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    shape = (len(q_lens), heads[0], q_lens[0], dim)
    q, k, v = (torch.randn(shape, dtype=torch.bfloat16, device="cuda") for _ in range(3))
    with sdpa_kernel([getattr(SDPBackend, backend)]):
        return time_torch(lambda: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=causal))


def torch_varlen(q_lens, heads, dim):
    from torch.nn.attention.varlen import varlen_attn

    total = sum(q_lens)
    q, k, v = (torch.randn(total, heads[0], dim, dtype=torch.bfloat16, device="cuda")
               for _ in range(3))
    sums = torch.tensor([0, *q_lens], device="cuda").cumsum(0).to(torch.int32)
    return time_torch(lambda: varlen_attn(q, k, v, sums, sums, max(q_lens), max(q_lens)))


def attempt(call, *args):
    """'0.123', or what PyTorch says."""
    if torch is None:
        return ""
    try:
        with torch.no_grad():
            return f"{call(*args):.4f}"
    except (ImportError, RuntimeError, TypeError) as failure:
        return f"({type(failure).__name__})"


def failed_row(name, failure, columns):
    """A row with the reason in place of figures."""
    print(f"| {name} | ({failure}) |" + " |" * (columns - 2), flush=True)
    return 1


def prefill_rows(library):
    failures = 0
    print("\n| prefill | ours ms | TFLOP/s | PyTorch FlashAttention ms | PyTorch cuDNN ms |")
    print("|---|---|---|---|---|")
    generator = random.Random(1)
    varlen = [64 * generator.randint(1, 32) for _ in range(8)]
    cases = [("varlen_attn's own: 8 x random, 16 heads of 64", varlen, (16, 16), 64, False)]
    for length in (2048, 4096, 8192, 16384):
        cases.append((f"{16384 // length} x {length}, causal, 16 heads of 128",
                      [length] * (16384 // length), (16, 16), 128, True))
    for name, lens, heads, dim, causal in cases:
        try:
            ours, _ = time_ours(library, lens, lens, heads, dim, 0, causal)
        except RuntimeError as failure:
            failures += failed_row(name, failure, 5)
            continue
        rate = 4 * dim * heads[0] * scores(lens, lens, causal) / ours / 1e9
        if causal:
            others = [attempt(torch_sdpa, lens, heads, dim, causal, backend)
                      for backend in ("FLASH_ATTENTION", "CUDNN_ATTENTION")]
        else:
            others = [attempt(torch_varlen, lens, heads, dim), ""]
        print(f"| {name} | {ours:.4f} | {rate:.0f} | {others[0]} | {others[1]} |", flush=True)
    return failures


def decode_rows(library):
    failures = 0
    print("\n| decode, pages of 16 | ours ms | GB/s | read probe ms | % of probe | us above it |")
    print("|---|---|---|---|---|---|")
    cases = [(f"{batch} x {keys} keys, 64/8 heads of 128", [1] * batch, [keys] * batch, (64, 8))
             for batch, keys in ((1, 16384), (1, 131072), (16, 4096), (64, 512), (64, 4096),
                                 (64, 16384), (256, 256))]
    cases.append(("4 x 16384 keys, 16/1 heads of 128, q_len 4", [4] * 4, [16384] * 4, (16, 1)))
    for name, q_lens, kv_lens, heads in cases:
        try:
            ours, read = time_ours(library, q_lens, kv_lens, heads, 128, 16, True)
        except RuntimeError as failure:
            failures += failed_row(name, failure, 6)
            continue
        rate = kv_bytes(kv_lens, heads[1], 128) / ours / 1e6
        print(f"| {name} | {ours:.4f} | {rate:.0f} | {read:.4f} | {100 * read / ours:.0f} | "
              f"{1000 * (ours - read):.1f} |", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lines", metavar="LIBRARY")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--device", default="see nvidia-smi")
    options = parser.parse_args()
    library = ctypes.CDLL(options.lines)
    print(f"# CUDA lines: {options.device}, {datetime.date.today()}, commit {options.commit}\n")
    print(f"PyTorch {torch.__version__}" if torch is not None else "No PyTorch with CUDA is here.")
    failures = prefill_rows(library) + decode_rows(library)
    if failures > 0:
        sys.exit(f"gpu_lines: {failures} of the calls failed")


if __name__ == "__main__":
    main()
