"""Losses of the product's AR and NAR model over packed documents, as one long sequence of fixed length.

Equal to `ARModel.forward` and `NARModel.forward` up to rounding (tests/benchmarks/test_voice.py), with two additions: codes of
the input may be replaced at random, and one head of some layers may be taught the phone of each frame.

Shapes: N positions, D documents, H heads, C channels of a head, M positions that are taught, Q phones, V codes, K codebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from voxbeam.models.transformer import Transformer, sinusoids
from voxbeam.models.valle import ARModel, NARModel

from benchmarks.gpu_parts.attention import Documents, masked, varlen
from benchmarks.voice.data import FIELDS

FILLER = 1024
"""positions of a piece of padding"""
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""queries, keys and values [N, H, C] to [N, H, C]"""
Function = Callable[..., Any]


@dataclass(frozen=True)
class Corpus:
    """All utterances on the device: `voice.data.Utterances` as tensors."""

    phones_P: Tensor
    owner_F: Tensor
    codes_KF: Tensor


@dataclass(frozen=True)
class Layout:
    """What each position of a batch is."""

    offsets_D: Tensor
    """first position of each document and of each piece of padding, and the size; int32"""
    document_N: Tensor
    used_N: Tensor
    is_frame_N: Tensor
    """AR: the start and every code; NAR: every frame"""
    position_N: Tensor
    phone_N: Tensor
    """phone id, the end's included; 0 for frames"""
    frame_N: Tensor
    """index of a frame of the corpus: AR, the one before this position (−1 for the start); NAR, this one"""
    in_prompt_N: Tensor
    next_frame_N: Tensor
    """AR: index of the frame that this position predicts, −1 for the end"""
    owner_N: Tensor
    """position of the phone to which that frame belongs, −1 if unknown"""


