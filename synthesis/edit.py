"""Speech editing: replaces words in the middle of a recording, in the voice of its speaker, and keeps the rest unchanged.

The models only continue a prompt and cannot read what follows the replaced words. So some speech after them is put first, as the
acoustic prompt, then some before them, from which the model continues with the new words. This is what both models were trained
on: an utterance preceded by other speech of the same person. Outside the span the recording is kept, sample by sample, at its own
rate and in all its channels; at the edges of the span the two are cross-faded.

Shapes: S samples at 24 kHz, K codebooks, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import TimedWord, normalize_words
from voxbeam.models.spoken_form import spoken_form
from voxbeam.models.words import errors_of_beginnings
from voxbeam.schemas.errors import SynthesisError
from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE
from voxbeam.synthesis.candidates import Candidate, attempt_seeds, best_of, word_errors_of
from voxbeam.synthesis.generate import Generated, generate
from voxbeam.synthesis.recording import Recording
from voxbeam.synthesis.synthesizer import Synthesizer

CONTEXT_S = 8.0
"""speech before the words, and as much after them, that the model hears"""


@dataclass(frozen=True)
class Edited:
    """An edited recording, and what is known of the edit."""

    recording: Recording
    candidate: Candidate
    """what is heard of the edit and its context: the whole of it, at 24 kHz"""


@dataclass(frozen=True, kw_only=True)
class EditSpan:
    """The words to replace, and the words around them that are their context. Times from the start of the recording."""

    before: str
    after: str
    from_s: float
    """begin of the words before"""
    start_s: float
    end_s: float
    to_s: float
    """end of the words after"""


def find_span(words: Sequence[TimedWord], phrase: str, seconds: float, context_s: float = CONTEXT_S) -> EditSpan:
    """The time of a phrase among the transcribed words of a recording, with edges halfway to the neighboring words.

    Whole words of up to `context_s` on both sides are its context. Raises SynthesisError unless the phrase occurs exactly once.
    """
    spoken = [" ".join(normalize_words(word.text)) for word in words]
    wanted = normalize_words(phrase)
    matches = [i for i in range(len(spoken) - len(wanted) + 1) if spoken[i : i + len(wanted)] == wanted]
    if not wanted or len(matches) != 1:
        transcript = " ".join(word.text for word in words)
        if wanted and matches:
            raise SynthesisError(
                f"{phrase!r} occurs more than once in the transcript {transcript!r}", remedy="name more of the words around it"
            )
        raise SynthesisError(
            f"{phrase!r} is not in the transcript {transcript!r}", remedy="name words as they are in the transcript"
        )
    first, last = matches[0], matches[0] + len(wanted)

    def edge(number: int) -> float:
        """Halfway between a word and the one before it."""
        if number == 0 or number == len(words):
            return 0.0 if number == 0 else seconds
        return min(seconds, (words[number - 1].end_s + words[number].start_s) / 2)

    begin = next(number for number in range(first + 1) if edge(first) - edge(number) <= context_s)
    end = next(number for number in range(len(words), last - 1, -1) if edge(number) - edge(last) <= context_s)
    return EditSpan(
        before=" ".join(word.text for word in words[begin:first]),
        after=" ".join(word.text for word in words[last:end]),
        from_s=edge(begin),
        start_s=edge(first),
        end_s=edge(last),
        to_s=edge(end),
    )


def edit(
    synthesizer: Synthesizer, recording: Recording, phrase: str, replacement: str, *, candidates: int = 1, seed: int = 0
) -> Edited:
    """A recording of any length with a phrase replaced; an empty replacement removes it. The synthesizer's prompt is not used.

    Of several candidates, the one is kept whose transcript, with its context, has the fewest word errors; if all of them fail, or
    their new words are not heard, they are made again. Raises SynthesisError unless the phrase occurs exactly once, ConsentError
    unless a grant covers the recording, or the voice in the part of it that the model hears. The new words have a watermark.
    """
    wave_S = recording.wave_S
    span = find_span(synthesizer.transcriber.transcribe_words(wave_S), phrase, len(wave_S) / CODEC_RATE)
    before_S, after_S = _cut(wave_S, span.from_s, span.start_s), _cut(wave_S, span.end_s, span.to_s)
    permit = synthesizer.consent.require(np.concatenate([before_S, after_S]), synthesizer.run_uri, within=wave_S)
    if not replacement.strip():
        best = _measure(synthesizer, before_S, np.zeros(0, np.float32), after_S, span, "", "")
    else:
        before_KT, after_KT = synthesizer.codec.encode([before_S, after_S])
        context_KP = np.concatenate([after_KT, before_KT], axis=1)
        request = synthesizer.request_with_context([span.after, span.before], context_KP, replacement)
        made: list[Candidate] = []
        for attempt_seed in attempt_seeds(seed):
            requests = [request] * candidates
            for one in generate(synthesizer.ar, synthesizer.nar, requests, synthesizer.sampling, seed=attempt_seed):
                new_S = _decode(synthesizer, before_KT, one, after_KT)
                problem = synthesizer.problem_of(replacement, one)
                made.append(_measure(synthesizer, before_S, new_S, after_S, span, replacement, problem))
            if not (best := best_of(made)).problem:
                break
    new_S = synthesizer.consent.mark(best.wave_S[len(before_S) : len(best.wave_S) - len(after_S)], permit)
    return Edited(recording.splice(new_S, span.start_s, span.end_s), best)


def heard_between(before: str, new: str, after: str, heard: str) -> str:
    """The words of a transcript that stand for `new`, where the whole was to be `before`, `new` and `after`.

    Errors that may be of either count as those of the words around.
    """
    left, middle, right, words = (normalize_words(spoken_form(text).text) for text in (before, new, after, heard))
    errors_before = errors_of_beginnings(left, words)
    errors_after = errors_of_beginnings(right[::-1], words[::-1])[::-1]
    places = [
        (errors_before[start] + errors + errors_after[start + length], errors, start, start + length)
        for start in range(len(words) + 1)
        for length, errors in enumerate(errors_of_beginnings(middle, words[start:]))
    ]
    *_, start, end = min(places)
    return " ".join(words[start:end])


def _cut(wave_S: NDArray[np.float32], start_s: float, end_s: float) -> NDArray[np.float32]:
    return wave_S[round(start_s * CODEC_RATE) : round(end_s * CODEC_RATE)]


def _decode(
    synthesizer: Synthesizer, before_KT: NDArray[np.int16], generated: Generated, after_KT: NDArray[np.int16]
) -> NDArray[np.float32]:
    """The sound of the new codes, decoded between the codes of their neighbors."""
    edited_KT = np.concatenate([before_KT, generated.codes_KT, after_KT], axis=1)
    start = before_KT.shape[1]
    return synthesizer.codec.decode([edited_KT])[0][start * CODEC_HOP : (start + generated.codes_KT.shape[1]) * CODEC_HOP]


def _measure(
    synthesizer: Synthesizer,
    before_S: NDArray[np.float32],
    new_S: NDArray[np.float32],
    after_S: NDArray[np.float32],
    span: EditSpan,
    replacement: str,
    problem: str,
) -> Candidate:
    wave_S, context_S = np.concatenate([before_S, new_S, after_S]), np.concatenate([before_S, after_S])
    heard = synthesizer.transcriber.transcribe(wave_S)
    wer = word_errors_of(f"{span.before} {replacement} {span.after}", heard)
    finished = not problem
    if replacement.strip() and finished:
        problem = synthesizer.words_problem(replacement, heard_between(span.before, replacement, span.after, heard))
    return Candidate(wave_S, finished, wer, context_S, problem)
