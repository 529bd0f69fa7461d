"""VALL-E (Wang et al. 2023, arXiv 2301.02111): two language models over codec tokens.

`AR` writes the first codebook, one frame after the other (equation 1); `NAR` writes each of the others in one go, given the
books before it (equation 2). As in VALL-E 2 (arXiv 2406.05370, section 3.4) the NAR model hears an explicit prompt: the
beginning of the utterance with all its books, on which it has no loss.

Padding is never attended to and never in a loss: an utterance means the same alone and in any batch. Positions are sinusoids that
start anew for phones and for frames, as in the paper; so where padding stands in a sequence does not matter either.

Shapes: B utterances, L phones, T frames, S positions, D width, K = 8 codebooks, V codes per book.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxbeam.models.batch import Batch
from voxbeam.models.transformer import Cache, Transformer, TransformerConfig, attend, sinusoids, valid

TOP = 10
"""accuracy counts a frame as right when its code is among this many likeliest"""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What both models share."""

    n_phones: int
    """size of the phone set"""
    n_codebooks: int = 8
    codebook_size: int = 1024
    transformer: TransformerConfig = field(default_factory=TransformerConfig)


class Score(NamedTuple):
    """Sums over frames, so that scores of batches and of ranks add up. A tuple: DDP and FSDP look for tensors in it."""

    loss: Tensor
    """negative log-likelihood in nats, summed; carries the gradient"""
    frames: Tensor
    top1: Tensor
    top10: Tensor


def score(logits_BTV: Tensor, target_BT: Tensor, counted_BT: Tensor) -> Score:
    """Loss and accuracy over the positions that are counted."""
    logits_NV, target_N = logits_BTV[counted_BT].float(), target_BT[counted_BT]
    own_N1 = logits_NV.detach().gather(1, target_N[:, None])
    rank_N = (logits_NV.detach() > own_N1).sum(1)
    return Score(
        loss=F.cross_entropy(logits_NV, target_N, reduction="sum"),
        frames=counted_BT.sum(),
        top1=(rank_N < 1).sum(),
        top10=(rank_N < TOP).sum(),
    )


def placed(x_BSD: Tensor, position_BS: Tensor) -> Tensor:
    """Embeddings with their positions, as large as these (Vaswani et al. 2017, section 3.4): small ones suit an output layer."""
    width = x_BSD.shape[-1]
    return width**0.5 * x_BSD + sinusoids(position_BS, width)


