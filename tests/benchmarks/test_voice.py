"""The fast losses of the voice in the box are the product's; its documents are what the synthesizer asks for."""

import numpy as np
import pytest
import torch

from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ARModel, ModelConfig, NARModel

from benchmarks.voice.data import (
    FIELDS,
    Utterances,
    document_lengths,
    draw_documents,
    owners,
    pack_codes,
    pack_documents,
    unpack_codes,
)
from benchmarks.voice.identities import HELD_OUT, draw_identities
from benchmarks.voice.packed import Corpus, Packed, lay_out
from benchmarks.voice.steps import State

N_PHONES, SIZE = 20, 1500
CONFIG = ModelConfig(
    n_phones=N_PHONES, codebook_size=32, transformer=TransformerConfig(n_layers=2, n_heads=2, d_model=32, d_ff=64, dropout=0.0)
)


@pytest.fixture
def data() -> Utterances:
    """Eight utterances of two voices and one of a third; words of three phones, four frames a phone."""
    rng = np.random.default_rng(0)
    words = [5, 9, 7, 6, 12, 8, 5, 10, 11]
    phones = [np.concatenate([[*rng.integers(4, N_PHONES, 3), 1] for _ in range(count)])[:-1] for count in words]
    counts = np.array([len(one) for one in phones])
    frames = counts * 4 + 6
    starts = [np.arange(count) * 4.0 for count in counts]
    times = np.concatenate([[*start, count * 4.0] for start, count in zip(starts, counts, strict=True)])
    return Utterances(
        np.array([0, 0, 0, 0, 1, 1, 1, 1, 2]), counts, frames, np.concatenate(phones), owners(times, counts, frames),
        rng.integers(0, 32, (8, frames.sum())), np.ones(9, bool), np.concatenate(starts), np.zeros(9, bool),
    )  # fmt: skip


def to_corpus(data: Utterances) -> Corpus:
    return Corpus(*(torch.from_numpy(x.astype(np.int64)) for x in (data.phones_P, data.owner_F, data.codes_KF)))


def padded(data: Utterances, documents_DF: np.ndarray) -> Batch:
    """The documents as the product's batch."""
    rows = []
    for number, row in enumerate(documents_DF):
        c = dict(zip(FIELDS, row.tolist(), strict=True))
        prompt = data.phones_P[c["prompt_phone"] : c["prompt_phone"] + c["prompt_phones"]]
        target = data.phones_P[c["target_phone"] : c["target_phone"] + c["target_phones"]]
        codes = [data.codes_KF[:, c[f"{part}_frame"] : c[f"{part}_frame"] + c[f"{part}_frames"]] for part in ("prompt", "target")]
        rows.append(
            TokenizedUtterance(
                key=str(number),
                phones_L=np.concatenate([prompt, [1] if len(prompt) else [], target]).astype(np.int64),
                codes_KT=np.concatenate(codes, 1).astype(np.int16),
                prompt_frames=c["prompt_frames"],
            )
        )
    return collate(rows)


def test_losses_are_those_of_the_product(data: Utterances) -> None:
    torch.manual_seed(0)
    documents = draw_documents(data, np.arange(9), np.random.default_rng(1), 0.8)
    (batch, *_) = pack_documents(documents, SIZE, 12)
    count = int((batch[:, FIELDS.index("target_frames")] > 0).sum())
    assert count >= 4
    reference, corpus, rows = padded(data, batch[:count]), to_corpus(data), torch.from_numpy(batch)
    ar, nar = ARModel(CONFIG).eval(), NARModel(CONFIG).eval()
    expected = ar(reference)
    loss, right, codes, _ = Packed(ar, SIZE, 512, compiled=False, dropout=0.0).ar(rows, corpus)
    assert codes.item() == expected.frames.item()
    assert right.item() == expected.top1.item()
    assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-4)
    for level in (1, 7):
        expected = nar(reference, torch.full((count,), level), reference.prompt_lengths_B)
        loss, right, codes, _ = Packed(nar, SIZE, 512, compiled=False, dropout=0.0).nar(rows, corpus, torch.tensor(level))
        assert (codes.item(), right.item()) == (expected.frames.item(), expected.top1.item())
        assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-4)


