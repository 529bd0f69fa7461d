"""Padding and the cache change nothing; a level never sees the codes that it predicts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.models.ar_decoder import ARDecoder
from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.models.transformer import TransformerConfig, causal_mask, length_mask
from voxbeam.models.valle import ARModel, ModelConfig, NARModel, add_positions, draw_levels

TINY = ModelConfig(
    n_phones=20, codebook_size=32, transformer=TransformerConfig(n_layers=2, n_heads=2, d_model=32, d_ff=64, dropout=0.0)
)
PAPER = ModelConfig(n_phones=70)


def utterance(number: int, phones: int, frames: int) -> TokenizedUtterance:
    rng = np.random.default_rng(number)
    return TokenizedUtterance(
        key=f"u{number}",
        phones_L=rng.integers(1, 20, phones),
        codes_KT=rng.integers(0, 32, (8, frames), dtype=np.int16),
    )


def batch_of(*lengths: tuple[int, int]) -> Batch:
    return collate([utterance(number, *pair) for number, pair in enumerate(lengths)])


def lone(batch: Batch, row: int) -> Batch:
    """One utterance of a batch, without padding."""
    phones, frames = int(batch.phone_lengths_B[row]), int(batch.frame_lengths_B[row])
    return Batch(
        keys=batch.keys[row : row + 1],
        phones_BL=batch.phones_BL[row : row + 1, :phones],
        phone_lengths_B=batch.phone_lengths_B[row : row + 1],
        codes_BKT=batch.codes_BKT[row : row + 1, :, :frames],
        frame_lengths_B=batch.frame_lengths_B[row : row + 1],
        prompt_lengths_B=batch.prompt_lengths_B[row : row + 1],
    )


@pytest.fixture(scope="module")
def ar() -> ARModel:
    torch.manual_seed(0)
    return ARModel(TINY).eval()


@pytest.fixture(scope="module")
def nar() -> NARModel:
    torch.manual_seed(0)
    return NARModel(TINY).eval()


lengths = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 17)), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(lengths)
def test_padding_means_nothing_to_the_ar_model(ar: ARModel, pairs: list[tuple[int, int]]) -> None:
    batch = batch_of(*pairs)
    together = ar(batch)
    alone = [ar(lone(batch, row)) for row in range(len(pairs))]
    torch.testing.assert_close(together.loss, torch.stack([s.loss for s in alone]).sum(), rtol=1e-5, atol=1e-4)
    assert together.frames == sum(s.frames for s in alone) == sum(frames + 1 for _, frames in pairs)
    assert together.top10 == sum(s.top10 for s in alone)


@settings(max_examples=25, deadline=None)
@given(lengths, st.randoms(use_true_random=False))
def test_padding_means_nothing_to_the_nar_model(nar: NARModel, pairs: list[tuple[int, int]], random: object) -> None:
    batch = batch_of(*pairs)
    level_B, prompt_B = draw_levels(batch, 8, seed=len(pairs))
    together = nar(batch, level_B, prompt_B)
    alone = [nar(lone(batch, row), level_B[row : row + 1], prompt_B[row : row + 1]) for row in range(len(pairs))]
    torch.testing.assert_close(together.loss, torch.stack([s.loss for s in alone]).sum(), rtol=1e-5, atol=1e-4)
    assert together.frames == sum(s.frames for s in alone) == sum(frames - frames // 2 for _, frames in pairs)


def test_the_ar_model_is_causal_attention_with_masked_padding(ar: ARModel) -> None:
    """The loss and its gradients are those of the definition: phones and frames padded apart, and a mask of all pairs."""
    batch = batch_of((5, 12), (9, 7), (2, 17))
    frames_B, codes_BT = batch.frame_lengths_B, batch.codes_BKT[:, 0].long()
    x_BSD, mask_BS = ar.text_embedding(batch.phones_BL, batch.phone_lengths_B)
    input_BT = F.pad(codes_BT, (1, 0), value=ar.start_id)
    x_BSD = torch.cat([x_BSD, ar.embed_codes(input_BT, 0)], dim=1)
    loss_mask_BT = length_mask(frames_B + 1, input_BT.shape[1])
    mask_BS = torch.cat([mask_BS, loss_mask_BT], dim=1)
    y_BSD = ar.transformer(x_BSD, causal_mask(mask_BS))
    target_BT = F.pad(codes_BT, (0, 1)).scatter(1, frames_B[:, None], ar.end_id)
    logits_BTV = ar.logits(y_BSD[:, -input_BT.shape[1] :])
    assert_same_loss(ar, ar(batch).loss, F.cross_entropy(logits_BTV[loss_mask_BT], target_BT[loss_mask_BT], reduction="sum"))


def test_the_nar_model_sums_the_visible_codebooks(nar: NARModel) -> None:
    """Loss and gradients of the definition: codebook by codebook, a mask of all pairs, the table of each utterance's level."""
    batch = batch_of((5, 12), (9, 7), (2, 17))
    level_B, prompt_B = torch.tensor([1, 4, 7]), torch.tensor([3, 0, 8])
    codes_BTK, T = batch.codes_BTK, batch.codes_BKT.shape[2]
    x_BSD, mask_BS = nar.text_embedding(batch.phones_BL, batch.phone_lengths_B)
    in_prompt_BT = length_mask(prompt_B, T)
    frames_BTD = torch.zeros(3, T, 32)
    for codebook in range(8):
        visible_BT1 = (in_prompt_BT | (codebook < level_B)[:, None])[..., None]
        frames_BTD = frames_BTD + F.embedding(codes_BTK[..., codebook], nar.code_embeddings_KVD[codebook]) * visible_BT1
    x_BSD = torch.cat([x_BSD, add_positions(frames_BTD, torch.arange(T).expand(3, T))], dim=1)
    mask_BS = torch.cat([mask_BS, length_mask(batch.frame_lengths_B, T)], dim=1)
    pairs_BSN = mask_BS[:, None] | torch.eye(mask_BS.shape[1], dtype=torch.bool)
    y_BSD = nar.transformer(x_BSD, pairs_BSN[:, None], level_B=level_B)
    logits_BTV = torch.einsum("btd,bvd->btv", y_BSD[:, -T:], nar.code_embeddings_KVD[level_B])
    target_BT = codes_BTK.gather(2, level_B[:, None, None].expand(-1, T, 1))[..., 0]
    loss_mask_BT = length_mask(batch.frame_lengths_B, T) & ~in_prompt_BT
    expected = F.cross_entropy(logits_BTV[loss_mask_BT], target_BT[loss_mask_BT], reduction="sum")
    assert_same_loss(nar, nar(batch, level_B, prompt_B).loss, expected)


