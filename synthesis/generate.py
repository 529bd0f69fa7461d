"""Generate: codes of a text in the voice of a prompt, for several texts at once, whole or in chunks as they are made.

AR writes the first book frame by frame, with a key-value cache; NAR fills in the other seven, one pass each, greedily (VALL-E,
section 4.3). What is made in chunks takes the chunks before it as NAR's prompt, so a frame that has been heard never changes.

Shapes: B utterances, L phones, P prompt frames, T frames in all, K codebooks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.models.valle import ARDecoder, ARModel, NARModel
from voxbeam.synthesis.sampling import SamplingConfig, draw


@dataclass(frozen=True, kw_only=True)
class Request:
    """One thing to say."""

    phones_L: NDArray[np.integer[Any]]
    """of the prompt's words and of the words to say, in this order"""
    prompt_KP: NDArray[np.int16]
    most_frames: int
    """the end, if the model does not end it before"""


@dataclass(frozen=True)
class Generated:
    """The codes of one request, without its prompt."""

    codes_KT: NDArray[np.int16]
    ended: bool
    """the model ended it by itself"""


@torch.inference_mode()
def generate(
    ar: ARModel, nar: NARModel, requests: Sequence[Request], sampling: SamplingConfig, *, seed: int = 0
) -> list[Generated]:
    """Codes of every request, all decoded in one batch. Raises ValueError for none at all."""
    batch = request_batch(requests, device_of(ar))
    firsts: list[list[int]] = [[] for _ in requests]
    ended = [False] * len(requests)
    for code_B in first_book(ar, batch, [r.most_frames for r in requests], sampling, seed):
        for row, code in enumerate(code_B):
            if code == ar.end_id:
                ended[row] = True
            elif code is not None:
                firsts[row].append(code)
    prompts = [request.prompt_KP for request in requests]
    codes = other_books(nar, batch, prompts, firsts)
    return [Generated(codes_KT, end) for codes_KT, end in zip(codes, ended, strict=True)]


@torch.inference_mode()
def stream(
    ar: ARModel, nar: NARModel, request: Request, sampling: SamplingConfig, *, chunk: int = 38, seed: int = 0
) -> Iterator[NDArray[np.int16]]:
    """Codes [K, ≤ chunk] of one request, as soon as each chunk of frames is there. Together they are the whole."""
    batch = request_batch([request], device_of(ar))
    heard_KP, fresh = request.prompt_KP, list[int]()
    for (code,) in first_book(ar, batch, [request.most_frames], sampling, seed):
        if code is not None and code != ar.end_id:
            fresh.append(code)
        if len(fresh) == chunk:
            (codes_KT,) = other_books(nar, batch, [heard_KP], [fresh])
            heard_KP, fresh = np.concatenate([heard_KP, codes_KT], axis=1), []
            yield codes_KT
    if fresh:
        yield other_books(nar, batch, [heard_KP], [fresh])[0]


def first_book(ar: ARModel, batch: Batch, most: Sequence[int], sampling: SamplingConfig, seed: int) -> Iterator[list[int | None]]:
    """For every frame, each utterance's code of the first book; the end mark once, and None after it or after `most` frames."""
    device = batch.phones_BL.device
    generator = torch.Generator(device).manual_seed(seed)
    prompt_BP, lengths_B = batch.codes_BKT[:, 0].long(), batch.frame_lengths_B
    decoder = ARDecoder(ar, batch.phones_BL, batch.phone_lengths_B, prompt_BP, lengths_B, max_frames=max(most))
    recent_BH = torch.full((len(most), sampling.window), -1, device=device)
    most_B, done_B = torch.tensor(most, device=device), torch.zeros(len(most), dtype=torch.bool, device=device)
    for frame in range(max(most)):
        code_B = draw(decoder.logits_BV, recent_BH, sampling, generator)
        said_B = torch.where(done_B | (frame >= most_B), -1, code_B)
        done_B = done_B | (code_B == ar.end_id)
        yield [None if code < 0 else code for code in said_B.tolist()]
        if bool((done_B | (frame + 1 >= most_B)).all()):
            return
        recent_BH = torch.cat([recent_BH[:, 1:], code_B[:, None]], dim=1)
        decoder.step(code_B.clamp(max=ar.end_id - 1))  # what has ended goes on with anything: nobody reads it


def other_books(
    nar: NARModel, batch: Batch, prompts: Sequence[NDArray[np.int16]], firsts: Sequence[Sequence[int]]
) -> list[NDArray[np.int16]]:
    """All books [K, T] of the frames whose first book is given, each behind its prompt [K, P]."""
    device = batch.phones_BL.device
    prompt_B = torch.tensor([prompt.shape[1] for prompt in prompts], device=device)
    lengths_B = prompt_B + torch.tensor([len(first) for first in firsts], device=device)
    codes_BTK = torch.zeros(len(prompts), max(1, int(lengths_B.max())), nar.n_codebooks, dtype=torch.int64, device=device)
    for row, (prompt_KP, first) in enumerate(zip(prompts, firsts, strict=True)):
        P = prompt_KP.shape[1]
        codes_BTK[row, :P] = torch.from_numpy(prompt_KP.T.astype(np.int64))
        codes_BTK[row, P : P + len(first), 0] = torch.tensor(first, dtype=torch.int64)
    behind_BT = torch.arange(codes_BTK.shape[1], device=device) >= prompt_B[:, None]
    for book in range(1, nar.n_codebooks):
        level_B = torch.full_like(prompt_B, book)
        logits_BTV = nar.logits(batch.phones_BL, batch.phone_lengths_B, codes_BTK, lengths_B, level_B, prompt_B)
        codes_BTK[..., book] = torch.where(behind_BT, logits_BTV.argmax(-1), codes_BTK[..., book])
    made = codes_BTK.to("cpu", torch.int16).numpy()
    return [
        made[row, prompt.shape[1] : prompt.shape[1] + len(first)].T.copy()
        for row, (prompt, first) in enumerate(zip(prompts, firsts, strict=True))
    ]


def request_batch(requests: Sequence[Request], device: torch.device) -> Batch:
    """The phones of requests and, as frames, their prompts."""
    rows = [
        TokenizedUtterance(key=str(number), phones_L=request.phones_L, codes_KT=request.prompt_KP)
        for number, request in enumerate(requests)
    ]
    return collate(rows).to(device)


def device_of(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device