def test_prompts_are_other_utterances_of_the_same_voice(data: Utterances) -> None:
    documents = draw_documents(data, np.arange(9), np.random.default_rng(2), 1.0)
    for target, row in enumerate(documents):
        c = dict(zip(FIELDS, row.tolist(), strict=True))
        prompt = int(np.searchsorted(data.frame_at_U, c["prompt_frame"], "right")) - 1
        assert data.voice_U[prompt] == data.voice_U[target]
        assert c["prompt_frames"] > 0
        assert (prompt == target) == (data.voice_U[target] == 2)  # the only one of its voice continues itself
        if prompt == target:
            assert c["target_frame"] == c["prompt_frame"] + c["prompt_frames"]
    assert document_lengths(documents).max() <= SIZE


def test_each_frame_knows_its_phone(data: Utterances) -> None:
    """Also those of a prompt that begins and ends in the middle of its utterance."""
    documents = draw_documents(data, np.arange(4), np.random.default_rng(3), 1.0)
    (batch, *_) = pack_documents(documents, SIZE, 8)
    corpus = to_corpus(data)
    layout = lay_out(torch.from_numpy(batch), corpus, SIZE, N_PHONES, start=False)
    known = (layout.owner_N >= 0) & layout.is_frame_N
    owner = corpus.owner_F[layout.frame_N[known]]
    utterance = np.searchsorted(data.frame_at_U, layout.frame_N[known].numpy(), "right") - 1
    inside = owner.numpy() < data.phone_counts_U[utterance]
    true = data.phones_P[(data.phone_at_U[utterance] + owner.numpy())[inside]]
    said = layout.phone_N[layout.owner_N[known]].numpy()[inside]
    assert (said == true).mean() > 0.95  # words that a prompt cuts in two are the exception


def test_most_prompts_end_between_two_words(data: Utterances) -> None:
    documents = draw_documents(data, np.repeat(np.arange(8), 40), np.random.default_rng(4), 1.0)
    ends = documents[:, FIELDS.index("prompt_frame")] + documents[:, FIELDS.index("prompt_frames")]
    utterance = np.searchsorted(data.frame_at_U, ends - 1, "right") - 1
    at = ends - data.frame_at_U[utterance]
    # a word is three phones of four frames each; its boundary takes four more
    between = (at % 16 >= 12) | (at % 16 == 0) | (at >= data.phone_counts_U[utterance] * 4)
    assert 0.7 < between.mean() < 1


def test_codes_come_back_from_ten_bits() -> None:
    codes = np.random.default_rng(0).integers(0, 1024, (8, 37))
    packed = pack_codes(codes)
    assert len(packed) == 8 * 37 * 10 / 8
    assert np.array_equal(unpack_codes(packed, 8), codes)


def test_no_identity_has_a_voice_that_is_held_out() -> None:
    names = [*HELD_OUT, "af_sky", "am_adam", "bf_lily", "bm_george", "ef_dora", "jm_kumo", "zf_xiaoni"]
    drawn = draw_identities(names, 300, seed=0)
    for kind in ("timbre", "manner"):
        voices, weights = drawn[f"identity_{kind}"], drawn[f"identity_{kind}_weights"]
        assert not np.isin(voices, range(len(HELD_OUT))).any()
        assert np.allclose(weights.sum(1), 1, atol=1e-5)
    plain = drawn["identity_channel"][:4] == 0
    assert plain.all() and (drawn["identity_timbre_weights"][:4, 0] == 1).all()


def test_steps_learn_and_the_average_follows(data: Utterances) -> None:
    torch.manual_seed(0)
    corpus = to_corpus(data)
    (batch, *_) = pack_documents(draw_documents(data, np.arange(9), np.random.default_rng(1), 0.8), SIZE, 12)
    model = ARModel(CONFIG)
    packed = Packed(model, SIZE, 512, compiled=False, dropout=0.0)
    state = State("ar", model, packed, lambda rows, _: packed.ar(rows, corpus), rate=0.02, decay=0.1, count=1, most=12)
    losses = []
    for _ in range(25):
        state.step([torch.from_numpy(batch)], [1], scale=100.0, guide=0.0)  # a warm-up of 300 steps makes it small at first
        loss, _, codes, _ = state.read()
        losses.append(loss / codes)
    assert losses[-1] < losses[0] - 0.3
    assert state.check(losses[-1])
    moved = [p.detach().clone() for p in state.parameters]
    assert not state.check(float("nan"))  # back to the average that was kept
    assert all(torch.equal(p, kept) for p, kept in zip(state.parameters, state.kept, strict=True))
    assert any(not torch.equal(p, before) for p, before in zip(state.parameters, moved, strict=True))
