"""Evaluate: the paper's zero-shot protocol on a split of a release (VALL-E, section 5.2), as a table and a page to listen to.

Utterances of 4 to 10 s are spoken again from their text, each behind another utterance of the same speaker. Beside the model
stands the codec's own resynthesis of the true codes: what no model on these codes can better.
"""

from __future__ import annotations

import base64
import html
import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from assets.encodec_model import SAMPLE_RATE, Codec
from assets.spoken_text import normalize_text
from schemas.manifest import FRAME_RATE
from trainer.batch import Utterance
from trainer.fit import load_models
from trainer.generate import Request, generate
from trainer.listen import Recognizer, similarity, word_error_rate
from trainer.sampling import SamplingConfig
from trainer.stream import Stream

TARGET_S = (4.0, 10.0)
PROMPT_S = (3.0, 10.0)
SLACK = 2.0
"""a model may take this many times as long as the truth before it is cut off"""


@dataclass(frozen=True)
class Case:
    """An utterance to be spoken again, and another of its speaker as the prompt."""

    target: Utterance
    prompt: Utterance


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
    """seconds of work per second of sound, whole batch"""


@dataclass(frozen=True)
class Evaluation:
    """The table, and the sounds behind it: (case, prompt, resynthesis, model)."""

    rows: list[Row]
    sounds: list[tuple[Case, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]


def choose_cases(stream: Stream, count: int, seed: int = 0) -> list[Case]:
    """Up to `count` utterances that have another of their speaker to be prompted by. Raises ValueError where there is none."""
    frames = np.asarray(stream.index.arrays["frames"])
    speakers = np.asarray(stream.index.arrays["speaker"])
    long_enough = (frames >= PROMPT_S[0] * FRAME_RATE) & (frames <= PROMPT_S[1] * FRAME_RATE)
    targets = np.flatnonzero((frames >= TARGET_S[0] * FRAME_RATE) & (frames <= TARGET_S[1] * FRAME_RATE))
    rng = np.random.default_rng(seed)
    pairs: list[int] = []
    for target in rng.permutation(targets).tolist():
        others = np.flatnonzero(long_enough & (speakers == speakers[target]))
        others = others[others != target]
        if len(others):
            pairs += [target, int(rng.choice(others))]
        if len(pairs) == 2 * count:
            break
    if not pairs:
        raise ValueError(
            f"no speaker of this split has two utterances of {PROMPT_S[0]:g} to {PROMPT_S[1]:g} s; take another split"
        )
    found = stream.read(np.array(pairs, np.int64))
    return [Case(target, prompt) for target, prompt in zip(found[::2], found[1::2], strict=True)]


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
    ar, nar, config = load_models(run_uri, device)
    if config.phones != len(stream.index.phones):
        raise ValueError(
            f"the run knows {config.phones} phones, the corpus has {len(stream.index.phones)}: they do not belong together"
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
    prompts = codec.decode([case.prompt.codes_KT for case in cases])
    rows = [
        measure("codec resynthesis", cases, prompts, again, recognizer, codec_s, 0.0),
        measure("model", cases, prompts, spoken, recognizer, model_s, 1 - sum(one.ended for one in made) / len(made)),
    ]
    return Evaluation(rows, list(zip(cases, prompts, again, spoken, strict=True)))


def request_of(case: Case, separator: int, continual: bool) -> Request:
    """What a model is asked: to say the target behind the prompt, or to go on from the target's own beginning."""
    phones_L, prompt_KP = case.target.phones_L, case.target.codes_KT[:, : round(PROMPT_S[0] * FRAME_RATE)]
    if not continual:
        phones_L = np.concatenate([case.prompt.phones_L, np.array([separator]), phones_L])
        prompt_KP = case.prompt.codes_KT
    return Request(phones_L=phones_L, prompt_KP=prompt_KP, most_frames=round(SLACK * case.target.codes_KT.shape[1]))


def measure(
    name: str,
    cases: Sequence[Case],
    prompts: Sequence[NDArray[np.float32]],
    sounds: Sequence[NDArray[np.float32]],
    recognizer: Recognizer,
    seconds: float,
    unended: float,
) -> Row:
    """One row of the table."""
    words = [len(normalize_text(case.target.text).split()) for case in cases]
    errors = [
        word_error_rate(normalize_text(case.target.text), normalize_text(recognizer.hear(sound)))
        for case, sound in zip(cases, sounds, strict=True)
    ]
    true_s = [case.target.codes_KT.shape[1] / FRAME_RATE for case in cases]
    return Row(
        name=name,
        word_errors=float(np.average(errors, weights=words)),
        similarity=float(np.mean([similarity(*pair) for pair in zip(sounds, prompts, strict=True)])),
        duration=float(np.mean([len(sound) / SAMPLE_RATE / true for sound, true in zip(sounds, true_s, strict=True)])),
        unended=unended,
        real_time_factor=seconds / max(1e-9, sum(len(sound) for sound in sounds) / SAMPLE_RATE),
    )


def write_page(evaluation: Evaluation, folder: Path) -> None:
    """Writes table.json and a page, complete in itself, on which every case can be heard."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.json").write_text(json.dumps([asdict(row) for row in evaluation.rows], indent=1) + "\n")
    head = "<tr><th>" + "<th>".join(name.replace("_", " ") for name in asdict(evaluation.rows[0])) + "</tr>"
    table = "".join("<tr>" + "".join(_cell(value) for value in asdict(row).values()) + "</tr>" for row in evaluation.rows)
    cases = "".join(
        f"<tr><td>{html.escape(case.target.text)}<td>{_player(prompt)}<td>{_player(again)}<td>{_player(spoken)}</tr>"
        for case, prompt, again, spoken in evaluation.sounds
    )
    page = (
        "<!doctype html><meta charset=utf-8><title>Evaluation</title><style>body{font:16px sans-serif;margin:2em}"
        "td,th{padding:.3em .8em;text-align:left}</style>"
        f"<h1>Evaluation</h1><table>{head}{table}</table>"
        f"<h2>Listen</h2><table><tr><th>text<th>prompt<th>codec<th>model</tr>{cases}</table>\n"
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def _cell(value: object) -> str:
    return f"<td>{value:.3f}" if isinstance(value, float) else f"<td>{html.escape(str(value))}"


def _player(wave_S: NDArray[np.float32]) -> str:
    sink = io.BytesIO()
    sf.write(sink, wave_S, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return f'<audio controls preload=none src="data:audio/wav;base64,{base64.b64encode(sink.getvalue()).decode()}"></audio>'
