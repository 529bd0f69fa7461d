"""VALL-E (Wang et al. 2023, arXiv 2301.02111): two language models over codec tokens.

`ARModel` generates the first codebook frame by frame (equation 1). `NARModel` generates each further codebook in one pass, given
the codebooks before it (equation 2). As in VALL-E 2 (arXiv 2406.05370, section 3.4), the NAR model has an explicit acoustic
prompt: the first frames of the utterance with all their codebooks, without loss.

Padding is never attended to and never in the loss: an utterance has the same loss alone and in any batch. Positions are
sinusoidal and restart at 0 for phones and for frames, as in the paper, so the result does not depend on where the padding is.

Shapes: B utterances, L phones, T frames, S positions, D = d_model, K = 8 codebooks, V codes per codebook, C codec dimension.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxbeam.models.batch import Batch
from voxbeam.models.transformer import (
    Transformer,
    TransformerConfig,
    length_mask,
    sinusoids,
)

TOP_K = 10
"""the top-10 accuracy counts a frame as correct if its code is among this many most likely ones"""
MAX_PROMPT_FRAMES = 225
"""longest acoustic prompt taken from the utterance itself: 3 seconds, at most half of it"""
INIT_STD = 0.02
"""standard deviation of the initial weights"""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes that the AR and the NAR model share."""

    n_phones: int
    """size of the phone set"""
    phones: tuple[str, ...] = ()
    """the phone set, in order of its ids; () where it is not known"""
    n_codebooks: int = 8
    codebook_size: int = 1024
    transformer: TransformerConfig = field(default_factory=TransformerConfig)


class LossSums(NamedTuple):
    """Sums over frames, so that batches and ranks can be added. A tuple, because DDP looks for tensors in tuples."""

    loss: Tensor
    """negative log-likelihood in nats, with gradient"""
    frames: Tensor
    top1: Tensor
    """frames whose code is the most likely one"""
    top10: Tensor
    """frames whose code is among the `TOP_K` most likely ones"""


def token_loss(logits_BTV: Tensor, target_BT: Tensor, loss_mask_BT: Tensor) -> LossSums:
    """Cross-entropy and accuracy at the positions of `loss_mask_BT`.

    Frames are masked, not selected: how many there are is nothing that the host must know. A logit that is not a number is
    never outranked by a target.
    """
    logits_NV, target_N = logits_BTV.float().flatten(0, 1), target_BT.flatten()
    with torch.no_grad():
        not_above_NV = logits_NV <= logits_NV.gather(1, target_N[:, None])
        rank_BT = (~not_above_NV).sum(1).view_as(target_BT)
    loss_BT = F.cross_entropy(logits_NV, target_N, reduction="none").view_as(target_BT)
    return LossSums(
        loss=torch.where(loss_mask_BT, loss_BT, 0.0).sum(),
        frames=loss_mask_BT.sum(),
        top1=(loss_mask_BT & (rank_BT < 1)).sum(),
        top10=(loss_mask_BT & (rank_BT < TOP_K)).sum(),
    )


def add_positions(x_BSD: Tensor, position_BS: Tensor) -> Tensor:
    """Embeddings times √D plus sinusoidal positions (Vaswani et al. 2017, section 3.4).

    The embeddings are also output weights, hence small; unscaled they would vanish beside the positions.
    """
    d_model = x_BSD.shape[-1]
    return d_model**0.5 * x_BSD + sinusoids(position_BS, d_model)


