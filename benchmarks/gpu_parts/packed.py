"""Packed utterances: a batch as one long sequence without padding, through the weights of the product's models.

A prototype for the trainer: the loss sums of the AR and the NAR model, equal to `model(batch)` up to rounding, with attention
within each utterance. The sequence has a fixed length, so a compiled model is compiled once.

Shapes: N positions in all, B utterances, L phones, T frames, M frames with a loss, D = d_model, H heads, C channels per head,
K levels, V codes per codebook.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxbeam.models.batch import Batch
from voxbeam.models.transformer import AdaptiveLayerNorm, Transformer, TransformerBlock, length_mask
from voxbeam.models.valle import ARModel, LossSums, NARModel, add_positions, token_loss

from benchmarks.gpu_parts.attention import Documents

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""queries, keys and values [1, H, N, C] to the attention output [1, H, N, C]"""


@dataclass(frozen=True)
class Packing:
    """Where each position of the long sequence comes from."""

    source_N: Tensor
    """index into all utterances' phones [B (L + 1)], then all their frames [B T], then one row of zeros for the padding"""
    documents: Documents
    utterance_N: Tensor
    """utterance of each position; the padding counts as the last one"""
    frame_N: Tensor
    """index into B T of positions that are frames, −1 for all others"""


def pack(batch: Batch, frame_lengths_B: Tensor, max_frames: int, size: int) -> Packing:
    """The layout of a batch in `size` positions: phones, end token and frames of each utterance in turn, then padding.

    Raises ValueError if it does not fit.
    """
    B, L = batch.phones_BL.shape
    phone_mask_BL = length_mask(batch.phone_lengths_B + 1, L + 1)
    frame_mask_BT = length_mask(frame_lengths_B, max_frames)
    index_BS = torch.cat(
        [
            torch.arange(B * (L + 1), device=phone_mask_BL.device).view(B, L + 1),
            B * (L + 1) + torch.arange(B * max_frames, device=phone_mask_BL.device).view(B, max_frames),
        ],
        dim=1,
    )
    source = index_BS[torch.cat([phone_mask_BL, frame_mask_BT], dim=1)]
    padding = size - len(source)
    if padding < 0:
        raise ValueError(f"the batch has {len(source)} positions, {-padding} more than {size}: give a larger size")
    zeros_row = B * (L + 1) + B * max_frames
    source_N = F.pad(source, (0, padding), value=zeros_row)
    lengths = [*(batch.phone_lengths_B + 1 + frame_lengths_B).tolist(), *([padding] if padding else [])]
    documents = Documents.from_lengths(lengths, batch.phones_BL.device)
    frame_N = torch.where((source_N >= B * (L + 1)) & (source_N < zeros_row), source_N - B * (L + 1), -1)
    return Packing(source_N, documents, documents.document_N.clamp(max=B - 1), frame_N)


def gather(packing: Packing, phones_BLD: Tensor, frames_BTD: Tensor) -> Tensor:
    """The packed sequence [1, N, D] of padded embeddings; the padding is zeros."""
    D = phones_BLD.shape[-1]
    rows = torch.cat([phones_BLD.reshape(-1, D), frames_BTD.reshape(-1, D), phones_BLD.new_zeros(1, D)])
    return rows[packing.source_N][None]


def modulate(norm: AdaptiveLayerNorm, x_1ND: Tensor, level_KD: Tensor | None, one_hot_NK: Tensor | None) -> Tensor:
    """`AdaptiveLayerNorm.forward`, with the gain and bias of each position's level.

    They are selected by a product with a one-hot matrix: its gradient is a product too, not a scattered sum over positions.
    """
    y_1ND = norm.norm(x_1ND)
    if norm.modulation is None:
        return y_1ND
    assert level_KD is not None and one_hot_NK is not None
    gain_ND, bias_ND = (one_hot_NK @ norm.modulation(level_KD)).chunk(2, dim=-1)
    return y_1ND * (1 + gain_ND) + bias_ND


