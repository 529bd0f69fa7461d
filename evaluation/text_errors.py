"""Errors of the transcripts of samples against what is really said in them, and words that their edges cut.

Words with times of their own belong to the sample that holds most of them. Turns with only a text may reach over several samples,
and samples over several turns: those that overlap are compared together, and left out of the word error rate if a part of such a
turn is in no sample, since nobody knows which of its words are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from voxbeam.evaluation.built import BuiltRecording, BuiltSegment
from voxbeam.evaluation.truth import Truth
from voxbeam.models.words import spoken_words, word_errors

WHOLE = 0.9
"""of a turn, the part that must be in samples for its words to be compared"""
MIN_OVERLAP_MS = 100
CUT_MS = 50
"""an edge this far inside a word cuts it"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Samples next to each other, and what is really said in them."""

    samples: tuple[BuiltSegment, ...]
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]
    known: bool
    """whether it is known exactly which words are said in them"""

    @property
    def word_errors(self) -> int:
        return word_errors(self.reference, self.hypothesis)

    @property
    def character_errors(self) -> int:
        return word_errors(" ".join(self.reference), " ".join(self.hypothesis))


@dataclass(frozen=True, kw_only=True)
class _Piece:
    start_ms: int
    end_ms: int
    text: str | None
    is_word: bool


def compare_texts(built: BuiltRecording) -> list[Comparison]:
    """Every sample of a recording once, with those that must be compared together."""
    if not built.truth.has_text:
        return []
    groups: list[tuple[list[BuiltSegment], list[_Piece]]] = []
    pieces = _pieces(built.truth)
    for sample in built.samples:
        own = [piece for piece in pieces if _belongs(piece, sample)]
        shared = groups and any(piece in groups[-1][1] for piece in own)
        if not shared:
            groups.append(([], []))
        groups[-1][0].append(sample)
        groups[-1][1].extend(piece for piece in own if piece not in groups[-1][1])
    return [_comparison(samples, own, built.language) for samples, own in groups]


def _pieces(truth: Truth) -> list[_Piece]:
    if truth.words:
        return [_Piece(start_ms=word.start_ms, end_ms=word.end_ms, text=word.text, is_word=True) for word in truth.words]
    return [_Piece(start_ms=turn.start_ms, end_ms=turn.end_ms, text=turn.text, is_word=False) for turn in truth.turns]


def _overlap(piece: _Piece, sample: BuiltSegment) -> int:
    return min(piece.end_ms, sample.end_ms) - max(piece.start_ms, sample.start_ms)


def _belongs(piece: _Piece, sample: BuiltSegment) -> bool:
    half = (piece.end_ms - piece.start_ms) / 2
    return _overlap(piece, sample) >= (half if piece.is_word else min(half, MIN_OVERLAP_MS)) and _overlap(piece, sample) > 0


def _comparison(samples: Sequence[BuiltSegment], pieces: Sequence[_Piece], language: str) -> Comparison:
    known = all(
        piece.text is not None
        and (piece.is_word or sum(max(0, _overlap(piece, s)) for s in samples) >= WHOLE * (piece.end_ms - piece.start_ms))
        for piece in pieces
    )
    said = " ".join(piece.text or "" for piece in sorted(pieces, key=lambda piece: piece.start_ms))
    return Comparison(
        samples=tuple(samples),
        reference=spoken_words(said, language),
        hypothesis=spoken_words(" ".join(sample.text for sample in samples), language),
        known=known,
    )


def cut_words(built: BuiltRecording, segment: BuiltSegment) -> tuple[int, int]:
    """How many words of the truth an edge of a segment cuts, and how many it holds at least in part."""
    held = [word for word in built.truth.words if word.start_ms < segment.end_ms and word.end_ms > segment.start_ms]
    cut = [
        word
        for word in held
        if any(word.start_ms + CUT_MS < edge < word.end_ms - CUT_MS for edge in (segment.start_ms, segment.end_ms))
    ]
    return len(cut), len(held)


def phone_errors(comparison: Comparison, phonemize: Callable[[str], str]) -> tuple[int, int]:
    """Errors of the phones of samples against those of the true text, and how many those are; stress is not compared."""
    reference = plain_phones(phonemize(" ".join(comparison.reference)))
    return word_errors(reference, plain_phones(" ".join(sample.phones for sample in comparison.samples))), len(reference)


def plain_phones(phones: str) -> list[str]:
    """Phones without marks of stress and of words."""
    return [phone for phone in phones.split() if phone not in ("|", "ˈ", "ˌ")]