class TextEmbedding(nn.Module):
    """Embedded phones, with an end token and positions."""

    def __init__(self, n_phones: int, d_model: int) -> None:
        super().__init__()
        self.end_id = n_phones
        self.embedding = nn.Embedding(n_phones + 1, d_model)

    def forward(self, phones_BL: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [B, L + 1, D], and their padding mask [B, L + 1]."""
        ended_BL = F.pad(phones_BL, (0, 1))
        ended_BL = ended_BL.scatter(1, lengths_B[:, None], self.end_id)
        position_BL = torch.arange(ended_BL.shape[1], device=phones_BL.device).expand_as(ended_BL)
        return add_positions(self.embedding(ended_BL), position_BL), length_mask(lengths_B + 1, ended_BL.shape[1])


class ARModel(nn.Module):
    """Autoregressive model of the first codebook (equation 1).

    Input: phones, end, start, c1 … cT. Target: c1 … cT, end. Attention is causal throughout, phones included.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.end_id, self.start_id = config.codebook_size, config.codebook_size + 1
        d_model = config.transformer.d_model
        self.text_embedding = TextEmbedding(config.n_phones, d_model)
        self.code_embedding = nn.Embedding(config.codebook_size + 2, d_model)  # its first V + 1 rows are the output layer too
        self.transformer = Transformer(config.transformer)
        init_weights(self)

    def init_from_codec(self, codebooks_KVC: Tensor) -> None:
        """Sets the embeddings of the codes to the codec's vectors."""
        with torch.no_grad():
            self.code_embedding.weight[: self.end_id] = codec_embeddings(codebooks_KVC[:1], self.code_embedding.embedding_dim)[0]

    def forward(self, batch: Batch, after_prompt: bool = False) -> LossSums:
        """Loss on the first codebook; the end token counts as a frame. With `after_prompt`, none on frames of other speech."""
        frames_B, codes_BT = batch.frame_lengths_B, batch.codes_BKT[:, 0].long()
        x_BSD, _ = self.text_embedding(batch.phones_BL, batch.phone_lengths_B)
        input_BT = F.pad(codes_BT, (1, 0), value=self.start_id)
        # frames follow their own phones, so that all padding is at the end, where causal attention needs no mask
        ended_B1, L, T = batch.phone_lengths_B[:, None] + 1, x_BSD.shape[1], input_BT.shape[1]
        position_S = torch.arange(L + T, device=x_BSD.device)
        source_BS = torch.where(position_S < ended_B1, position_S, (position_S - ended_B1 + L).clamp(max=L + T - 1))
        x_BSD = torch.cat([x_BSD, self.embed_codes(input_BT, 0)], dim=1).take_along_dim(source_BS[..., None], 1)
        y_BTD = self.transformer(x_BSD, None).take_along_dim((ended_B1 + position_S[:T])[..., None], 1)
        frame_mask_BT = length_mask(frames_B + 1, T)
        target_BT = F.pad(codes_BT, (0, 1)).scatter(1, frames_B[:, None], self.end_id)
        in_prompt_BT = length_mask(batch.prompt_lengths_B * after_prompt, T)
        return token_loss(self.logits(y_BTD), target_BT, frame_mask_BT & ~in_prompt_BT)

    def embed_codes(self, codes_BT: Tensor, first: Tensor | int) -> Tensor:
        """Embedded codes [B, T, D] at positions from `first` on: one number, or one per utterance [B, 1]."""
        position_BT = (torch.arange(codes_BT.shape[1], device=codes_BT.device) + first).expand_as(codes_BT)
        return add_positions(self.code_embedding(codes_BT), position_BT)

    def logits(self, y_BSD: Tensor) -> Tensor:
        """Logits [B, S, V + 1] of all codes and the end token."""
        return F.linear(y_BSD, self.code_embedding.weight[: self.end_id + 1])


class NARModel(nn.Module):
    """Non-autoregressive model of the further codebooks (equation 2).

    Input: phones, end, acoustic prompt with all codebooks, frames with the codebooks below `level`. Target: codebook `level`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_codebooks = config.n_codebooks
        d_model = config.transformer.d_model
        self.text_embedding = TextEmbedding(config.n_phones, d_model)
        # a codebook is predicted with the weights that embed it (parameter sharing, section 4.2.2)
        self.code_embeddings_KVD = nn.Parameter(torch.empty(config.n_codebooks, config.codebook_size, d_model))
        self.transformer = Transformer(config.transformer, n_levels=config.n_codebooks)
        init_weights(self)

    def init_from_codec(self, codebooks_KVC: Tensor) -> None:
        """Sets the embeddings of the codes to the codec's vectors."""
        with torch.no_grad():
            self.code_embeddings_KVD.copy_(codec_embeddings(codebooks_KVC, self.code_embeddings_KVD.shape[2]))

    def forward(self, batch: Batch, level_B: Tensor, prompt_B: Tensor) -> LossSums:
        """Loss on codebook `level` (1 … K − 1) of each utterance, over the frames after its prompt of `prompt_B` frames."""
        codes_BTK, T = batch.codes_BTK, batch.codes_BKT.shape[2]
        logits_BTV = self.logits(batch.phones_BL, batch.phone_lengths_B, codes_BTK, batch.frame_lengths_B, level_B, prompt_B)
        loss_mask_BT = length_mask(batch.frame_lengths_B, T) & ~length_mask(prompt_B, T)
        target_BT = codes_BTK.gather(2, level_B[:, None, None].expand(-1, T, 1))[..., 0]
        return token_loss(logits_BTV, target_BT, loss_mask_BT)

    def logits(
        self, phones_BL: Tensor, phone_lengths_B: Tensor, codes_BTK: Tensor, lengths_B: Tensor, level_B: Tensor, prompt_B: Tensor
    ) -> Tensor:
        """Logits [B, T, V]. After the prompt only the codebooks below the level are read; the others may be anything."""
        x_BSD, mask_BS = self.text_embedding(phones_BL, phone_lengths_B)
        B, T, K = codes_BTK.shape
        in_prompt_BT = length_mask(prompt_B, T)
        position_T, codebook_K = (torch.arange(size, device=codes_BTK.device) for size in (T, K))
        visible_BTK = in_prompt_BT[..., None] | (codebook_K < level_B[:, None])[:, None]
        table_ND = self.code_embeddings_KVD.flatten(0, 1)
        rows_NK = (codes_BTK + codebook_K * self.code_embeddings_KVD.shape[1]).flatten(0, 1)
        weights_NK = visible_BTK.flatten(0, 1).to(table_ND.dtype)
        frames_BTD = F.embedding_bag(rows_NK, table_ND, mode="sum", per_sample_weights=weights_NK).view(B, T, -1)
        x_BSD = torch.cat([x_BSD, add_positions(frames_BTD, position_T.expand(B, T))], dim=1)
        mask_BS = torch.cat([mask_BS, length_mask(lengths_B, T)], dim=1)
        y_BSD = self.transformer(x_BSD, mask_BS[:, None, None], level_B=level_B)
        # the table of each utterance's level: as a product, whose gradient is a product too and no sum over indices
        one_hot_BK = F.one_hot(level_B, K).to(table_ND.dtype)
        table_BVD = (one_hot_BK @ self.code_embeddings_KVD.flatten(1)).view(B, *self.code_embeddings_KVD.shape[1:])
        return torch.einsum("btd,bvd->btv", y_BSD[:, -T:], table_BVD)


def draw_levels(batch: Batch, n_codebooks: int, seed: int) -> tuple[Tensor, Tensor]:
    """A training level (1 … K − 1) and the prompt length of each utterance, [B] each, on the batch's device.

    The level is a hash of the seed and the utterance's key, so it does not depend on the batch or the rank.
    """
    levels = [1 + zlib.crc32(f"{seed}/{key}".encode()) % (n_codebooks - 1) for key in batch.keys]
    return torch.tensor(levels, device=batch.frame_lengths_B.device), prompt_lengths(batch)


def prompt_lengths(batch: Batch) -> Tensor:
    """Frames of each acoustic prompt [B]: the preceding utterance if there is one, else the beginning of the utterance."""
    own_B = (batch.frame_lengths_B // 2).clamp(max=MAX_PROMPT_FRAMES)
    return torch.where(batch.prompt_lengths_B > 0, batch.prompt_lengths_B, own_B)


def codec_embeddings(codebooks_KVC: Tensor, d_model: int) -> Tensor:
    """A codec's vectors as initial embeddings [K, V, D], so that codes that sound alike start alike.

    The vectors are centered per codebook, rotated at random into the model's dimension, and scaled together to `INIT_STD`.
    Higher codebooks stay smaller than lower ones, as in the codec.
    """
    codebooks_KVC = codebooks_KVC.cpu().float() - codebooks_KVC.cpu().float().mean(1, keepdim=True)
    size = codebooks_KVC.shape[2]
    random = torch.randn(max(size, d_model), min(size, d_model), generator=torch.Generator().manual_seed(0))
    rotation, _ = torch.linalg.qr(random)
    embeddings_KVD = codebooks_KVC @ (rotation.T if size <= d_model else rotation)
    return embeddings_KVD * (INIT_STD / embeddings_KVD.std())


def init_weights(model: nn.Module) -> None:
    """Normal weights of `INIT_STD`; the two residual projections are scaled down with the number of layers (GPT-2)."""
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue  # gains and biases keep torch's ones and zeros
        if name == "transformer.level_embedding.weight":
            continue  # keeps torch's unit variance: the modulation weights that read it start small
        layers = len(model.transformer.layers)  # type: ignore[union-attr, arg-type]
        residual = name.endswith(("out_proj.weight", "down_proj.weight"))
        nn.init.normal_(parameter, std=INIT_STD / (2 * layers) ** 0.5 if residual else INIT_STD)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
