"""Prompts: speech of the same person before an utterance, whatever the lengths of the corpus's samples."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.models.valle import prompt_lengths
from voxbeam.pipeline.steps.shards import PackedSample
from voxbeam.trainer.configs import CONFIGS
from voxbeam.trainer.data.sampler import PROMPT_REACH, BatchSampler, PromptSource, SamplerConfig, rank_microbatches
from voxbeam.trainer.data.stream import Stream, StreamConfig

from tests.pipeline.factories import member, release_of

ALWAYS = StreamConfig(sampler=SamplerConfig(batch_frames=6000, prompt_fraction=1.0), rank_frames=6000)
WORD_MS = 500


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))


def sample(start_ms: int, ms: int, speaker: str, words: bool, recording: str = "r") -> PackedSample:
    """A word every half second, each of one phone, which tells its place; with `words`, their times."""
    count = ms // WORD_MS
    ids = [number for word in range(count) for number in (1, 2 + word % 3)][1:]
    times = [start_ms + WORD_MS * word for word in range(count + 1)]
    timed = [{"text": "w", "start_ms": a, "end_ms": b, "probability": 1.0} for a, b in pairwise(times)]
    return member(recording, start_ms, ms=ms, speaker=speaker, phone_ids=ids, phones="p", words=timed if words else None)


@settings(deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=60), st.integers(0, 5))
def test_a_prompt_is_other_speech_of_the_same_person(people: list[int], epoch: int) -> None:
    """Person −1 is nobody. Every fifth sample cannot be a prompt. Whoever has another sample that can has a prompt."""
    N = len(people)
    rng = np.random.default_rng(epoch)
    lengths_N, identity_N = rng.integers(150, 900, N).astype(np.int32), np.array(people, np.int32)
    usable_N = np.arange(N) % 5 != 4
    source = PromptSource(identity_N=identity_N, usable_N=usable_N, window_frames=(225, 750))
    config = SamplerConfig(prompt_fraction=1.0, block_samples=64)
    sampler, again = (BatchSampler(lengths_N, config, prompts=source) for _ in range(2))
    found: dict[int, int] = {}
    for batch, other in zip(sampler.batches(epoch, 0), again.batches(epoch, 0), strict=True):
        assert np.array_equal(batch.prompts, other.prompts)
        found |= dict(zip(batch.samples.tolist(), batch.prompts.tolist(), strict=True))
        assert np.array_equal(batch.prompt_frames, np.where(batch.prompts >= 0, lengths_N[batch.prompts], 0))
    assert sorted(found) == list(range(N))
    for one, prompt in found.items():
        others = [i for i in range(N) if i != one and usable_N[i] and people[i] == people[one] != -1]
        assert (prompt >= 0) == bool(others)
        if prompt >= 0:
            between = [i for i in others if min(one, prompt) <= i <= max(one, prompt)]
            assert prompt in others and len(between) <= PROMPT_REACH


def test_a_share_of_samples_has_prompts() -> None:
    identity_N = np.repeat(np.arange(100, dtype=np.int32), 50)
    source = PromptSource(identity_N=identity_N, usable_N=np.ones(5000, bool), window_frames=(225, 750))
    sampler = BatchSampler(np.full(5000, 1000, np.int32), SamplerConfig(prompt_fraction=0.2), prompts=source)
    assert sampler.prompt_share() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("words", "longest"), [(True, 750), (False, 1500)])
def test_samples_as_long_as_a_build_makes_them_have_prompts(tmp_path: Path, words: bool, longest: int) -> None:
    """10 to 20 s each, two people in turn: a part of 3 to 10 s where words have times, else the whole sample."""
    lengths = [10_000 + 500 * (7 * n % 20) for n in range(24)]
    starts = np.cumsum([0, *lengths]).tolist()
    members = [sample(start, ms, f"s{n % 2}", words) for n, (start, ms) in enumerate(zip(starts, lengths, strict=False))]
    stream = Stream(release_of(tmp_path, {"train": members}).root, config=ALWAYS)
    assert stream.prompt_share == 1.0
    whole = {one.key: one for one in stream.read(np.arange(24))}
    by_key = {key: n for n, key in enumerate(whole)}
    seen = 0
    for batches, _ in stream.epoch_steps(0):
        for batch in batches:
            assert torch.equal(prompt_lengths(batch), batch.prompt_lengths_B)
            for row, key in enumerate(batch.keys):
                P, T = int(batch.prompt_lengths_B[row]), int(batch.frame_lengths_B[row])
                phones = batch.phones_BL[row, : batch.phone_lengths_B[row]].numpy()
                codes_PK = batch.codes_BTK[row, :T].numpy()
                assert 225 - 75 < P <= longest, "a part has whole words, so it may be a little shorter"
                places = [(other, at) for other in whole.values() if (at := place_of(codes_PK[:P], other.codes_KT)) >= 0]
                ((donor, at),) = places
                assert donor.key != key and by_key[donor.key] % 2 == by_key[key] % 2
                first, last = round(at * 2 / 75), round((at + P) * 2 / 75)
                spoken = donor.phones_L[2 * first : 2 * last - 1]
                assert phones[: len(spoken)].tolist() == spoken.tolist() and phones[len(spoken)] == 1
                seen += 1
    assert seen == 24


def place_of(codes_PK: np.ndarray, codes_KT: np.ndarray) -> int:
    """Where codes begin in those of a sample; −1 if they are not a part of it."""
    starts = np.flatnonzero((codes_KT == codes_PK[:1].T).all(axis=0))
    fits = (at for at in starts.tolist() if np.array_equal(codes_KT[:, at : at + len(codes_PK)].T, codes_PK))
    return next(fits, -1)


def test_a_person_without_other_speech_has_no_prompt(tmp_path: Path) -> None:
    members = [sample(12_000 * n, 10_000, f"s{n}", True) for n in range(4)]
    stream = Stream(release_of(tmp_path, {"train": members}).root, config=ALWAYS)
    assert stream.prompt_share == 0.0


def test_an_utterance_behind_its_prompt(tmp_path: Path) -> None:
    """Phones in a row with a blank between, frames in a row; the sample counts once."""
    members = [member("r", start, ms=4000, speaker="s") for start in (0, 5000, 10_000)]
    stream = Stream(release_of(tmp_path, {"train": members}).root, config=ALWAYS)
    ((batches, _),) = list(stream.epoch_steps(0))
    (batch,) = batches
    alone = {one.key: one for one in stream.read(np.arange(3))}
    assert sorted(batch.keys) == sorted(alone)
    for row, key in enumerate(batch.keys):
        prompt = int(batch.prompt_lengths_B[row])
        own = alone[key]
        assert prompt == 300 and int(batch.frame_lengths_B[row]) == 600
        assert torch.equal(batch.codes_BKT[row, :, 300:600], torch.from_numpy(own.codes_KT.copy()))
        phones = batch.phones_BL[row, : batch.phone_lengths_B[row]].tolist()
        count = len(own.phones_L)
        assert phones[-count:] == own.phones_L.tolist() and phones[-count - 1] == 1
    assert prompt_lengths(batch).tolist() == [300, 300, 300]


def test_a_step_of_sixteen_ranks_is_one_micro_batch_each() -> None:
    """The paper's configuration, with prompts: a limit of just the share of a rank would halve nine steps in ten."""
    config = CONFIGS["librilight_16gpu"]()
    rng = np.random.default_rng(0)
    lengths_N = rng.integers(750, 1501, 20_000).astype(np.int32)
    words = PromptSource(identity_N=np.arange(20_000, dtype=np.int32) // 100, usable_N=lengths_N > 0, window_frames=(225, 750))
    settings = SamplerConfig(batch_frames=config.batch_frames, prompt_fraction=config.prompt_fraction)
    batches = BatchSampler(lengths_N, settings, np.ones(20_000, bool), (750, 1500), words).batches(0, 0)

    def micro_batches(limit: int) -> list[int]:
        return [len(rank_microbatches(batch, 3, 16, limit)) for batch in batches[:-1]]

    assert np.mean(np.array(micro_batches(config.batch_frames // 16)) > 1) > 0.8
    assert set(micro_batches(config.rank_frames)) == {1}
