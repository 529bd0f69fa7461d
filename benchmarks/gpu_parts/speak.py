"""Speak: real-time factor of the AR model with its cache, by the product's `ARDecoder`, growing and static.

75 steps are a second of speech. Every step takes the most likely code; sampling and the other seven codebooks come on top.
"""

from __future__ import annotations

import time
from functools import partial

import torch

from voxbeam.models.ar_decoder import ARDecoder
from voxbeam.models.valle import MAX_PROMPT_FRAMES, ARModel
from voxbeam.schemas.formats import FRAME_RATE

from benchmarks.gpu_parts.measure import Bench, Measured
from benchmarks.gpu_parts.results import Scalar
from benchmarks.gpu_parts.synthetic_data import FRAMES_PER_PHONE, N_PHONES, PAPER, TINY


def measure(bench: Bench) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    steps = 12 if bench.dry_run else 375
    batches = (1, 2) if bench.dry_run else (1, 8, 64)
    model = ARModel(TINY if bench.dry_run else PAPER).to(bench.device).eval()
    for batch in batches:
        bench.measure("growing", settings_of(batch, steps, "fp32", False), partial(growing, bench, model, batch, steps))
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        for graph in (True, False):
            for batch in batches:
                settings = settings_of(batch, steps, precision, graph)
                if graph and not bench.cuda:
                    bench.skip("static", "CUDA graphs need a GPU", settings)
                    continue
                bench.measure("static", settings, partial(static, bench, model, batch, steps, dtype, graph))


def settings_of(batch: int, steps: int, precision: str, graph: bool) -> dict[str, Scalar]:
    return {"batch": batch, "steps": steps, "precision": precision, "cuda_graph": graph}


def start_decoder(
    bench: Bench, model: ARModel, batch: int, steps: int, dtype: torch.dtype = torch.float32, static: bool = False
) -> ARDecoder:
    """A decoder that has processed prompts of three seconds, with room for `steps` steps."""
    frames = 10 if bench.dry_run else MAX_PROMPT_FRAMES
    generator = torch.Generator(bench.device).manual_seed(0)
    phones = (frames + steps) // FRAMES_PER_PHONE + 1
    phones_BL = torch.randint(1, N_PHONES, (batch, phones), device=bench.device, generator=generator)
    prompt_BP = torch.randint(0, model.end_id, (batch, frames), device=bench.device, generator=generator)
    lengths_B = torch.full((batch,), phones, device=bench.device)
    prompt_lengths_B = torch.full((batch,), frames, device=bench.device)
    return ARDecoder(model, phones_BL, lengths_B, prompt_BP, prompt_lengths_B, max_frames=steps, dtype=dtype, static=static)


@torch.inference_mode()
def growing(bench: Bench, model: ARModel, batch: int, steps: int) -> Measured:
    """With a cache that grows by a position at a time, in single precision, as on a CPU."""
    start_decoder(bench, model, batch, 1).step(torch.zeros(batch, dtype=torch.int64, device=bench.device))  # warm-up
    decoder = start_decoder(bench, model, batch, steps)
    bench.synchronize()
    return time_steps(bench, decoder, batch, steps, model.end_id)


@torch.inference_mode()
def static(bench: Bench, model: ARModel, batch: int, steps: int, dtype: torch.dtype, graph: bool) -> Measured:
    """With a cache of fixed size; in bf16 and with a graph as `voxbeam.synthesis.generate` decodes on a GPU."""
    # one step more, for the warm-up
    decoder = start_decoder(bench, model, batch, steps + 1, dtype, static=True)
    if graph:
        decoder.capture()
    decoder.step(torch.zeros(batch, dtype=torch.int64, device=bench.device))
    bench.synchronize()
    return time_steps(bench, decoder, batch, steps, model.end_id)


def time_steps(bench: Bench, decoder: ARDecoder, batch: int, steps: int, end_id: int) -> Measured:
    """Seconds per second of speech of each utterance, and × real time of all utterances together."""
    began = time.perf_counter()
    for _ in range(steps):
        decoder.step(decoder.logits_BV[:, :end_id].argmax(1))
    bench.synchronize()
    seconds = time.perf_counter() - began
    notes: dict[str, Scalar] = {"step_ms": 1000 * seconds / steps, "times_real_time_all": batch * steps / FRAME_RATE / seconds}
    return Measured(seconds / (steps / FRAME_RATE), "real-time factor", notes)
