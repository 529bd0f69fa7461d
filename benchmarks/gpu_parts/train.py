"""Train: frames per second of the AR and the NAR model at the paper's size, with the product's `TrainState`, and what is faster.

A step is complete: copy of the batch to the device, forward and backward pass, clipping, optimizer, averaged weights.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from voxbeam.models.batch import Batch
from voxbeam.trainer.configs import TrainConfig
from voxbeam.trainer.optimization import TrainState

from benchmarks.gpu_parts.attention import BLOCK, Documents, flex, masked, varlen
from benchmarks.gpu_parts.measure import Bench, Measured
from benchmarks.gpu_parts.packed import Attention, BlockHalves, PackedModel
from benchmarks.gpu_parts.results import Scalar
from benchmarks.gpu_parts.synthetic_data import PAPER, TINY, synthetic_batch

FORMULA = "per step 6 × layers × (4 D² + 2 D d_ff) × positions + 12 × layers × D × Σ positions²; no padding, no recomputation"
PROFILE = "train_profile.txt"
ATTENTIONS: dict[str, Callable[[Documents, bool], Attention]] = {"flex": flex, "varlen": varlen, "masked": masked}
"""of a packed batch; the masked one is for the CPU"""


def measure(bench: Bench) -> None:
    sizes = (200, 400) if bench.dry_run else (6_000, 12_000, 24_000, 48_000)
    main_size = sizes[-2]
    packing = "varlen" if bench.cuda else "masked"
    if not bench.cuda:
        for missing in ("varlen", "flex"):
            why = "trains on a GPU only; masked attention replaces it here"
            bench.skip("step", why, {"attention": f"packed, {missing}"})
    (bench.out / PROFILE).unlink(missing_ok=True)
    # what takes seconds comes before what is compiled: the part may be stopped before the rest
    benches = {name: StepBench(bench, new_state(bench, name)) for name in ("ar", "nar")}
    for step in benches.values():
        step.run(main_size)
        step.run(main_size, packing=packing)
        step.run(main_size, optimizer="fused")
        write_profile(bench, step.state, main_size)
        for size in sizes:
            if size != main_size:
                step.run(size)
                step.run(size, packing=packing)
        step.run(main_size, ddp=True)
    if bench.dry_run:
        return  # compiling takes longer than everything else on a CPU
    for step in benches.values():
        step.run(main_size, packing="varlen", compiled=True, optimizer="fused")
        step.run(main_size, packing="flex")
        step.run(main_size, compiled=True)
    for step in benches.values():
        step.run(main_size, packing="flex", compiled=True)


def new_state(bench: Bench, name: str) -> TrainState:
    """A model in training, at the paper's size or a tiny one, created on the device."""
    model_config = TINY if bench.dry_run else PAPER
    config = TrainConfig(transformer=model_config.transformer, bf16=bench.cuda)
    with torch.device(bench.device):
        return TrainState(name, model_config, config, bench.device)