class PhoneEmbedding(nn.Module):
    """Phones, closed by an end mark, with their positions."""

    def __init__(self, phones: int, width: int) -> None:
        super().__init__()
        self.end = phones
        self.table = nn.Embedding(phones + 1, width)

    def forward(self, phones_BL: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [B, L + 1, D], and which of them hold something."""
        closed_BL = F.pad(phones_BL, (0, 1))
        closed_BL = closed_BL.scatter(1, lengths_B[:, None], self.end)
        position_BL = torch.arange(closed_BL.shape[1], device=phones_BL.device).expand_as(closed_BL)
        return placed(self.table(closed_BL), position_BL), valid(lengths_B + 1, closed_BL.shape[1])


class AR(nn.Module):
    """phones, end, start, c1 … cT → c1 … cT, end. Causal throughout; the loss is on the codes alone (equation 1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.end, self.start = config.codebook_size, config.codebook_size + 1
        width = config.transformer.d_model
        self.phones = PhoneEmbedding(config.n_phones, width)
        self.codes = nn.Embedding(config.codebook_size + 2, width)  # its first V + 1 rows are the output layer too
        self.transformer = Transformer(config.transformer)
        initialise(self)

    def begin_with(self, books_KVC: Tensor) -> None:
        """Begins with the codec's vectors for embeddings of the codes."""
        with torch.no_grad():
            self.codes.weight[: self.end] = as_tables(books_KVC[:1], self.codes.embedding_dim)[0]

    def forward(self, batch: Batch) -> Score:
        """Score of the first book; the end mark counts as a frame."""
        frames_B, codes_BT = batch.frame_lengths_B, batch.codes_BKT[:, 0].long()
        x_BSD, holds_BS = self.phones(batch.phones_BL, batch.phone_lengths_B)
        heard_BT = F.pad(codes_BT, (1, 0), value=self.start)
        x_BSD = torch.cat([x_BSD, self.embed_codes(heard_BT, 0)], dim=1)
        holds_BS = torch.cat([holds_BS, valid(frames_B + 1, heard_BT.shape[1])], dim=1)
        y_BSD = self.transformer(x_BSD, attend(holds_BS, x_BSD.shape[1], causal=True))
        target_BT = F.pad(codes_BT, (0, 1)).scatter(1, frames_B[:, None], self.end)
        return score(self.logits(y_BSD[:, -heard_BT.shape[1] :]), target_BT, valid(frames_B + 1, heard_BT.shape[1]))

    def embed_codes(self, codes_BT: Tensor, first: Tensor | int) -> Tensor:
        """Embeddings of codes whose positions begin at `first`, a number or one per utterance [B, 1]."""
        position_BT = (torch.arange(codes_BT.shape[1], device=codes_BT.device) + first).expand_as(codes_BT)
        return placed(self.codes(codes_BT), position_BT)

    def logits(self, y_BSD: Tensor) -> Tensor:
        """[B, S, V + 1]: every code, and the end."""
        return F.linear(y_BSD, self.codes.weight[: self.end + 1])


class Decoder:
    """AR decoding with a cache: `logits` [B, V + 1] for the next frame, and `step` to say which code it is.

    Utterances of different lengths share a batch: new frames stand behind the longest prompt, and the gaps are masked.
    Equal to the full forward up to rounding. Inference only.
    """

    def __init__(
        self, model: AR, phones_BL: Tensor, phone_lengths_B: Tensor, prompt_BP: Tensor, prompt_lengths_B: Tensor, most: int
    ) -> None:
        self.model = model
        x_BSD, holds_BS = model.phones(phones_BL, phone_lengths_B)
        heard_BP = F.pad(prompt_BP, (1, 0), value=model.start)
        x_BSD = torch.cat([x_BSD, model.embed_codes(heard_BP, 0)], dim=1)
        self.holds_BS = torch.cat([holds_BS, valid(prompt_lengths_B + 1, heard_BP.shape[1])], dim=1)
        self.cache = Cache(model.transformer.config, len(x_BSD), x_BSD.shape[1] + most, like=x_BSD)
        y_BSD = model.transformer(x_BSD, attend(self.holds_BS, x_BSD.shape[1], causal=True), cache=self.cache)
        last_B = y_BSD.shape[1] - heard_BP.shape[1] + prompt_lengths_B
        y_B1D = y_BSD[torch.arange(len(y_BSD), device=y_BSD.device), last_B][:, None]
        self.logits_BV = model.logits(y_B1D)[:, 0]
        self.position_B = prompt_lengths_B + 1

    def step(self, code_B: Tensor) -> Tensor:
        """Logits [B, V + 1] of the frame after one that has these codes."""
        x_B1D = self.model.embed_codes(code_B[:, None], self.position_B[:, None])
        self.holds_BS = F.pad(self.holds_BS, (0, 1), value=True)
        y_B1D = self.model.transformer(x_B1D, attend(self.holds_BS, 1, causal=True), cache=self.cache)
        self.position_B = self.position_B + 1
        self.logits_BV = self.model.logits(y_B1D)[:, 0]
        return self.logits_BV


class NAR(nn.Module):
    """phones, end, prompt of all books, frames of the books before j → book j of the frames (equation 2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_books = config.n_codebooks
        width = config.transformer.d_model
        self.phones = PhoneEmbedding(config.n_phones, width)
        # book j is predicted with the table that embeds it (the paper's sharing of parameters, section 4.2.2)
        self.tables_KVD = nn.Parameter(torch.empty(config.n_codebooks, config.codebook_size, width))
        self.transformer = Transformer(config.transformer, stages=config.n_codebooks)
        initialise(self)

    def begin_with(self, books_KVC: Tensor) -> None:
        """Begins with the codec's vectors for tables."""
        with torch.no_grad():
            self.tables_KVD.copy_(as_tables(books_KVC, self.tables_KVD.shape[2]))

    def forward(self, batch: Batch, stage_B: Tensor, prompt_B: Tensor) -> Score:
        """Score of book `stage` (1 … K − 1, counted from 0) of every utterance, over the frames behind its prompt."""
        codes_BTK, T = batch.codes_BTK, batch.codes_BKT.shape[2]
        logits_BTV = self.logits(batch.phones_BL, batch.phone_lengths_B, codes_BTK, batch.frame_lengths_B, stage_B, prompt_B)
        counted_BT = valid(batch.frame_lengths_B, T) & ~valid(prompt_B, T)
        target_BT = codes_BTK.gather(2, stage_B[:, None, None].expand(-1, T, 1))[..., 0]
        return score(logits_BTV, target_BT, counted_BT)

    def logits(
        self, phones_BL: Tensor, phone_lengths_B: Tensor, codes_BTK: Tensor, lengths_B: Tensor, stage_B: Tensor, prompt_B: Tensor
    ) -> Tensor:
        """[B, T, V]. Behind the prompt, only books before the stage are looked at: the others may hold anything."""
        x_BSD, holds_BS = self.phones(phones_BL, phone_lengths_B)
        T = codes_BTK.shape[1]
        in_prompt_BT = valid(prompt_B, T)
        frames_BTD = torch.zeros(*codes_BTK.shape[:2], x_BSD.shape[2], dtype=x_BSD.dtype, device=x_BSD.device)
        for book in range(self.n_books):
            seen_BT1 = (in_prompt_BT | (book < stage_B)[:, None])[..., None]
            frames_BTD = frames_BTD + F.embedding(codes_BTK[..., book], self.tables_KVD[book]) * seen_BT1
        position_BT = torch.arange(T, device=codes_BTK.device).expand(codes_BTK.shape[:2])
        x_BSD = torch.cat([x_BSD, placed(frames_BTD, position_BT)], dim=1)
        holds_BS = torch.cat([holds_BS, valid(lengths_B, T)], dim=1)
        y_BSD = self.transformer(x_BSD, attend(holds_BS, x_BSD.shape[1], causal=False), stage_B=stage_B)
        return torch.einsum("btd,bvd->btv", y_BSD[:, -T:], self.tables_KVD[stage_B])


PROMPT_FRAMES = 225
"""3 seconds, at most half of the utterance"""


def draw_stages(batch: Batch, n_books: int, seed: int) -> tuple[Tensor, Tensor]:
    """For every utterance: a book from the second to the last, and the frames of its prompt. On the batch's device.

    The book is a hash of the seed and the utterance's key: the same whatever batch or rank the utterance is in.
    """
    stages = [1 + zlib.crc32(f"{seed}/{key}".encode()) % (n_books - 1) for key in batch.keys]
    return torch.tensor(stages, device=batch.frame_lengths_B.device), prompt_lengths(batch)


def prompt_lengths(batch: Batch) -> Tensor:
    """Frames of each utterance that are its prompt, [B]: the utterance before it, else its own beginning."""
    own_B = (batch.frame_lengths_B // 2).clamp(max=PROMPT_FRAMES)
    return torch.where(batch.prompt_lengths_B > 0, batch.prompt_lengths_B, own_B)


SMALL = 0.02
"""standard deviation of weights in the beginning"""


def as_tables(books_KVC: Tensor, width: int) -> Tensor:
    """A codec's vectors as embeddings [K, V, D]: codes that sound alike begin alike, which random ones have to learn.

    Turned at random into the models' width, and together as large as other weights in the beginning. A higher book's stay
    smaller than a lower one's, as what they add to the sound is.
    """
    books_KVC = books_KVC.cpu().float() - books_KVC.cpu().float().mean(1, keepdim=True)
    size = books_KVC.shape[2]
    random = torch.randn(max(size, width), min(size, width), generator=torch.Generator().manual_seed(0))
    turn, _ = torch.linalg.qr(random)
    tables_KVD = books_KVC @ (turn.T if size <= width else turn)
    return tables_KVD * (SMALL / tables_KVD.std())


def initialise(model: nn.Module) -> None:
    """Small normal weights; the two projections that add to the residual are smaller the more layers there are (GPT-2)."""
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue  # gains and biases keep torch's ones and zeros
        if name == "transformer.stage_embedding.weight":
            continue  # keeps torch's unit normal: what it modulates begins with small weights
        layers = len(model.transformer.layers)  # type: ignore[union-attr, arg-type]
        small = name.endswith(("out.weight", "down.weight"))
        nn.init.normal_(parameter, std=SMALL / (2 * layers) ** 0.5 if small else SMALL)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
