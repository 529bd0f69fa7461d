"""Attention within the documents of one long sequence: flex-attention, varlen (flash), and a masked form for the CPU.

Shapes: N positions, D documents, H heads, C channels per head, Q blocks of positions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128
"""positions of a block of the mask"""


@dataclass(frozen=True)
class Documents:
    """Documents concatenated to one sequence."""

    document_N: Tensor
    """document of each position, ascending"""
    offsets_D: Tensor
    """first position of each document, and the end of the last; int32 [D + 1]"""
    max_length: int

    @classmethod
    def from_lengths(cls, lengths: list[int], device: torch.device) -> Documents:
        lengths_D = torch.tensor(lengths, device=device)
        document_N = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths_D, output_size=sum(lengths))
        return cls(document_N, F.pad(lengths_D.cumsum(0), (1, 0)).int(), max(lengths))


def masked(documents: Documents, causal: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Attention with a mask of all pairs [N, N], for short sequences."""
    mask_NN = documents.document_N[:, None] == documents.document_N
    if causal:
        mask_NN = mask_NN.tril()
    return partial(F.scaled_dot_product_attention, attn_mask=mask_NN)


def flex(documents: Documents, causal: bool) -> Callable[[Tensor, Tensor, Tensor], Any]:
    """Flex-attention over the blocks that a document touches; compiled on a GPU, where it is a kernel."""
    function = _compiled_flex() if documents.document_N.is_cuda else flex_attention
    return partial(function, block_mask=block_mask(documents, causal))


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention, dynamic=False)


def block_mask(documents: Documents, causal: bool) -> BlockMask:
    """The blocks of keys that each block of queries attends to, computed per block: the mask [N, N] is never built.

    Raises ValueError unless N is a multiple of `BLOCK`.
    """
    document_N = documents.document_N
    if len(document_N) % BLOCK:
        raise ValueError(f"{len(document_N)} positions are not a multiple of {BLOCK}: pad the sequence")
    first_Q, last_Q = document_N[::BLOCK], document_N[BLOCK - 1 :: BLOCK]
    overlaps_QQ = (first_Q <= last_Q[:, None]) & (last_Q >= first_Q[:, None])
    # if the queries and the keys are of one document and no other, every pair counts and the block needs no mask
    single_Q = first_Q == last_Q
    full_QQ = single_Q[:, None] & single_Q & (first_Q[:, None] == first_Q)
    if causal:
        overlaps_QQ, full_QQ = overlaps_QQ.tril(), full_QQ.tril(-1)

    def same_document(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = document_N[query] == document_N[key]
        return same & (key <= query) if causal else same

    partial_blocks, full_blocks = _block_lists(overlaps_QQ & ~full_QQ), _block_lists(full_QQ)
    size = (len(document_N), len(document_N))
    return BlockMask.from_kv_blocks(*partial_blocks, *full_blocks, BLOCK_SIZE=BLOCK, mask_mod=same_document, seq_lengths=size)


def _block_lists(chosen_QQ: Tensor) -> tuple[Tensor, Tensor]:
    """Number of chosen blocks of keys for each block of queries, and all blocks, the chosen ones first; int32."""
    order_QQ = chosen_QQ.int().argsort(dim=1, descending=True, stable=True)
    return chosen_QQ.sum(1).int()[None, None], order_QQ.int()[None, None]


def varlen(documents: Documents, causal: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Flash attention over documents of various lengths, on a GPU in half precision. Raises ImportError where torch lacks it."""
    from torch.nn.attention.varlen import varlen_attn

    known = inspect.signature(varlen_attn).parameters  # `is_causal` in torch 2.10, `window_size` in later versions
    options: dict[str, Any] = {"is_causal": causal} if "is_causal" in known else {"window_size": (-1, 0) if causal else (-1, -1)}
    offsets, max_length = documents.offsets_D, documents.max_length

    def attention(q_1HNC: Tensor, k_1HNC: Tensor, v_1HNC: Tensor) -> Tensor:
        q, k, v = (part[0].transpose(0, 1).contiguous() for part in (q_1HNC, k_1HNC, v_1HNC))
        y_NHC: Any = varlen_attn(q, k, v, offsets, offsets, max_length, max_length, **options)
        return y_NHC.transpose(0, 1)[None]

    return attention
