"""Zero-shot evaluation on a split of a release (VALL-E, section 5.2).

Utterances of 4 to 10 s are synthesized from their text, each prompted by another utterance of the same speaker. The table also
has the recordings, if the release keeps audio, and the codec's resynthesis of the true codes, an upper bound for the model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.evaluation.prompts import TestCase, choose_cases, read_recordings
from voxbeam.models.codec import Codec
from voxbeam.models.load_valle import load_models
from voxbeam.models.speech_metrics import WhisperTranscriber, embed_speaker, word_error_rate
from voxbeam.models.spoken_form import spoken_form
from voxbeam.safety.blocks import require_not_blocked
from voxbeam.schemas.errors import CheckpointError
from voxbeam.schemas.formats import CODEC_RATE, FRAME_RATE
from voxbeam.synthesis.generate import Request, generate
from voxbeam.synthesis.sampling import SamplingConfig
from voxbeam.trainer.data.stream import Stream

CONTINUATION_PROMPT_FRAMES = 3 * FRAME_RATE
"""prompt of VALL-E-continual: the beginning of the utterance itself"""
MAX_DURATION_RATIO = 2.0
"""an utterance is truncated at this multiple of its true duration"""
Waves = list[NDArray[np.float32]]
"""one waveform [S] at 24 kHz per test case"""


@dataclass(frozen=True)
class Row:
    """Metrics of one system over all test cases."""

    name: str
    wer: float
    """word error rate against the corpus's text, as a fraction"""
    speaker_similarity: float
    """mean cosine of CAM++ embeddings with the prompt"""
    duration_ratio: float
    """mean duration divided by the true duration"""
    truncated_rate: float
    """fraction of utterances that had to be truncated"""
    real_time_factor: float
    """seconds of computation per second of audio, for the whole batch; 0 for recordings"""


@dataclass(frozen=True)
class Evaluation:
    """The table, and the audio behind it: the prompts, and that of each row, by name."""

    rows: list[Row]
    cases: list[TestCase]
    waves: dict[str, Waves]


def evaluate(
    run_uri: str,
    stream: Stream,
    codec: Codec,
    transcriber: WhisperTranscriber,
    count: int,
    *,
    continual: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> Evaluation:
    """Synthesizes `count` utterances of a split and measures the result.

    With `continual`, each utterance is prompted by its own first 3 s and continued (VALL-E-continual, section 5.2). Raises
    CheckpointError if the run does not match the corpus, ValueError if no speaker of the split has two suitable utterances.
    """
    require_not_blocked(run_uri)
    ar, nar, config = load_models(run_uri, device, codec)
    phones = stream.index.phones
    if config.n_phones != len(phones) or phones != (config.phones or phones):
        raise CheckpointError(
            f"the run was trained with {config.n_phones} phones, which are not the {len(phones)} of the corpus",
            remedy="evaluate on the corpus that the run was trained on, or one of the same language",
        )
    cases = choose_cases(stream, count, seed)
    requests = [build_request(case, stream.separator, continual) for case in cases]
    began = time.monotonic()
    generated = generate(ar, nar, requests, SamplingConfig(), seed=seed)
    codes = [
        np.concatenate([request.prompt_KP, one.codes_KT], axis=1) if continual else one.codes_KT
        for request, one in zip(requests, generated, strict=True)
    ]
    synthesized = codec.decode(codes)
    model_s = time.monotonic() - began
    began = time.monotonic()
    resynthesized = codec.decode([case.target.codes_KT for case in cases])
    codec_s = time.monotonic() - began
    recorded = read_recordings(stream, cases)
    waves = {"recording": recorded} if recorded else {}
    waves |= {"codec resynthesis": resynthesized, "model": synthesized}
    seconds = {"codec resynthesis": codec_s, "model": model_s}
    truncated = {"model": 1 - sum(one.finished for one in generated) / len(generated)}
    prompts = codec.decode([case.prompt.codes_KT for case in cases])
    prompt_embeddings = [embed_speaker(prompt) for prompt in prompts]
    rows = [
        measure(name, cases, prompt_embeddings, audio, transcriber, seconds.get(name, 0.0), truncated.get(name, 0.0))
        for name, audio in waves.items()
    ]
    return Evaluation(rows, cases, {"prompt": prompts} | waves)


def build_request(case: TestCase, separator: int, continual: bool) -> Request:
    """The request of a test case: the target after its prompt, or the continuation of the target's own beginning."""
    phones_L, prompt_KP = case.target.phones_L, case.target.codes_KT[:, :CONTINUATION_PROMPT_FRAMES]
    if not continual:
        phones_L = np.concatenate([case.prompt.phones_L, np.array([separator]), phones_L])
        prompt_KP = case.prompt.codes_KT
    max_frames = round(MAX_DURATION_RATIO * case.target.codes_KT.shape[1])
    return Request(phones_L=phones_L, prompt_KP=prompt_KP, max_frames=max_frames)


def measure(
    name: str,
    cases: Sequence[TestCase],
    prompt_embeddings: Sequence[NDArray[np.float32]],
    waves: Waves,
    transcriber: WhisperTranscriber,
    seconds: float,
    truncated_rate: float,
) -> Row:
    """One row of the table; `seconds` is the computation time of all waveforms."""
    words = [len(spoken_form(case.text).text.split()) for case in cases]
    errors = [
        word_error_rate(spoken_form(case.text).text, spoken_form(transcriber.transcribe(wave)).text)
        for case, wave in zip(cases, waves, strict=True)
    ]
    similarities = [embed_speaker(wave) @ prompt for wave, prompt in zip(waves, prompt_embeddings, strict=True)]
    true_s = [case.target.codes_KT.shape[1] / FRAME_RATE for case in cases]
    return Row(
        name=name,
        wer=float(np.average(errors, weights=words)),
        speaker_similarity=float(np.mean(similarities)),
        duration_ratio=float(np.mean([len(wave) / CODEC_RATE / true for wave, true in zip(waves, true_s, strict=True)])),
        truncated_rate=truncated_rate,
        real_time_factor=seconds / max(1e-9, sum(len(wave) for wave in waves) / CODEC_RATE),
    )
