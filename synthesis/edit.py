"""Edit: other words in the middle of an utterance, in its own voice, with all the rest of it kept.

A model that only goes on cannot look at what follows a gap; so what follows is put before, as the prompt that lets the voice be
heard, then what precedes the gap, from which the model goes on with the new words. Both models meet what they were trained on:
an utterance behind another of its speaker. Outside the gap the recording itself is kept; at its edges the two are faded.

Shapes: S samples at 24 kHz, K codebooks, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import Word, similarity, word_error_rate, words_of
from voxbeam.models.text_normalization import normalize_text
from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE
from voxbeam.synthesis.generate import Generated, Request, generate
from voxbeam.synthesis.synthesizer import Take, Voice

FADE_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Words of an utterance that are to be replaced, and where they lie."""

    before: str
    after: str
    start: int
    """first frame"""
    end: int


def find_gap(words: Sequence[Word], phrase: str, frames: int, frame_rate: int) -> Gap:
    """Where a phrase stands among an utterance's words, cut halfway to its neighbours.

    Raises ValueError unless it is there exactly once.
    """
    heard = [" ".join(words_of(word.text)) for word in words]
    wanted = words_of(phrase)
    places = [i for i in range(len(heard) - len(wanted) + 1) if heard[i : i + len(wanted)] == wanted]
    if not wanted or len(places) != 1:
        problem = "is there more than once: name more of the words around it" if wanted and places else "is not in it"
        raise ValueError(f"{phrase!r} {problem}; the recognizer hears {' '.join(word.text for word in words)!r}")
    first, last = places[0], places[0] + len(wanted)
    start_s = (words[first - 1].end_s + words[first].start_s) / 2 if first else 0.0
    end_s = (words[last - 1].end_s + words[last].start_s) / 2 if last < len(words) else frames / frame_rate
    return Gap(
        before=" ".join(word.text for word in words[:first]),
        after=" ".join(word.text for word in words[last:]),
        start=min(frames, round(start_s * frame_rate)),
        end=min(frames, round(end_s * frame_rate)),
    )


def edit(voice: Voice, phrase: str, replacement: str, *, best_of: int = 1, seed: int = 0) -> Take:
    """The voice's prompt, a whole utterance, with a phrase replaced; by nothing, if the replacement is "".

    Of several takes, the one whose whole text is heard best. Raises ValueError where the phrase is not there exactly once.
    """
    wave_S, codes_KT = voice.prompt.wave_S, voice.prompt_KP
    gap = find_gap(voice.recognizer.words(wave_S), phrase, codes_KT.shape[1], voice.codec.frame_rate)
    if not replacement.strip():
        takes = [Generated(codes_KT[:, :0], ended=True)]
    else:
        context_KP = np.concatenate([codes_KT[:, gap.end :], codes_KT[:, : gap.start]], axis=1)
        request: Request = voice.request_behind([gap.after, gap.before], context_KP, replacement)
        takes = generate(voice.ar, voice.nar, [request] * best_of, voice.sampling, seed=seed)
    text = normalize_text(f"{gap.before} {replacement} {gap.after}")
    judged = [_judged(voice, gap, take, text) for take in takes]
    return min(judged, key=lambda take: (not take.ended, take.errors, -take.similarity))


def _judged(voice: Voice, gap: Gap, made: Generated, text: str) -> Take:
    codes_KT = voice.prompt_KP
    whole_KT = np.concatenate([codes_KT[:, : gap.start], made.codes_KT, codes_KT[:, gap.end :]], axis=1)
    made_S = voice.codec.decode([whole_KT])[0][gap.start * CODEC_HOP : (gap.start + made.codes_KT.shape[1]) * CODEC_HOP]
    sound_S = splice(voice.prompt.wave_S, made_S, gap.start * CODEC_HOP, gap.end * CODEC_HOP)
    errors = word_error_rate(text, normalize_text(voice.recognizer.hear(sound_S)))
    return Take(sound_S, made.ended, errors, similarity(sound_S, voice.prompt.wave_S))


def splice(recorded_S: NDArray[np.float32], made_S: NDArray[np.float32], start: int, end: int) -> NDArray[np.float32]:
    """The recording with what lies from `start` to `end` replaced; over short fades inside what was made, both are heard."""
    made_S, end = made_S.copy(), min(end, len(recorded_S))
    fade = min(round(FADE_S * CODEC_RATE), len(made_S) // 2, end - start)
    if fade > 0:
        rising = np.linspace(0, 1, fade, dtype=np.float32)
        made_S[:fade] = made_S[:fade] * rising + recorded_S[start : start + fade] * (1 - rising)
        made_S[-fade:] = made_S[-fade:] * (1 - rising) + recorded_S[end - fade : end] * rising
    return np.concatenate([recorded_S[:start], made_S, recorded_S[end:]])