def lay_out(documents_DF: Tensor, corpus: Corpus, size: int, n_phones: int, start: bool) -> Layout:
    """The layout of documents in `size` positions; documents without a target are padding."""
    c = dict(zip(FIELDS, documents_DF.T, strict=True))
    real_D = c["target_frames"] > 0
    sep_D = (c["prompt_phones"] > 0).long()
    phones_D = c["prompt_phones"] + sep_D + c["target_phones"]
    frames_D = c["prompt_frames"] + c["target_frames"]
    lengths_D = torch.where(real_D, phones_D + 1 + int(start) + frames_D, 0)
    ends_D = lengths_D.cumsum(0)
    # padding is documents of at most `FILLER` positions, so that attention knows a longest one
    filler = (ends_D[-1] + FILLER * torch.arange(1, size // FILLER + 2, device=ends_D.device)).clamp(max=size)
    offsets_D = F.pad(torch.cat([ends_D, filler]), (1, 0)).int()
    n_N = torch.arange(size, device=documents_DF.device)
    document_N = torch.searchsorted(ends_D, n_N, right=True)
    used_N = document_N < len(real_D)
    d = document_N.clamp(max=len(real_D) - 1)
    first_N = torch.where(used_N, offsets_D[d].long(), ends_D[-1])
    o_N = n_N - first_N
    at_N = o_N - phones_D[d] - 1  # 0 for the start or the first frame
    is_frame_N = used_N & (at_N >= 0)
    # phones
    in_prompt_phones = o_N < c["prompt_phones"][d]
    after = o_N - c["prompt_phones"][d] - sep_D[d]
    index = torch.where(in_prompt_phones, c["prompt_phone"][d] + o_N, c["target_phone"][d] + after)
    phone_N = corpus.phones_P[index.clamp(0, len(corpus.phones_P) - 1)].long()
    phone_N = torch.where((o_N == c["prompt_phones"][d]) & (sep_D[d] == 1), 1, phone_N)
    phone_N = torch.where(o_N == phones_D[d], n_phones, phone_N)
    phone_N = torch.where(is_frame_N | ~used_N, 0, phone_N)

    def frame_index(local_N: Tensor) -> Tensor:
        in_prompt = local_N < c["prompt_frames"][d]
        index = torch.where(in_prompt, c["prompt_frame"][d] + local_N, c["target_frame"][d] + local_N - c["prompt_frames"][d])
        return torch.where(is_frame_N & (local_N >= 0) & (local_N < frames_D[d]), index, -1)

    local_N = at_N - int(start)
    frame_N = frame_index(local_N)
    next_frame_N = frame_index(at_N)
    in_prompt = at_N < c["prompt_frames"][d]
    owner = corpus.owner_F[next_frame_N.clamp(min=0)].long()
    owner = torch.where(
        in_prompt,
        (owner - c["prompt_offset"][d]).clamp(min=0).minimum(c["prompt_phones"][d]),
        c["prompt_phones"][d] + sep_D[d] + (owner - c["target_offset"][d]).clamp(min=0),
    ).minimum(phones_D[d])
    owner = torch.where(next_frame_N < 0, phones_D[d], owner)
    owner_N = torch.where(is_frame_N & (c["guided"][d] == 1), first_N + owner, -1)
    return Layout(
        offsets_D, document_N, used_N, is_frame_N, torch.where(is_frame_N, at_N, o_N), phone_N, frame_N,
        is_frame_N & (local_N < c["prompt_frames"][d]), next_frame_N, owner_N,
    )  # fmt: skip


def attention_within(layout: Layout, causal: bool, longest: int) -> Attention:
    """Attention within the documents of a layout, none longer than `longest`; on a GPU in half precision."""
    documents = Documents(layout.document_N, layout.offsets_D, longest)
    attend = (varlen if layout.offsets_D.is_cuda else masked)(documents, causal)

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(*(x.transpose(0, 1)[None] for x in (q, k, v)))[0].transpose(0, 1)

    return attention


def before(x: Tensor, gain: Tensor, bias: Tensor, weight: Tensor, offset: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [N, H, C] of a block; gain and bias are those of its first norm."""
    y = F.layer_norm(x.float(), x.shape[-1:]) * gain + bias
    qkv = F.linear(y, weight, offset).view(x.shape[0], 3, heads, -1)
    q, k, v = qkv.unbind(1)
    return q.contiguous(), k.contiguous(), v.contiguous()


def after(
    x: Tensor, y: Tensor, out_w: Tensor, out_b: Tensor, gain: Tensor, bias: Tensor,
    up_w: Tensor, up_b: Tensor, down_w: Tensor, down_b: Tensor, dropout: float,
) -> Tensor:  # fmt: skip
    """The block after its attention."""
    x = x + F.dropout(F.linear(y.reshape(x.shape), out_w, out_b), dropout)
    h = F.layer_norm(x.float(), x.shape[-1:]) * gain + bias
    h = F.linear(F.gelu(F.linear(h, up_w, up_b)), down_w, down_b)
    return x + F.dropout(h, dropout)


def ar_inputs(
    is_frame_N: Tensor, position_N: Tensor, phone_N: Tensor, code_N: Tensor, phones_PD: Tensor, codes_VD: Tensor
) -> Tensor:
    """Embedded phones and codes [N, D]."""
    D = codes_VD.shape[1]
    row_N = torch.where(is_frame_N, phones_PD.shape[0] + code_N, phone_N)
    return D**0.5 * F.embedding(row_N, torch.cat([phones_PD, codes_VD])) + sinusoids(position_N, D)


def nar_inputs(
    is_frame_N: Tensor, in_prompt_N: Tensor, position_N: Tensor, phone_N: Tensor, codes_KN: Tensor, level: Tensor,
    phones_PD: Tensor, codes_KVD: Tensor,
) -> Tensor:  # fmt: skip
    """Embedded phones, and sums of the embedded codes that a level sees [N, D]."""
    D = codes_KVD.shape[2]
    frames_ND = codes_KVD.new_zeros(())
    for codebook in range(codes_KVD.shape[0]):
        visible_N1 = (is_frame_N & (in_prompt_N | (codebook < level)))[:, None]
        frames_ND = frames_ND + F.embedding(codes_KN[codebook], codes_KVD[codebook]) * visible_N1
    x_ND = torch.where(is_frame_N[:, None], frames_ND, F.embedding(phone_N, phones_PD))
    return D**0.5 * x_ND + sinusoids(position_N, D)


def score(y_ND: Tensor, table_VD: Tensor, target_N: Tensor, weight_N: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the losses and of the right codes."""
    V = table_VD.shape[0]
    # a multiple of eight rows, for tensor cores
    logits_NV = F.linear(y_ND, F.pad(table_VD, (0, 0, 0, -V % 8)))[:, :V].float()
    loss = (F.cross_entropy(logits_NV, target_N, reduction="none") * weight_N).sum()
    return loss, ((logits_NV.detach().argmax(1) == target_N) * weight_N).sum()


def final_norm(x_ND: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x_ND.float(), x_ND.shape[-1:]) * gain + bias


class Packed:
    """Runs a model over layouts. `compiled` compiles its parts, of which attention is none."""

    def __init__(self, model: ARModel | NARModel, size: int, longest: int, *, compiled: bool, dropout: float) -> None:
        self.model, self.size, self.longest, self.dropout = model, size, longest, dropout
        self.n_phones = model.text_embedding.end_id
        self.compiled = compiled
        self.compile(compiled)

    def compile(self, compiled: bool) -> None:
        """Compiled parts from now on, or plain ones."""

        def part(function: Function) -> Function:
            return torch.compile(function, dynamic=False) if compiled else function

        self.lay_out, self.before, self.after, self.score = part(lay_out), part(before), part(after), part(score)
        self.ar_inputs, self.nar_inputs, self.final_norm = part(ar_inputs), part(nar_inputs), part(final_norm)

    def blocks(
        self, x_ND: Tensor, attention: Attention, level_1: Tensor | None, keep: Sequence[int], dropout: float
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Hidden states, and the queries and keys of the first head of the layers `keep`."""
        transformer: Transformer = self.model.transformer
        level_D = transformer.level_embedding(level_1)[0] if transformer.level_embedding is not None else None

        def modulation(norm: torch.nn.Module) -> tuple[Tensor, Tensor]:
            if level_D is None:
                return norm.norm.weight, norm.norm.bias  # type: ignore[union-attr, return-value]
            gain, bias = norm.modulation(level_D).float().chunk(2)  # type: ignore[operator]
            return 1 + gain, bias

        kept = []
        for index, layer in enumerate(transformer.layers):
            q, k, v = self.before(x_ND, *modulation(layer.attn_norm), layer.qkv_proj.weight, layer.qkv_proj.bias, layer.n_heads)
            if index in keep:
                kept.append((q[:, 0], k[:, 0]))
            y = attention(q, k, v)
            x_ND = self.after(
                x_ND, y, layer.out_proj.weight, layer.out_proj.bias, *modulation(layer.mlp_norm),
                layer.up_proj.weight, layer.up_proj.bias, layer.down_proj.weight, layer.down_proj.bias, dropout,
            )  # fmt: skip
        gain, bias = modulation(transformer.norm)
        return self.final_norm(x_ND, gain, bias), kept

    def ar(
        self, documents_DF: Tensor, corpus: Corpus, *, corrupt: float = 0.0, taught: int = 0, layers: Sequence[int] = ()
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sums of the loss and of right codes, number of codes, and the mean loss of the taught heads."""
        model = self.model
        assert isinstance(model, ARModel)
        layout = self.lay_out(documents_DF, corpus, self.size, self.n_phones, start=True)
        code_N = corpus.codes_KF[0, layout.frame_N.clamp(min=0)].long()
        if corrupt:
            random = torch.rand(code_N.shape, device=code_N.device) < corrupt
            code_N = torch.where(random, torch.randint_like(code_N, model.end_id), code_N)
        code_N = torch.where(layout.frame_N < 0, model.start_id, code_N)
        target_N = torch.where(layout.next_frame_N < 0, model.end_id, corpus.codes_KF[0, layout.next_frame_N.clamp(min=0)].long())
        codes_VD = model.code_embedding.weight
        x_ND = self.ar_inputs(
            layout.is_frame_N, layout.position_N, layout.phone_N, code_N, model.text_embedding.embedding.weight, codes_VD
        )
        dropout = self.dropout if model.training else 0.0
        y_ND, kept = self.blocks(x_ND, attention_within(layout, True, self.longest), None, layers, dropout)
        weight_N = layout.is_frame_N.float()
        loss, right = self.score(y_ND, codes_VD[: model.end_id + 1], target_N, weight_N)
        guide = self.guide(layout, kept, taught) if taught else loss.new_zeros(())
        return loss, right, weight_N.sum(), guide

    def guide(self, layout: Layout, kept: list[tuple[Tensor, Tensor]], taught: int) -> Tensor:
        """Cross-entropy of the phone of the next frame under the heads' attention to the phones, at `taught` random frames."""
        known_N = (layout.owner_N >= 0).float()
        at_M = (torch.rand_like(known_N) * known_N).topk(taught, sorted=False).indices
        phones_Q = (layout.used_N & ~layout.is_frame_N).float().topk(self.size // 3, sorted=False).indices
        target_M = layout.owner_N[at_M]
        allowed_MQ = (layout.document_N[at_M][:, None] == layout.document_N[phones_Q]) & layout.used_N[phones_Q]
        allowed_MQ &= ~layout.is_frame_N[phones_Q]
        total = known_N.new_zeros(())
        for q, k in kept:
            scores_MQ = (q[at_M] @ k[phones_Q].T).float() * q.shape[1] ** -0.5
            scores_MQ = scores_MQ.masked_fill(~allowed_MQ, -1e4)
            right_M = ((q[at_M] * k[target_M.clamp(min=0)]).float().sum(1)) * q.shape[1] ** -0.5
            total = total + ((scores_MQ.logsumexp(1) - right_M) * known_N[at_M]).sum() / known_N[at_M].sum().clamp(min=1)
        return total / max(1, len(kept))

    def nar(
        self,
        documents_DF: Tensor,
        corpus: Corpus,
        level: Tensor,
        *,
        corrupt: float = 0.0,
        taught: int = 0,
        layers: Sequence[int] = (),
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `ar`, of codebook `level` of all documents."""
        model = self.model
        assert isinstance(model, NARModel)
        layout = self.lay_out(documents_DF, corpus, self.size, self.n_phones, start=False)
        codes_KN = corpus.codes_KF[:, layout.frame_N.clamp(min=0)].long()
        target_N = codes_KN.gather(0, level.view(1, 1).expand(1, self.size))[0]
        table_KVD = model.code_embeddings_KVD
        if corrupt:
            random = (torch.rand(codes_KN.shape, device=codes_KN.device) < corrupt) & ~layout.in_prompt_N
            codes_KN = torch.where(random, torch.randint_like(codes_KN, table_KVD.shape[1]), codes_KN)
        x_ND = self.nar_inputs(
            layout.is_frame_N, layout.in_prompt_N, layout.position_N, layout.phone_N, codes_KN, level,
            model.text_embedding.embedding.weight, table_KVD,
        )  # fmt: skip
        dropout = self.dropout if model.training else 0.0
        y_ND, kept = self.blocks(x_ND, attention_within(layout, False, self.longest), level.view(1), layers, dropout)
        weight_N = (layout.is_frame_N & ~layout.in_prompt_N).float()
        loss, right = self.score(y_ND, table_KVD.index_select(0, level.view(1))[0], target_N, weight_N)
        guide = self.guide(layout, kept, taught) if taught else loss.new_zeros(())
        return loss, right, weight_N.sum(), guide