def before_attention(
    layer: TransformerBlock, x_1ND: Tensor, level_KD: Tensor | None, one_hot_NK: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The first half of `TransformerBlock.forward`: queries, keys and values [1, H, N, C]."""
    _, N, D = x_1ND.shape
    qkv_1ND = layer.qkv_proj(modulate(layer.attn_norm, x_1ND, level_KD, one_hot_NK))
    q_1HNC, k_1HNC, v_1HNC = qkv_1ND.view(1, N, 3, layer.n_heads, D // layer.n_heads).permute(2, 0, 3, 1, 4).unbind(0)
    return q_1HNC, k_1HNC, v_1HNC


def after_attention(
    layer: TransformerBlock, x_1ND: Tensor, y_1HNC: Tensor, level_KD: Tensor | None, one_hot_NK: Tensor | None
) -> Tensor:
    """The second half: adds the attention output `y_1HNC`, then the MLP's."""
    attention_1ND = layer.out_proj(y_1HNC.transpose(1, 2).reshape(x_1ND.shape))
    x_1ND = x_1ND + F.dropout(attention_1ND, layer.dropout, layer.training)
    mlp_1ND = layer.down_proj(F.gelu(layer.up_proj(modulate(layer.mlp_norm, x_1ND, level_KD, one_hot_NK))))
    return x_1ND + F.dropout(mlp_1ND, layer.dropout, layer.training)


@dataclass(frozen=True)
class BlockHalves:
    """The halves of a Transformer block, compiled separately: the attention between them is a new function for every batch."""

    before: Callable[..., tuple[Tensor, Tensor, Tensor]] = before_attention
    after: Callable[..., Tensor] = after_attention

    @classmethod
    def compiled(cls) -> BlockHalves:
        return cls(torch.compile(before_attention, dynamic=False), torch.compile(after_attention, dynamic=False))


def run_transformer(
    transformer: Transformer, x_1ND: Tensor, level_B: Tensor | None, packing: Packing, attention: Attention, halves: BlockHalves
) -> Tensor:
    """Hidden states [N, D]."""
    level_KD = one_hot_NK = None
    if transformer.level_embedding is not None:
        assert level_B is not None
        level_KD = transformer.level_embedding.weight
        one_hot_NK = F.one_hot(level_B[packing.utterance_N], len(level_KD)).to(level_KD.dtype)
    for layer in transformer.layers:
        y_1HNC = attention(*halves.before(layer, x_1ND, level_KD, one_hot_NK))
        x_1ND = halves.after(layer, x_1ND, y_1HNC, level_KD, one_hot_NK)
    return modulate(transformer.norm, x_1ND, level_KD, one_hot_NK)[0]


class PackedModel(nn.Module):
    """The AR or the NAR model over packed batches, in place of `TrainState.wrapped`.

    `make_attention` returns the attention of a layout; its second argument is whether it is causal.
    """

    def __init__(
        self,
        model: ARModel | NARModel,
        size: int,
        make_attention: Callable[[Documents, bool], Attention],
        halves: BlockHalves | None = None,
    ) -> None:
        super().__init__()
        self.model, self.size, self.make_attention, self.halves = model, size, make_attention, halves or BlockHalves()

    def forward(self, batch: Batch, *levels: Tensor) -> LossSums:
        """The loss sums of `ARModel(batch)` or `NARModel(batch, level_B, prompt_B)`."""
        if isinstance(self.model, ARModel):
            return self._ar(self.model, batch)
        return self._nar(self.model, batch, *levels)

    def _ar(self, model: ARModel, batch: Batch) -> LossSums:
        frames_B, codes_BT = batch.frame_lengths_B, batch.codes_BKT[:, 0].long()
        input_BT = F.pad(codes_BT, (1, 0), value=model.start_id)
        packing = pack(batch, frames_B + 1, input_BT.shape[1], self.size)
        phones_BLD, _ = model.text_embedding(batch.phones_BL, batch.phone_lengths_B)
        x_1ND = gather(packing, phones_BLD, model.embed_codes(input_BT, 0))
        attention = self.make_attention(packing.documents, True)
        y_ND = run_transformer(model.transformer, x_1ND, None, packing, attention, self.halves)
        target_BT = F.pad(codes_BT, (0, 1)).scatter(1, frames_B[:, None], model.end_id)
        positions_M = (packing.frame_N >= 0).nonzero()[:, 0]
        return loss_at(model.logits(y_ND[positions_M]), target_BT.flatten()[packing.frame_N[positions_M]])

    def _nar(self, model: NARModel, batch: Batch, level_B: Tensor, prompt_B: Tensor) -> LossSums:
        """Computes logits only where there is a loss, with the embedding table of each utterance's level."""
        codes_BTK, T = batch.codes_BTK, batch.codes_BKT.shape[2]
        packing = pack(batch, batch.frame_lengths_B, T, self.size)
        phones_BLD, _ = model.text_embedding(batch.phones_BL, batch.phone_lengths_B)
        in_prompt_BT = length_mask(prompt_B, T)
        frames_BTD = torch.zeros(*codes_BTK.shape[:2], phones_BLD.shape[2], device=phones_BLD.device)
        for codebook in range(model.n_codebooks):
            visible_BT1 = (in_prompt_BT | (codebook < level_B)[:, None])[..., None]
            frames_BTD = frames_BTD + F.embedding(codes_BTK[..., codebook], model.code_embeddings_KVD[codebook]) * visible_BT1
        position_BT = torch.arange(T, device=codes_BTK.device).expand(codes_BTK.shape[:2])
        x_1ND = gather(packing, phones_BLD, add_positions(frames_BTD, position_BT))
        attention = self.make_attention(packing.documents, False)
        y_ND = run_transformer(model.transformer, x_1ND, level_B, packing, attention, self.halves)
        target_BT = codes_BTK.gather(2, level_B[:, None, None].expand(-1, T, 1))[..., 0]
        loss_mask_N = (packing.frame_N >= 0) & ~in_prompt_BT.flatten()[packing.frame_N.clamp(min=0)]
        parts = []
        for level in range(1, model.n_codebooks):
            positions_M = (loss_mask_N & (level_B[packing.utterance_N] == level)).nonzero()[:, 0]
            logits_MV = F.linear(y_ND[positions_M], model.code_embeddings_KVD[level])
            parts.append(loss_at(logits_MV, target_BT.flatten()[packing.frame_N[positions_M]]))
        return LossSums(*(torch.stack(column).sum(0) for column in zip(*parts, strict=True)))


def loss_at(logits_MV: Tensor, target_M: Tensor) -> LossSums:
    """The loss sums of frames that all have a loss."""
    return token_loss(logits_MV[None], target_M[None], torch.ones_like(target_M[None], dtype=torch.bool))
