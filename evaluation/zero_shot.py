"""Evaluate: the paper's zero-shot protocol on a split of a release (VALL-E, section 5.2).

Utterances of 4 to 10 s are spoken again from their text, each behind another utterance of the same speaker. In the same table
stand what was recorded, where the release keeps its sound, and the codec's resynthesis of the true codes, which no model on
these codes can better.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.evaluation.prompts import Case, choose_cases, read_recordings
from voxbeam.models.codec import Codec
from voxbeam.models.load_valle import load_models
from voxbeam.models.speech_metrics import Recognizer, voice_of, word_error_rate
from voxbeam.models.text_normalization import normalize_text
from voxbeam.schemas.formats import CODEC_RATE, FRAME_RATE
from voxbeam.synthesis.generate import Request, generate
from voxbeam.synthesis.sampling import SamplingConfig
from voxbeam.trainer.data.stream import Stream

CONTINUED_FRAMES = 3 * FRAME_RATE
"""of an utterance that VALL-E-continual hears before it goes on"""
SLACK = 2.0
"""a model may take this many times as long as the truth before it is cut off"""
Sounds = list[NDArray[np.float32]]
"""one for each case, [S] at 24 kHz"""


@dataclass(frozen=True)
class Row:
    """What was measured of one way to sound, over all cases."""

    name: str
    word_errors: float
    """by the recognizer against the corpus's text, in shares of its words"""
    similarity: float
    """mean cosine of GE2E embeddings with the prompt"""
    duration: float
    """mean length over the truth's"""
    unended: float
    """share of cases that had to be cut off"""
    real_time_factor: float
    """seconds of work per second of sound, whole batch; 0 for a recording"""


@dataclass(frozen=True)
class Evaluation:
    """The table, and the sounds behind it, by name: the prompt, and those of the rows."""

    rows: list[Row]
    cases: list[Case]
    sounds: dict[str, Sounds]


def evaluate(
    run_uri: str,
    stream: Stream,
    codec: Codec,
    recognizer: Recognizer,
    count: int,
    *,
    continual: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> Evaluation:
    """Speaks `count` utterances of a split again and measures what comes out.

    With `continual`, an utterance is prompted by its own first 3 s and goes on from there (VALL-E-continual, section 5.2).
    """
    ar, nar, config = load_models(run_uri, device, codec)
    if config.n_phones != len(stream.index.phones):
        raise ValueError(
            f"the run knows {config.n_phones} phones, the corpus has {len(stream.index.phones)}: they do not belong together"
        )
    cases = choose_cases(stream, count, seed)
    requests = [request_of(case, stream.separator, continual) for case in cases]
    began = time.monotonic()
    made = generate(ar, nar, requests, SamplingConfig(), seed=seed)
    whole = [
        np.concatenate([request.prompt_KP, one.codes_KT], axis=1) if continual else one.codes_KT
        for request, one in zip(requests, made, strict=True)
    ]
    spoken = codec.decode(whole)
    model_s = time.monotonic() - began
    began = time.monotonic()
    again = codec.decode([case.target.codes_KT for case in cases])
    codec_s = time.monotonic() - began
    recorded = read_recordings(stream, cases)
    sounds = {"recording": recorded} if recorded else {}
    sounds |= {"codec resynthesis": again, "model": spoken}
    seconds = {"codec resynthesis": codec_s, "model": model_s}
    unended = {"model": 1 - sum(one.ended for one in made) / len(made)}
    prompts = codec.decode([case.prompt.codes_KT for case in cases])
    voices = [voice_of(prompt) for prompt in prompts]
    rows = [
        measure(name, cases, voices, waves, recognizer, seconds.get(name, 0.0), unended.get(name, 0.0))
        for name, waves in sounds.items()
    ]
    return Evaluation(rows, cases, {"prompt": prompts} | sounds)


def request_of(case: Case, separator: int, continual: bool) -> Request:
    """What a model is asked: to say the target behind the prompt, or to go on from the target's own beginning."""
    phones_L, prompt_KP = case.target.phones_L, case.target.codes_KT[:, :CONTINUED_FRAMES]
    if not continual:
        phones_L = np.concatenate([case.prompt.phones_L, np.array([separator]), phones_L])
        prompt_KP = case.prompt.codes_KT
    return Request(phones_L=phones_L, prompt_KP=prompt_KP, most_frames=round(SLACK * case.target.codes_KT.shape[1]))


def measure(
    name: str,
    cases: Sequence[Case],
    voices: Sequence[NDArray[np.float32]],
    sounds: Sounds,
    recognizer: Recognizer,
    seconds: float,
    unended: float,
) -> Row:
    """One row of the table; `voices` are the prompts'."""
    words = [len(normalize_text(case.text).split()) for case in cases]
    errors = [
        word_error_rate(normalize_text(case.text), normalize_text(recognizer.hear(sound)))
        for case, sound in zip(cases, sounds, strict=True)
    ]
    true_s = [case.target.codes_KT.shape[1] / FRAME_RATE for case in cases]
    return Row(
        name=name,
        word_errors=float(np.average(errors, weights=words)),
        similarity=float(np.mean([voice_of(sound) @ voice for sound, voice in zip(sounds, voices, strict=True)])),
        duration=float(np.mean([len(sound) / CODEC_RATE / true for sound, true in zip(sounds, true_s, strict=True)])),
        unended=unended,
        real_time_factor=seconds / max(1e-9, sum(len(sound) for sound in sounds) / CODEC_RATE),
    )
