"""A pre-norm Transformer with scaled-dot-product attention, a key-value cache and, for the NAR model, adaptive LayerNorm.

Shapes: B utterances, S positions, D = d_model, H heads, C = D / H channels per head, N positions in the cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Sizes of one Transformer. The defaults are VALL-E's (arXiv 2301.02111, section 4.2.1)."""

    n_layers: int = 12
    n_heads: int = 16
    d_model: int = 1024
    d_ff: int = 4096
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.d_model % (2 * self.n_heads):
            raise ValueError(f"d_model {self.d_model} must be a multiple of twice n_heads ({self.n_heads})")


class KeyValueCache:
    """Keys and values of every layer for `size` positions; the first `length` are filled. Inference only.

    Once it is `fix`ed, all tensors keep their shapes and addresses, as a CUDA graph needs them: a layer then returns the whole
    cache, and a mask must hide what is not filled.
    """

    def __init__(self, config: TransformerConfig, batch: int, size: int, like: Tensor) -> None:
        shape = (config.n_layers, 2, batch, config.n_heads, size, config.d_model // config.n_heads)
        self.store_LKBHNC = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.length = 0
        self.end_1: Tensor | None = None
        """`length` on the device, of a fixed cache"""

    def fix(self) -> None:
        """Fixes all shapes; from now on one position at a time is appended."""
        self.end_1 = torch.full((1,), self.length, device=self.store_LKBHNC.device)

    def extend(self, layer: int, k_BHSC: Tensor, v_BHSC: Tensor) -> tuple[Tensor, Tensor]:
        """Appends new positions to a layer and returns all its keys and values.

        The length is unchanged: the caller advances it once, after the last layer.
        """
        stored = self.store_LKBHNC[layer]
        if self.end_1 is not None:
            stored[0].index_copy_(2, self.end_1, k_BHSC)
            stored[1].index_copy_(2, self.end_1, v_BHSC)
            return stored[0], stored[1]
        end = self.length + k_BHSC.shape[2]
        stored[0, :, :, self.length : end] = k_BHSC
        stored[1, :, :, self.length : end] = v_BHSC
        return stored[0, :, :, :end], stored[1, :, :, :end]

    def advance(self, count: int) -> None:
        """Counts new positions as filled."""
        self.length += count
        if self.end_1 is not None:
            self.end_1.add_(count)


class AdaptiveLayerNorm(nn.Module):
    """LayerNorm. With `n_levels`, gain and bias are projected from the level embedding (AdaLN; VALL-E, section 4.2.2)."""

    def __init__(self, d_model: int, n_levels: int | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model, elementwise_affine=n_levels is None)
        self.modulation = nn.Linear(d_model, 2 * d_model) if n_levels is not None else None

    def forward(self, x_BSD: Tensor, level_BD: Tensor | None) -> Tensor:
        y_BSD = self.norm(x_BSD)
        if self.modulation is None:
            return y_BSD
        assert level_BD is not None
        gain_B1D, bias_B1D = self.modulation(level_BD)[:, None].chunk(2, dim=-1)
        return y_BSD * (1 + gain_B1D) + bias_B1D


class TransformerBlock(nn.Module):
    """Self-attention and an MLP, each with pre-norm and a residual connection."""

    def __init__(self, config: TransformerConfig, index: int, n_levels: int | None) -> None:
        super().__init__()
        self.n_heads, self.index, self.dropout = config.n_heads, index, config.dropout
        self.attn_norm = AdaptiveLayerNorm(config.d_model, n_levels)
        self.qkv_proj = nn.Linear(config.d_model, 3 * config.d_model)
        self.out_proj = nn.Linear(config.d_model, config.d_model)
        self.mlp_norm = AdaptiveLayerNorm(config.d_model, n_levels)
        self.up_proj = nn.Linear(config.d_model, config.d_ff)
        self.down_proj = nn.Linear(config.d_ff, config.d_model)

    def forward(self, x_BSD: Tensor, mask_B1SN: Tensor | None, level_BD: Tensor | None, cache: KeyValueCache | None) -> Tensor:
        B, S, D = x_BSD.shape
        qkv = self.qkv_proj(self.attn_norm(x_BSD, level_BD)).view(B, S, 3, self.n_heads, D // self.n_heads).permute(2, 0, 3, 1, 4)
        q_BHSC, k_BHNC, v_BHNC = qkv.unbind(0)
        if cache is not None:
            k_BHNC, v_BHNC = cache.extend(self.index, k_BHNC, v_BHNC)
        y_BHSC = F.scaled_dot_product_attention(q_BHSC, k_BHNC, v_BHNC, attn_mask=mask_B1SN, is_causal=mask_B1SN is None)
        attention_BSD = self.out_proj(y_BHSC.transpose(1, 2).reshape(B, S, D))
        x_BSD = x_BSD + F.dropout(attention_BSD, self.dropout, self.training)
        mlp_BSD = self.down_proj(F.gelu(self.up_proj(self.mlp_norm(x_BSD, level_BD))))
        return x_BSD + F.dropout(mlp_BSD, self.dropout, self.training)


class Transformer(nn.Module):
    """Transformer blocks and a final norm. With `n_levels`, every norm is modulated by the level of the utterance."""

    def __init__(self, config: TransformerConfig, n_levels: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.level_embedding = nn.Embedding(n_levels, config.d_model) if n_levels is not None else None
        self.layers = nn.ModuleList(TransformerBlock(config, index, n_levels) for index in range(config.n_layers))
        self.norm = AdaptiveLayerNorm(config.d_model, n_levels)

    def forward(
        self, x_BSD: Tensor, mask_B1SN: Tensor | None, *, level_B: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Hidden states [B, S, D] of inputs [B, S, D].

        `mask_B1SN` marks the positions, cached ones first, that each query may attend to, or is what is added to their scores.
        Without it, each attends to itself and to those before it, which is half the work.
        """
        level_BD = self.level_embedding(level_B) if self.level_embedding is not None else None
        for layer in self.layers:
            x_BSD = layer(x_BSD, mask_B1SN, level_BD, cache)
        if cache is not None:
            cache.advance(x_BSD.shape[1])
        return self.norm(x_BSD, level_BD)


def sinusoids(position_BS: Tensor, d_model: int) -> Tensor:
    """Sinusoidal position embeddings [B, S, D] (Vaswani et al. 2017, section 3.5); positions may differ between utterances."""
    rate = torch.exp(torch.arange(0, d_model, 2, device=position_BS.device) * (-math.log(10_000.0) / d_model))
    angle = position_BS[..., None].float() * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)


def length_mask(lengths_B: Tensor, size: int) -> Tensor:
    """Mask [B, size] of the positions below each length."""
    return torch.arange(size, device=lengths_B.device) < lengths_B[:, None]


def causal_mask(mask_BN: Tensor) -> Tensor:
    """Attention mask [B, 1, N, N] of causal attention among positions with padding in between; `mask_BN` is False for padding.

    Every position attends to itself. Otherwise a padded query would attend to nothing, and its softmax would be NaN.
    """
    position_N = torch.arange(mask_BN.shape[1], device=mask_BN.device)
    row, column = position_N[:, None], position_N
    return (mask_BN[:, None] & (column <= row) | (column == row))[:, None]