def assert_same_loss(model: ARModel | NARModel, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)
    gradients = []
    for loss in (ours, theirs):
        model.zero_grad()
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    model.zero_grad()
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("static", [False, True])
@torch.inference_mode()
def test_decoding_with_a_cache_equals_the_full_forward(ar: ARModel, static: bool) -> None:
    """Ragged phones and prompts in one batch, against every utterance alone and without a cache."""
    batch = batch_of((5, 12), (9, 7), (2, 15))
    prompts = torch.tensor([4, 1, 6])
    prompt_BP = batch.codes_BTK[:, :6, 0]
    decoder = ARDecoder(ar, batch.phones_BL, batch.phone_lengths_B, prompt_BP, prompts, max_frames=8, static=static)
    cached = [decoder.logits_BV.clone()]
    for step in range(6):
        cached.append(
            decoder.step(batch.codes_BTK[torch.arange(3), prompts + step, 0] * (prompts + step < batch.frame_lengths_B))
        )
    for row in range(3):
        for step in range(min(6, int(batch.frame_lengths_B[row] - prompts[row])) + 1):
            frames = int(prompts[row]) + step
            alone = lone(batch, row)
            full = ARDecoder(
                ar, alone.phones_BL, alone.phone_lengths_B, alone.codes_BTK[:, :frames, 0], torch.tensor([frames]), max_frames=0
            )
            torch.testing.assert_close(cached[step][row], full.logits_BV[0], rtol=1e-4, atol=1e-5)
            assert cached[step][row].argmax() == full.logits_BV[0].argmax()


@torch.inference_mode()
def test_a_decoder_in_half_precision_is_nearly_the_same(ar: ARModel) -> None:
    batch = batch_of((5, 12), (9, 7))
    prompts = torch.tensor([4, 2])
    inputs = (batch.phones_BL, batch.phone_lengths_B, batch.codes_BTK[:, :4, 0], prompts)
    whole, half = (ARDecoder(ar, *inputs, max_frames=4, dtype=dtype, static=True) for dtype in (None, torch.bfloat16))
    for step in range(4):
        torch.testing.assert_close(half.logits_BV, whole.logits_BV, rtol=0.05, atol=0.05)
        code_B = torch.tensor([step, 9 - step])
        whole.step(code_B), half.step(code_B)
    assert {value.dtype for value in ar.parameters()} == {torch.float32} and half.cache.store_LKBHNC.dtype == torch.bfloat16


