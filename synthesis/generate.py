"""Generates the codes of texts in the voice of their prompts: several texts in one batch, or one text in chunks.

The AR model generates the first codebook frame by frame, with a key-value cache. The NAR model generates the other seven
greedily, one pass each (VALL-E, section 4.3). When streaming, the earlier chunks are the NAR model's prompt for the next one, so
frames that were already returned never change.

Shapes: B utterances, L phones, P prompt frames, T frames, K codebooks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxbeam.models.ar_decoder import ARDecoder
from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.models.valle import ARModel, NARModel
from voxbeam.synthesis.sampling import SamplingConfig, guided, sample_codes

MIN_PHONES_PER_SECOND = 5
"""slower than anybody speaks: a longer utterance is a loop, and is truncated"""
MAX_PHONES_PER_SECOND = 30
"""faster than anybody speaks: a shorter utterance ended too soon"""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A text to synthesize, with its acoustic prompt."""

    phones_L: NDArray[np.integer[Any]]
    """phones of the prompt, then of the text"""
    prompt_KP: NDArray[np.int16]
    max_frames: int
    """generation stops here unless the model ends it earlier"""
    min_frames: int = 0
    """the model cannot end it before"""


@dataclass(frozen=True)
class Generated:
    """The codes of one request, without its prompt."""

    codes_KT: NDArray[np.int16]
    finished: bool
    """the model generated the end token; False if generation was truncated at `max_frames`"""


def frame_limits(phones: int, frame_rate: float) -> tuple[int, int]:
    """The frames before which a text of so many phones cannot end, and those after which it is cut.

    A text that ends as soon as it can was still ended too early: its speech is faster than `MAX_PHONES_PER_SECOND`.
    """
    least = math.ceil(phones / MAX_PHONES_PER_SECOND * frame_rate) - 1
    return max(0, least), round((1 + phones / MIN_PHONES_PER_SECOND) * frame_rate)


@torch.inference_mode()
def generate(
    ar: ARModel,
    nar: NARModel,
    requests: Sequence[Request],
    sampling: SamplingConfig,
    *,
    seed: int = 0,
    each_frame: Callable[[], None] | None = None,
) -> list[Generated]:
    """The codes of every request, decoded in one batch; what `each_frame` raises ends it. Raises ValueError for an empty list."""
    batch = request_batch(requests, model_device(ar))
    first_codes: list[list[int]] = [[] for _ in requests]
    finished = [False] * len(requests)
    least, most = [request.min_frames for request in requests], [request.max_frames for request in requests]
    for code_B in decode_ar(ar, batch, most, sampling, seed, min_frames=least):
        if each_frame is not None:
            each_frame()
        for row, code in enumerate(code_B):
            if code == ar.end_id:
                finished[row] = True
            elif code is not None:
                first_codes[row].append(code)
    codes = decode_nar(nar, batch, [request.prompt_KP for request in requests], first_codes)
    return [Generated(codes_KT, end) for codes_KT, end in zip(codes, finished, strict=True)]


@torch.inference_mode()
def generate_chunks(
    ar: ARModel, nar: NARModel, request: Request, sampling: SamplingConfig, *, chunk_frames: int = 38, seed: int = 0
) -> Iterator[NDArray[np.int16]]:
    """The codes of one request in chunks [K, ≤ chunk_frames], each as soon as it is complete."""
    batch = request_batch([request], model_device(ar))
    prompt_KP, fresh = request.prompt_KP, list[int]()
    for (code,) in decode_ar(ar, batch, [request.max_frames], sampling, seed, min_frames=[request.min_frames]):
        if code is not None and code != ar.end_id:
            fresh.append(code)
        if len(fresh) == chunk_frames:
            (codes_KT,) = decode_nar(nar, batch, [prompt_KP], [fresh])
            prompt_KP, fresh = np.concatenate([prompt_KP, codes_KT], axis=1), []
            yield codes_KT
    if fresh:
        yield decode_nar(nar, batch, [prompt_KP], [fresh])[0]


