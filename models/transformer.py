"""Transformer: pre-norm layers with scaled-dot-product attention, a key-value cache, and AdaLN where a stage is given.

Shapes: B utterances, S positions, D width, H heads, C = D / H channels per head, N positions in the cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Sizes of one transformer. The defaults are VALL-E's (arXiv 2301.02111, section 4.2.1)."""

    n_layers: int = 12
    n_heads: int = 16
    d_model: int = 1024
    d_ff: int = 4096
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.d_model % (2 * self.n_heads):
            raise ValueError(f"d_model {self.d_model} must be a multiple of twice n_heads ({self.n_heads})")


class Cache:
    """Keys and values of every layer for `size` positions, of which the first `length` are filled. For inference only."""

    def __init__(self, config: TransformerConfig, batch: int, size: int, like: Tensor) -> None:
        shape = (config.n_layers, 2, batch, config.n_heads, size, config.d_model // config.n_heads)
        self.store_LKBHNC = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.length = 0

    def extend(self, layer: int, k_BHSC: Tensor, v_BHSC: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the new positions of a layer; gives back all. The caller counts `length` on after the last layer."""
        end = self.length + k_BHSC.shape[2]
        kept = self.store_LKBHNC[layer]
        kept[0, :, :, self.length : end] = k_BHSC
        kept[1, :, :, self.length : end] = v_BHSC
        return kept[0, :, :, :end], kept[1, :, :, :end]


class Norm(nn.Module):
    """LayerNorm; with stages, its gain and bias come from an embedding of the stage (AdaLN; VALL-E, section 4.2.2)."""

    def __init__(self, width: int, stages: int | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=stages is None)
        self.modulation = nn.Linear(width, 2 * width) if stages is not None else None

    def forward(self, x_BSD: Tensor, stage_BD: Tensor | None) -> Tensor:
        y_BSD = self.norm(x_BSD)
        if self.modulation is None:
            return y_BSD
        assert stage_BD is not None
        gain_B1D, bias_B1D = self.modulation(stage_BD)[:, None].chunk(2, dim=-1)
        return y_BSD * (1 + gain_B1D) + bias_B1D


class Layer(nn.Module):
    """Attention, then a feed-forward net, each on a normalised copy that is added back."""

    def __init__(self, config: TransformerConfig, index: int, stages: int | None) -> None:
        super().__init__()
        self.heads, self.index, self.dropout = config.n_heads, index, config.dropout
        self.norm_attention = Norm(config.d_model, stages)
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)
        self.norm_feed = Norm(config.d_model, stages)
        self.up = nn.Linear(config.d_model, config.d_ff)
        self.down = nn.Linear(config.d_ff, config.d_model)

    def forward(self, x_BSD: Tensor, mask_B1SN: Tensor, stage_BD: Tensor | None, cache: Cache | None) -> Tensor:
        B, S, D = x_BSD.shape
        parts = self.qkv(self.norm_attention(x_BSD, stage_BD)).view(B, S, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        q_BHSC, k_BHNC, v_BHNC = parts.unbind(0)
        if cache is not None:
            k_BHNC, v_BHNC = cache.extend(self.index, k_BHNC, v_BHNC)
        y_BHSC = F.scaled_dot_product_attention(q_BHSC, k_BHNC, v_BHNC, attn_mask=mask_B1SN)
        attended_BSD = self.out(y_BHSC.transpose(1, 2).reshape(B, S, D))
        x_BSD = x_BSD + F.dropout(attended_BSD, self.dropout, self.training)
        fed_BSD = self.down(F.gelu(self.up(self.norm_feed(x_BSD, stage_BD))))
        return x_BSD + F.dropout(fed_BSD, self.dropout, self.training)


class Transformer(nn.Module):
    """Layers and a last norm. With `stages`, every norm is modulated by the stage of its utterance."""

    def __init__(self, config: TransformerConfig, stages: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.stage_embedding = nn.Embedding(stages, config.d_model) if stages is not None else None
        self.layers = nn.ModuleList(Layer(config, index, stages) for index in range(config.n_layers))
        self.norm = Norm(config.d_model, stages)

    def forward(self, x_BSD: Tensor, mask_B1SN: Tensor, *, stage_B: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """States [B, S, D] of inputs [B, S, D]. `mask` says which of N positions (the cache's first) each of S may attend to."""
        stage_BD = self.stage_embedding(stage_B) if self.stage_embedding is not None else None
        for layer in self.layers:
            x_BSD = layer(x_BSD, mask_B1SN, stage_BD, cache)
        if cache is not None:
            cache.length += x_BSD.shape[1]
        return self.norm(x_BSD, stage_BD)


def sinusoids(position_BS: Tensor, width: int) -> Tensor:
    """Sinusoidal positions [B, S, D] (Vaswani et al. 2017, section 3.5), for positions that differ between utterances."""
    rate = torch.exp(torch.arange(0, width, 2, device=position_BS.device) * (-math.log(10_000.0) / width))
    angle = position_BS[..., None].float() * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)


def valid(lengths_B: Tensor, size: int) -> Tensor:
    """Which of `size` positions hold something, [B, size]."""
    return torch.arange(size, device=lengths_B.device) < lengths_B[:, None]


def attend(keys_BN: Tensor, queries: int, *, causal: bool) -> Tensor:
    """Attention mask [B, 1, queries, N]: keys that hold something and, if causal, do not lie ahead.

    The queries are the last of the N positions. A position always sees itself, so that padding, which sees nothing
    else, does not turn into not-a-number.
    """
    N = keys_BN.shape[1]
    row, column = torch.arange(N - queries, N, device=keys_BN.device)[:, None], torch.arange(N, device=keys_BN.device)
    mask_BSN = keys_BN[:, None].expand(-1, queries, -1)
    if causal:
        mask_BSN = mask_BSN & (column <= row)
    return (mask_BSN | (column == row))[:, None]
