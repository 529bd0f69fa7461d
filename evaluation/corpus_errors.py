"""Evaluates a built corpus against references: how wrong its labels are, how pure its samples, and what it lost.

Every figure is a ratio of sums over recordings, with the interval of a bootstrap over them (`ratios.py`).
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from voxbeam.corpus import Corpus
from voxbeam.evaluation.built import BuiltRecording, Match, choose_samples, match_truth
from voxbeam.evaluation.codec_loss import codec_loss
from voxbeam.evaluation.moments import MOMENT_MS, heard_in, lone_speech, moments, states
from voxbeam.evaluation.planted import Defect, KindResult, planted_results
from voxbeam.evaluation.ratios import Ratio, Ratios
from voxbeam.evaluation.speaker_errors import speaker_errors
from voxbeam.evaluation.text_errors import compare_texts, cut_words, phone_errors
from voxbeam.evaluation.truth import Truth
from voxbeam.models.phones import open_phonemizer
from voxbeam.models.speech_metrics import WhisperTranscriber

Progress = Callable[[str, int, int], None]
ABOUT = {
    "der": "diarization error rate where one person speaks: missed + false alarm + confusion / true speech",
    "der_missed": "true speech in no segment with a speaker / true speech",
    "der_false_alarm": "time in segments in which nobody speaks / true speech",
    "der_confusion": "time given to the wrong speaker / true speech",
    "kept": "lone speech in samples / lone speech (stretches of 2 s in which one person speaks)",
    "impure": "time of samples that hold 0.2 s or more of anyone else / time of samples",
    "split_persons": "persons with several labels / persons in samples",
    "wer": "word errors of the samples' text / words said in them",
    "cer": "character errors of the samples' text / characters said in them",
    "phone_errors": "errors of the samples' phones / phones of the true text",
    "words_compared": "words of samples whose truth is known word for word / words of samples",
    "cut_words": "words that an edge of a sample cuts / words in samples",
    "codec_wer": "words that the recognizer hears otherwise in the decoded sound / words that it hears in the source",
    "codec_similarity": "mean cosine of the decoded voice with that of the source (CAM++)",
}
"""figures, in the order in which they are shown"""


@dataclass
class CorpusEvaluation:
    """What is measured of a release."""

    output: str
    release: int
    match: Match
    ratios: Ratios
    samples: list[dict[str, Any]] = field(default_factory=list)
    """a row for each sample: what it holds, and what is said in it"""
    kinds: list[KindResult] = field(default_factory=list)
    """of planted defects, in recordings that were built"""
    unread: list[str] = field(default_factory=list)
    """samples whose source could not be read for the codec's loss"""

    def document(self) -> dict[str, Any]:
        """All of it as JSON, but for the rows of samples."""
        return {
            "output": self.output,
            "release": self.release,
            "recordings": len(self.match.recordings),
            "without_truth": self.match.without_truth,
            "not_built": self.match.not_built,
            "with_tracks": self.match.with_tracks,
            "unread": self.unread,
            "measures": [_measure(ratio) for ratio in self.ratios],
            "kinds": [asdict(kind) | kind.figures() for kind in self.kinds],
        }

    def write(self, folder: Path) -> None:
        """Writes evaluation.json, measures.parquet (a row for each recording and figure) and samples.parquet."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(
            json.dumps(self.document(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        rows = [
            {"measure": ratio.name, "recording": recording, "numerator": float(numerator), "denominator": float(denominator)}
            for ratio in self.ratios
            for recording, (numerator, denominator) in sorted(ratio.parts.items())
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=_MEASURES), folder / "measures.parquet")
        pq.write_table(pa.Table.from_pylist(self.samples, schema=_SAMPLES), folder / "samples.parquet")


_MEASURES = pa.schema(
    [("measure", pa.string()), ("recording", pa.string()), ("numerator", pa.float64()), ("denominator", pa.float64())]
)
_SAMPLES = pa.schema(
    [
        ("key", pa.string()),
        ("recording", pa.string()),
        ("speaker", pa.string()),
        ("person", pa.string()),
        ("foreign_ms", pa.int64()),
        ("impure", pa.bool_()),
        ("cut_words", pa.int64()),
        ("text", pa.string()),
        ("true_words", pa.string()),
        ("word_errors", pa.int64()),
        ("compared_with", pa.list_(pa.string())),
        ("codec_similarity", pa.float64()),
        ("codec_word_errors", pa.int64()),
    ]
)


def evaluate_corpus(
    corpus: Corpus,
    truth: Mapping[str, Truth],
    *,
    defects: Sequence[Defect] = (),
    collar_s: float = 0.25,
    codec_samples: int = 20,
    recognizer: str = "embedded-base",
    progress: Progress | None = None,
) -> CorpusEvaluation:
    """Measures a release against the truth of some or all of its recordings.

    Args:
        corpus: a release.
        truth: from `read_truth`.
        defects: planted in it, from `read_defects`.
        collar_s: of the diarization error rate, on either side of every true edge.
        codec_samples: samples to decode and compare with their source; 0 for none.
        recognizer: Whisper model that hears both.
        progress: called with a step's name, the items done, and the items in all.

    Raises TruthError if no recording has a truth, ModelError for what is not installed.
    """
    match = match_truth(corpus, truth)
    result = CorpusEvaluation(corpus.uri, corpus.release.number, match, Ratios(ABOUT))
    logging.getLogger("phonemizer").setLevel(logging.ERROR)  # it comments on every text
    phonemizer = open_phonemizer(str(corpus.release.config["phonemize"]["voice"]))
    for number, built in enumerate(match.recordings):
        if progress:
            progress("recordings", number, len(match.recordings))
        rows = {sample.key: _row(built, sample) for sample in built.samples}
        if built.truth.turns:
            _add_voices(result.ratios, built, rows, collar_s)
        _add_texts(result.ratios, built, rows, lambda text: phonemizer.phonemize([text])[0])
        result.samples += rows.values()
    if codec_samples:
        _add_codec(result, corpus, codec_samples, recognizer, progress)
    if defects:
        result.kinds = planted_results(match.recordings, defects)
    return result


def _row(built: BuiltRecording, sample: Any) -> dict[str, Any]:
    return {"key": sample.key, "recording": built.recording, "speaker": sample.speaker, "text": sample.text}


def _add_voices(ratios: Ratios, built: BuiltRecording, rows: dict[str, dict[str, Any]], collar_s: float) -> None:
    name = built.recording
    errors = speaker_errors(built, collar_s=collar_s, skip_overlap=True)
    for measure, seconds in (
        ("der", errors.all),
        ("der_missed", errors.missed),
        ("der_false_alarm", errors.false_alarm),
        ("der_confusion", errors.confusion),
    ):
        ratios.add(measure, name, seconds, errors.total)
    now = moments(built)
    lone_T = lone_speech(now)
    kept = int((states(built, len(lone_T))[lone_T] == "accepted").sum())
    ratios.add("kept", name, kept * MOMENT_MS / 1000, int(lone_T.sum()) * MOMENT_MS / 1000)
    labels = defaultdict[str, set[str]](set)
    for sample in built.samples:
        heard = heard_in(now, sample)
        seconds = (sample.end_ms - sample.start_ms) / 1000
        ratios.add("impure", name, seconds * heard.impure, seconds)
        rows[sample.key] |= {"person": heard.person, "foreign_ms": heard.foreign_ms, "impure": heard.impure}
        if heard.person is not None:
            labels[heard.person].add(str(sample.speaker))
    ratios.add("split_persons", name, sum(len(found) > 1 for found in labels.values()), len(labels))


def _add_texts(ratios: Ratios, built: BuiltRecording, rows: dict[str, dict[str, Any]], phonemize: Callable[[str], str]) -> None:
    name = built.recording
    for comparison in compare_texts(built):
        words = len(comparison.hypothesis)
        ratios.add("words_compared", name, words * comparison.known, words)
        if not comparison.known:
            continue
        ratios.add("wer", name, comparison.word_errors, len(comparison.reference))
        ratios.add("cer", name, comparison.character_errors, len(" ".join(comparison.reference)))
        ratios.add("phone_errors", name, *phone_errors(comparison, phonemize))
        for sample in comparison.samples:
            rows[sample.key] |= {
                "true_words": " ".join(comparison.reference),
                "word_errors": comparison.word_errors,
                "compared_with": [other.key for other in comparison.samples if other is not sample],
            }
    if built.truth.words:
        for sample in built.samples:
            cut, held = cut_words(built, sample)
            ratios.add("cut_words", name, cut, held)
            rows[sample.key]["cut_words"] = cut


def _add_codec(result: CorpusEvaluation, corpus: Corpus, count: int, recognizer: str, progress: Progress | None) -> None:
    chosen = choose_samples(result.match.recordings, count)
    losses, result.unread = codec_loss(corpus, chosen, WhisperTranscriber(recognizer), progress)
    rows = {row["key"]: row for row in result.samples}
    for loss in losses:
        result.ratios.add("codec_wer", loss.recording, loss.word_errors, loss.words)
        result.ratios.add("codec_similarity", loss.recording, loss.similarity, 1)
        rows[loss.key] |= {"codec_similarity": loss.similarity, "codec_word_errors": loss.word_errors}


def _measure(ratio: Ratio) -> dict[str, Any]:
    interval = ratio.interval()
    return {
        "measure": ratio.name,
        "value": ratio.value,
        "low": interval[0] if interval else None,
        "high": interval[1] if interval else None,
        "denominator": ratio.total,
        "recordings": sum(any(part) for part in ratio.parts.values()),
        "about": ratio.about,
    }