def decode_ar(
    ar: ARModel,
    batch: Batch,
    max_frames: Sequence[int],
    sampling: SamplingConfig,
    seed: int,
    *,
    min_frames: Sequence[int] | None = None,
) -> Iterator[list[int | None]]:
    """Codes of the first codebook, frame by frame: one per utterance, the end token once, and None from then on.

    An utterance that reaches its `max_frames` gives None as well. The end token is not drawn before `min_frames`.
    """
    device = batch.phones_BL.device
    generator = torch.Generator(device).manual_seed(seed)
    prompt_BP, lengths_B = batch.codes_BKT[:, 0].long(), batch.frame_lengths_B
    on_gpu = device.type == "cuda"
    copies = 2 if sampling.guidance else 1  # the second without text
    without = torch.arange(copies * len(lengths_B), device=device) >= len(lengths_B)
    decoder = ARDecoder(
        ar,
        batch.phones_BL.repeat(copies, 1),
        batch.phone_lengths_B.repeat(copies).masked_fill(without, 0),
        prompt_BP.repeat(copies, 1),
        lengths_B.repeat(copies),
        max_frames=max(max_frames),
        dtype=torch.bfloat16 if on_gpu else None,
        static=on_gpu,
        eight_bits=not on_gpu,
    )
    if on_gpu:
        decoder.capture()
    recent_BH = torch.full((len(max_frames), sampling.repetition_window), -1, device=device)
    max_B = torch.tensor(max_frames, device=device)
    min_B = torch.tensor(min_frames or [0] * len(max_frames), device=device)
    is_end_V = torch.arange(ar.end_id + 1, device=device) == ar.end_id
    done_B = torch.zeros(len(max_frames), dtype=torch.bool, device=device)
    for frame in range(max(max_frames)):
        logits_BV = guided(decoder.logits_BV, sampling.guidance) if sampling.guidance else decoder.logits_BV
        logits_BV = logits_BV.masked_fill((frame < min_B)[:, None] & is_end_V, -torch.inf)
        code_B = sample_codes(logits_BV, recent_BH, sampling, generator)
        output_B = torch.where(done_B | (frame >= max_B), -1, code_B)
        done_B = done_B | (code_B == ar.end_id)
        yield [None if code < 0 else code for code in output_B.tolist()]
        if bool((done_B | (frame + 1 >= max_B)).all()):
            return
        recent_BH = torch.cat([recent_BH[:, 1:], code_B[:, None]], dim=1)
        decoder.step(
            code_B.clamp(max=ar.end_id - 1).repeat(copies)
        )  # finished utterances continue with any code, which is discarded


def decode_nar(
    nar: NARModel, batch: Batch, prompts: Sequence[NDArray[np.int16]], first_codes: Sequence[Sequence[int]]
) -> list[NDArray[np.int16]]:
    """All codebooks [K, T] of frames whose first codebook is given, each after its prompt [K, P]."""
    device = batch.phones_BL.device
    prompt_B = torch.tensor([prompt.shape[1] for prompt in prompts], device=device)
    lengths_B = prompt_B + torch.tensor([len(codes) for codes in first_codes], device=device)
    codes_BTK = torch.zeros(len(prompts), max(1, int(lengths_B.max())), nar.n_codebooks, dtype=torch.int64, device=device)
    for row, (prompt_KP, codes) in enumerate(zip(prompts, first_codes, strict=True)):
        P = prompt_KP.shape[1]
        codes_BTK[row, :P] = torch.from_numpy(prompt_KP.T.astype(np.int64))
        codes_BTK[row, P : P + len(codes), 0] = torch.tensor(codes, dtype=torch.int64)
    new_BT = torch.arange(codes_BTK.shape[1], device=device) >= prompt_B[:, None]
    for level in range(1, nar.n_codebooks):
        level_B = torch.full_like(prompt_B, level)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_BTV = nar.logits(batch.phones_BL, batch.phone_lengths_B, codes_BTK, lengths_B, level_B, prompt_B)
        codes_BTK[..., level] = torch.where(new_BT, logits_BTV.argmax(-1), codes_BTK[..., level])
    generated = codes_BTK.to("cpu", torch.int16).numpy()
    return [
        generated[row, prompt.shape[1] : prompt.shape[1] + len(codes)].T.copy()
        for row, (prompt, codes) in enumerate(zip(prompts, first_codes, strict=True))
    ]


def request_batch(requests: Sequence[Request], device: torch.device) -> Batch:
    """A batch of the requests' phones, with the prompts as frames."""
    rows = [
        TokenizedUtterance(key=str(number), phones_L=request.phones_L, codes_KT=request.prompt_KP)
        for number, request in enumerate(requests)
    ]
    return collate(rows).to(device)


def model_device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device
