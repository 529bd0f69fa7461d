"""Sampling and generation: which codes are sampled, where generation ends, and that batches and chunks change nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.models.speech_metrics import speaker_similarity, word_error_rate
from voxbeam.models.valle import ARModel, NARModel
from voxbeam.synthesis.generate import (
    MAX_PHONES_PER_SECOND,
    Request,
    decode_ar,
    decode_nar,
    frame_limits,
    generate,
    generate_chunks,
    request_batch,
)
from voxbeam.synthesis.sampling import SamplingConfig, guided, nucleus, sample_codes

from tests.trainer.factories import MODEL, SIZES

GREEDY = SamplingConfig(top_p=1e-9, max_repetition=1.0)
"""always the most likely code"""


@pytest.fixture(scope="module")
def models() -> tuple[ARModel, NARModel]:
    torch.manual_seed(3)
    config = replace(MODEL, transformer=replace(SIZES, dropout=0.0))
    return ARModel(config).eval(), NARModel(config).eval()


def request(number: int, phones: int, prompt: int, most: int) -> Request:
    rng = np.random.default_rng(number)
    return Request(
        phones_L=rng.integers(1, 20, phones), prompt_KP=rng.integers(0, 32, (8, prompt), dtype=np.int16), max_frames=most
    )


REQUESTS = [request(1, 5, 9, 14), request(2, 11, 3, 9), request(3, 2, 6, 20)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12), st.floats(0.01, 1.0))
def test_the_nucleus_is_the_smallest_that_reaches_its_share(logits: list[float], top_p: float) -> None:
    kept = nucleus(torch.tensor([logits]), top_p)[0].isfinite()
    probability = torch.tensor(logits).softmax(0)
    assert kept[probability.argmax()] or probability.max() in probability[kept]
    assert probability[kept].sum() >= top_p - 1e-4
    if kept.sum() > 1:
        assert probability[kept].sum() - probability[kept].min() < top_p + 1e-4
    assert (~kept).sum() == 0 or probability[~kept].max() <= probability[kept].min() + 1e-6


def test_a_code_that_repeats_is_drawn_again_from_everything() -> None:
    """Code 0 is all of the nucleus. Once in the last ten it stands; twice, and the others get their share of the draws."""
    B = 2000
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0]]).repeat(B, 1)
    config = SamplingConfig(top_p=0.3)
    generator = torch.Generator().manual_seed(0)
    for times, share in ((0, 1.0), (1, 1.0), (2, float(logits[0].softmax(0)[0]))):
        recent = torch.tensor([[0] * times + [3] * (10 - times)]).repeat(B, 1)
        drawn = sample_codes(logits, recent, config, generator)
        assert float((drawn == 0).float().mean()) == pytest.approx(share, abs=0.04), times
    older = torch.tensor([[0] * 10 + [3] * 10]).repeat(B, 1)  # what is further back than the window does not count
    assert (sample_codes(logits, older, config, generator) == 0).all()


def test_a_batch_says_what_each_request_says_alone(models: tuple[ARModel, NARModel]) -> None:
    together = generate(*models, REQUESTS, GREEDY)
    for made, lone in zip(together, REQUESTS, strict=True):
        (alone,) = generate(*models, [lone], GREEDY)
        assert np.array_equal(made.codes_KT, alone.codes_KT)
        assert made.finished == alone.finished
        assert made.codes_KT.shape[1] <= lone.max_frames
        assert made.codes_KT.dtype == np.int16


def test_generation_ends_where_the_model_ends_it(models: tuple[ARModel, NARModel]) -> None:
    ar, nar = models
    before = ar.code_embedding.weight.data.clone()
    ar.code_embedding.weight.data[ar.end_id] += 0.2 * torch.randn(32, generator=torch.Generator().manual_seed(1))
    try:
        loose = SamplingConfig(top_p=1.0)
        many = generate(ar, nar, [request(i, 4, 3, 300) for i in range(8)], loose, seed=1)
    finally:
        ar.code_embedding.weight.data.copy_(before)
    assert any(made.finished for made in many)
    assert len({made.codes_KT.shape[1] for made in many}) > 1


def test_a_text_does_not_end_before_its_first_possible_frame(models: tuple[ARModel, NARModel]) -> None:
    ar, nar = models
    with torch.no_grad():  # a model that always wants to end
        kept = ar.code_embedding.weight[ar.end_id].clone()
        ar.code_embedding.weight[ar.end_id] = 100 * ar.transformer.norm.norm.bias + 1
        ar.transformer.norm.norm.bias.add_(1)
    try:
        at_once, later = generate(ar, nar, [REQUESTS[0], replace(REQUESTS[1], min_frames=6)], GREEDY)
    finally:
        with torch.no_grad():
            ar.code_embedding.weight[ar.end_id] = kept
            ar.transformer.norm.norm.bias.sub_(1)
    assert at_once.finished and at_once.codes_KT.shape[1] == 0
    assert later.finished and later.codes_KT.shape[1] == 6


def test_a_text_that_ends_as_soon_as_it_can_ended_too_early() -> None:
    for phones in (1, 2, 40, 41):
        least, most = frame_limits(phones, 75)
        assert least / 75 < phones / MAX_PHONES_PER_SECOND <= (least + 1) / 75
        assert most > least


def test_chunks_join_to_the_first_book_of_the_whole(models: tuple[ARModel, NARModel]) -> None:
    chunks = list(generate_chunks(*models, REQUESTS[2], GREEDY, chunk_frames=6))
    (whole,) = generate(*models, REQUESTS[2:], GREEDY)
    joined = np.concatenate(chunks, axis=1)
    assert [chunk.shape[1] for chunk in chunks[:-1]] == [6] * (len(chunks) - 1)
    assert np.array_equal(joined[0], whole.codes_KT[0])
    assert np.array_equal(
        chunks[0],
        decode_nar(
            models[1], request_batch(REQUESTS[2:], torch.device("cpu")), [REQUESTS[2].prompt_KP], [joined[0, :6].tolist()]
        )[0],
    )


def test_the_same_seed_says_the_same(models: tuple[ARModel, NARModel]) -> None:
    one, two, other = (
        list(decode_ar(models[0], request_batch(REQUESTS, torch.device("cpu")), [12, 12, 12], SamplingConfig(), seed))
        for seed in (5, 5, 6)
    )
    assert one == two != other


def test_word_error_rate() -> None:
    assert word_error_rate("The cat sat.", "the cat sat") == 0
    assert word_error_rate("the cat sat", "cat sat down") == pytest.approx(2 / 3)
    assert word_error_rate("a b", "") == 1


def test_a_voice_is_like_itself(speech: np.ndarray) -> None:
    one, two = speech[: 3 * 24_000], speech[3 * 24_000 : 6 * 24_000]
    assert speaker_similarity(one, one) == pytest.approx(1, abs=1e-4)
    assert speaker_similarity(one, two) < 1
    assert speaker_similarity(one, two[:10]) == 0


def test_guidance_prefers_codes_that_the_text_makes_likelier() -> None:
    """The last is the end token, which keeps its probability."""
    with_text, without = torch.tensor([[2.0, 1.0, 0.0, 1.0]]), torch.tensor([[2.0, 0.0, 0.0, -9.0]])
    plain = with_text.softmax(1)
    for strength in (0.5, 2.0):
        mixed = guided(torch.cat([with_text, without]), strength).softmax(1)
        assert mixed[0, 1] > plain[0, 1] and mixed[0, 0] < plain[0, 0]
        assert mixed[0, 3] == pytest.approx(plain[0, 3].item(), rel=1e-5)
    assert torch.allclose(guided(torch.cat([with_text, with_text]), 3.0).softmax(1), plain)


def test_a_batch_says_with_guidance_what_each_request_says_alone(models: tuple[ARModel, NARModel]) -> None:
    sampling = replace(GREEDY, guidance=50.0)
    together = generate(*models, REQUESTS, sampling)
    plain = generate(*models, REQUESTS, GREEDY)
    for made, lone in zip(together, REQUESTS, strict=True):
        assert np.array_equal(made.codes_KT, generate(*models, [lone], sampling)[0].codes_KT)
    assert any(not np.array_equal(made.codes_KT, other.codes_KT) for made, other in zip(together, plain, strict=True))
