"""Speech editing: replaces words in the middle of a recording, in the voice of its speaker, and keeps the rest unchanged.

The models only continue a prompt and cannot read what follows the replaced words. So the part after them is put first, as the
acoustic prompt, then the part before them, from which the model continues with the new words. This is what both models were
trained on: an utterance preceded by another of its speaker. Outside the span the recording is kept; at its edges the two are
cross-faded.

Shapes: S samples at 24 kHz, K codebooks, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import TimedWord, normalize_words, speaker_similarity, word_error_rate
from voxbeam.models.spoken_form import spoken_form
from voxbeam.schemas.errors import SynthesisError
from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE
from voxbeam.synthesis.generate import Generated, generate
from voxbeam.synthesis.synthesizer import Candidate, Synthesizer, best_of

FADE_S = 0.01


@dataclass(frozen=True, kw_only=True)
class EditSpan:
    """The words to replace: the text around them, and their frames."""

    before: str
    after: str
    start: int
    """first frame"""
    end: int


def find_span(words: Sequence[TimedWord], phrase: str, frames: int, frame_rate: int) -> EditSpan:
    """The frames of a phrase among transcribed words, with edges halfway to the neighboring words.

    Raises SynthesisError unless the phrase occurs exactly once.
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
    start_s = (words[first - 1].end_s + words[first].start_s) / 2 if first else 0.0
    end_s = (words[last - 1].end_s + words[last].start_s) / 2 if last < len(words) else frames / frame_rate
    return EditSpan(
        before=" ".join(word.text for word in words[:first]),
        after=" ".join(word.text for word in words[last:]),
        start=min(frames, round(start_s * frame_rate)),
        end=min(frames, round(end_s * frame_rate)),
    )


def edit(synthesizer: Synthesizer, phrase: str, replacement: str, *, candidates: int = 1, seed: int = 0) -> Candidate:
    """The synthesizer's prompt, a whole recording, with a phrase replaced; an empty replacement removes it.

    Of several candidates, the one whose whole transcript has the fewest word errors is kept. Raises SynthesisError unless the
    phrase occurs exactly once.
    """
    wave_S, codes_KT = synthesizer.prompt.wave_S, synthesizer.prompt_KP
    words = synthesizer.transcriber.transcribe_words(wave_S)
    span = find_span(words, phrase, codes_KT.shape[1], synthesizer.codec.frame_rate)
    if not replacement.strip():
        generated = [Generated(codes_KT[:, :0], finished=True)]
    else:
        context_KP = np.concatenate([codes_KT[:, span.end :], codes_KT[:, : span.start]], axis=1)
        request = synthesizer.request_with_context([span.after, span.before], context_KP, replacement)
        generated = generate(synthesizer.ar, synthesizer.nar, [request] * candidates, synthesizer.sampling, seed=seed)
    text = spoken_form(f"{span.before} {replacement} {span.after}").text
    return best_of([_insert(synthesizer, span, one, text) for one in generated])


def _insert(synthesizer: Synthesizer, span: EditSpan, generated: Generated, text: str) -> Candidate:
    codes_KT = synthesizer.prompt_KP
    edited_KT = np.concatenate([codes_KT[:, : span.start], generated.codes_KT, codes_KT[:, span.end :]], axis=1)
    decoded_S = synthesizer.codec.decode([edited_KT])[0]
    new_S = decoded_S[span.start * CODEC_HOP : (span.start + generated.codes_KT.shape[1]) * CODEC_HOP]
    wave_S = splice(synthesizer.prompt.wave_S, new_S, span.start * CODEC_HOP, span.end * CODEC_HOP)
    wer = word_error_rate(text, spoken_form(synthesizer.transcriber.transcribe(wave_S)).text)
    return Candidate(wave_S, generated.finished, wer, speaker_similarity(wave_S, synthesizer.prompt.wave_S))


def splice(recorded_S: NDArray[np.float32], new_S: NDArray[np.float32], start: int, end: int) -> NDArray[np.float32]:
    """The recording with samples `start` to `end` replaced, cross-faded over `FADE_S` at both ends of the new part."""
    new_S, end = new_S.copy(), min(end, len(recorded_S))
    fade = min(round(FADE_S * CODEC_RATE), len(new_S) // 2, end - start)
    if fade > 0:
        rising = np.linspace(0, 1, fade, dtype=np.float32)
        new_S[:fade] = new_S[:fade] * rising + recorded_S[start : start + fade] * (1 - rising)
        new_S[-fade:] = new_S[-fade:] * (1 - rising) + recorded_S[end - fade : end] * rising
    return np.concatenate([recorded_S[:start], new_S, recorded_S[end:]])
