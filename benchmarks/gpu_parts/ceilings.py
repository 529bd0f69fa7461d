"""Ceilings: what the card itself can do, for comparison with every other figure.

Matrix products of random numbers: zeros draw less power, and a card that draws less runs faster.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gpu_parts.measure import Bench, Measured


def measure(bench: Bench) -> None:
    size = 256 if bench.dry_run else 8192
    for precision in ("bf16", "tf32", "fp32"):
        bench.measure("matrix product", {"size": size, "precision": precision}, partial(matrix_product, bench, size, precision))
    n_bytes = (4 << 20) if bench.dry_run else (4 << 30)
    bench.measure("device copy", {"bytes": n_bytes}, partial(device_copy, bench, n_bytes))
    n_bytes = (4 << 20) if bench.dry_run else (1 << 30)
    for direction in ("to device", "to host"):
        bench.measure("host copy", {"bytes": n_bytes, "direction": direction}, partial(host_copy, bench, n_bytes, direction))


def matrix_product(bench: Bench, size: int, precision: str) -> Measured:
    """Floating-point operations per second of square products: 2 size³ each."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=bench.device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    seconds = bench.time(lambda: torch.mm(a, b, out=out), warm_ups=5)
    return Measured(2 * size**3 / seconds / 1e12, "TFLOP/s")


def device_copy(bench: Bench, n_bytes: int) -> Measured:
    """Bytes read plus bytes written, per second."""
    source = torch.randint(0, 255, (n_bytes,), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    return Measured(2 * n_bytes / bench.time(lambda: target.copy_(source)) / 1e9, "GB/s", {"counted": "read and written"})


def host_copy(bench: Bench, n_bytes: int, direction: str) -> Measured:
    """Between the device and pinned memory of the host, where loaders put batches."""
    host = torch.zeros(n_bytes, dtype=torch.uint8, pin_memory=bench.cuda)
    device = torch.zeros(n_bytes, dtype=torch.uint8, device=bench.device)
    source, target = (host, device) if direction == "to device" else (device, host)
    seconds = bench.time(lambda: target.copy_(source, non_blocking=True))
    return Measured(n_bytes / seconds / 1e9, "GB/s", {"counted": "once"})