class StepBench:
    """Measures steps of one model in various forms, and restores the original form after each."""

    def __init__(self, bench: Bench, state: TrainState) -> None:
        self.bench, self.state = bench, state

    def run(
        self, frames: int, *, packing: str = "", compiled: bool = False, optimizer: str = "default", ddp: bool = False
    ) -> None:
        """One row: frames per second of micro-batches of at most `frames` frames."""
        settings: dict[str, Scalar] = {
            "model": self.state.name,
            "frames": frames,
            "attention": f"packed, {packing}" if packing else "masked, padded",
            "compile": compiled,
            "optimizer": optimizer,
            "ddp": ("nccl" if self.bench.cuda else "gloo") if ddp else "",
        }

        def timed() -> Measured:
            batches = batches_of(self.bench, frames)
            with self._form(packing, compiled, optimizer, ddp, batches):
                return self._time(batches)

        self.bench.measure("step", settings, timed)

    def _time(self, batches: list[Batch]) -> Measured:
        state, bench = self.state, self.bench
        endless, numbers = itertools.cycle(batches), itertools.count()

        def step() -> None:
            batch = next(endless)
            state.update([batch], next(numbers), 0, state.count_frames([batch]))

        for _ in batches:
            step()
        bench.synchronize()
        began, count = time.perf_counter(), 0
        while count < len(batches) or (time.perf_counter() - began < 1.2 and not bench.dry_run):
            for _ in batches:  # always all of them, since they differ
                step()
            bench.synchronize()
            count += len(batches)
        seconds = (time.perf_counter() - began) / count
        frames = sum(batch.frames for batch in batches) / len(batches)
        tflops = sum(state.flops([batch]) for batch in batches) / len(batches) / seconds / 1e12
        padded = sum(batch.codes_BKT.shape[0] * batch.codes_BKT.shape[2] for batch in batches) / len(batches)
        extra: dict[str, Scalar] = {"step_s": seconds, "tflops": tflops, "padding": 1 - frames / padded, "flops": FORMULA}
        if peak := find_peak_flops(bench):
            extra["mfu"] = tflops * 1e12 / peak
        return Measured(frames / seconds, "frames/s", extra)

    @contextmanager
    def _form(self, packing: str, compiled: bool, optimizer: str, ddp: bool, batches: list[Batch]) -> Iterator[None]:
        """Inside this context the model is packed, compiled, and so on."""
        state = self.state
        wrapped, before = state.wrapped, state.optimizer
        if compiled or packing == "flex":
            torch.compiler.reset()
        try:
            if packing:
                halves = BlockHalves.compiled() if compiled else None
                state.wrapped = PackedModel(state.model, packed_size(batches), ATTENTIONS[packing], halves)
            elif compiled:
                for layer in state.model.transformer.layers:
                    layer.compile(dynamic=True)  # as in the product
            if optimizer == "fused":
                state.optimizer = torch.optim.AdamW([{**g, "fused": True, "foreach": False} for g in before.param_groups])
            if ddp:
                backend = "nccl" if self.bench.cuda else "gloo"
                dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
                state.wrapped = DistributedDataParallel(state.model)
            yield
        finally:
            state.wrapped, state.optimizer = wrapped, before
            state.optimizer.zero_grad(set_to_none=True)
            for layer in state.model.transformer.layers:
                layer._compiled_call_impl = None
            if dist.is_initialized():
                dist.destroy_process_group()


def batches_of(bench: Bench, frames: int) -> list[Batch]:
    """Three batches of different shapes."""
    lengths = {"shortest": 20, "longest": 60} if bench.dry_run else {}
    return [synthetic_batch(frames, seed, **lengths) for seed in range(3)]


def packed_size(batches: list[Batch]) -> int:
    """Positions that the largest of the batches packs into, rounded up to whole blocks of the mask."""
    largest = max(int((batch.phone_lengths_B + batch.frame_lengths_B + 2).sum()) for batch in batches)
    return -(-largest // BLOCK) * BLOCK


def write_profile(bench: Bench, state: TrainState, frames: int) -> None:
    """Writes the fifteen longest operations of two steps to a file; the row has the fraction of the longest one."""

    def run() -> Measured:
        batches = batches_of(bench, frames)[:2]
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.cuda else [])]
        state.update(batches[:1], 0, 0, state.count_frames(batches[:1]))
        bench.synchronize()
        with profile(activities=activities) as profiler:
            for number, batch in enumerate(batches):
                state.update([batch], number, 0, state.count_frames([batch]))
            bench.synchronize()
        order = "self_cuda_time_total" if bench.cuda else "self_cpu_time_total"
        averages = profiler.key_averages()
        with (bench.out / PROFILE).open("a") as file:
            file.write(f"{state.name}: two steps of at most {frames} frames\n{averages.table(sort_by=order, row_limit=15)}\n\n")
        times = {item.key: float(item.self_device_time_total if bench.cuda else item.self_cpu_time_total) for item in averages}
        longest = max(times, key=lambda key: times[key])
        return Measured(times[longest] / sum(times.values()), "of the time", {"operation": longest, "file": PROFILE})

    bench.measure("longest operation", {"model": state.name, "frames": frames}, run)


def find_peak_flops(bench: Bench) -> float | None:
    """Dense bf16 operations per second from the vendor's data sheet, if known."""
    try:
        # it imports what a bare machine may lack: without them there is no MFU, and every other figure is the same
        from voxbeam.trainer.meter import peak_flops
    except ImportError:
        return None
    return peak_flops(bench.device)