@torch.inference_mode()
def test_steps_with_eight_bits_are_nearly_the_same(ar: ARModel) -> None:
    batch = batch_of((5, 12), (9, 7))
    inputs = (batch.phones_BL, batch.phone_lengths_B, batch.codes_BTK[:, :4, 0], torch.tensor([4, 2]))
    whole, fast = (ARDecoder(ar, *inputs, max_frames=4, eight_bits=eight_bits) for eight_bits in (False, True))
    assert torch.equal(fast.logits_BV, whole.logits_BV)  # the prompt is computed with the weights as they are
    for step in range(4):
        torch.testing.assert_close(fast.logits_BV, whole.logits_BV, rtol=0.05, atol=0.05)
        code_B = torch.tensor([step, 9 - step])
        whole.step(code_B), fast.step(code_B)
    assert not torch.equal(fast.logits_BV, whole.logits_BV)


@torch.inference_mode()
def test_the_decoder_scores_as_training_does(ar: ARModel) -> None:
    """The loss of an utterance is the sum of what the decoder says of each of its codes."""
    batch = batch_of((5, 9))
    decoder = ARDecoder(ar, batch.phones_BL, batch.phone_lengths_B, batch.codes_BTK[:, :0, 0], torch.tensor([0]), max_frames=9)
    logits = [decoder.logits_BV.clone()] + [decoder.step(batch.codes_BTK[:, t, 0]) for t in range(9)]
    target = torch.cat([batch.codes_BTK[0, :, 0], torch.tensor([ar.end_id])])
    told = -torch.log_softmax(torch.cat(logits), dim=1)[torch.arange(10), target].sum()
    torch.testing.assert_close(told, ar(batch).loss, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stage", range(1, 8))
def test_a_stage_never_sees_its_targets(nar: NARModel, stage: int) -> None:
    """Behind the prompt, no book from the stage on changes a logit; every book of the prompt does, and each book before."""
    batch = batch_of((4, 10))
    level_B, prompt_B = torch.tensor([stage]), torch.tensor([3])

    def logits(codes_BTK: torch.Tensor) -> torch.Tensor:
        return nar.logits(batch.phones_BL, batch.phone_lengths_B, codes_BTK, batch.frame_lengths_B, level_B, prompt_B)

    before = logits(batch.codes_BTK)
    for book in range(8):
        for frames, seen in ((slice(3, None), book < stage), (slice(0, 3), True)):
            other = batch.codes_BTK.clone()
            other[:, frames, book] = (other[:, frames, book] + 1) % 32
            assert torch.equal(logits(other), before) != seen, (book, frames)


@torch.inference_mode()
def test_ar_never_looks_ahead(ar: ARModel) -> None:
    batch = batch_of((4, 10))
    decoder = ARDecoder(ar, batch.phones_BL, batch.phone_lengths_B, batch.codes_BTK[:, :5, 0], torch.tensor([5]), max_frames=0)
    full = ARDecoder(ar, batch.phones_BL, batch.phone_lengths_B, batch.codes_BTK[:, :9, 0], torch.tensor([5]), max_frames=0)
    torch.testing.assert_close(decoder.logits_BV, full.logits_BV)


def test_paper_size() -> None:
    """153.8 M and 213.6 M parameters, as the reference implementations count them, to two in a hundred."""
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in model(PAPER).parameters()) / 1e6 for model in (ARModel, NARModel)]
    assert sizes == pytest.approx([153.8, 213.6], rel=0.02)


@pytest.mark.slow
def test_a_tiny_model_learns_by_heart() -> None:
    torch.manual_seed(1)
    batch = batch_of((6, 20), (9, 30), (4, 25))
    ar, nar = ARModel(TINY), NARModel(TINY)
    optimizer = torch.optim.AdamW([*ar.parameters(), *nar.parameters()], lr=3e-3)
    for step in range(250):
        optimizer.zero_grad()
        first = ar(batch)
        others = nar(batch, *draw_levels(batch, 8, seed=step))
        (first.loss / first.frames + others.loss / others.frames).backward()
        optimizer.step()
    ar.eval()
    nar.eval()
    level_B = torch.tensor([1, 4, 7])
    for told in (ar(batch), nar(batch, level_B, batch.frame_lengths_B // 2)):
        assert told.top10 / told.frames > 0.95
    assert ar(batch).top1 / ar(batch).frames > 0.95
