"""Measures a codec on utterances of speakers outside its training data, with Opus as a baseline.

Word errors are counted with Whisper, voices compared with CAM++, and sound quality predicted with DNSMOS. The embedded Whisper
model takes part in training a codec with `voxbeam.trainer.codec.asr_loss`: measure such a codec with another one as well.

Shapes: S samples at 24 kHz, K codebooks, T frames, E embedding values.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from voxbeam.evaluation.opus import opus_roundtrip
from voxbeam.models.codec import Codec
from voxbeam.models.dnsmos import dnsmos, open_model
from voxbeam.models.speech_metrics import WhisperTranscriber, embed_speaker, normalize_words
from voxbeam.models.words import word_errors
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.trainer.codec.codebooks import perplexity
from voxbeam.trainer.codec.data import AudioUtterance, read_at
from voxbeam.trainer.codec.losses import mel_distance

Wave = NDArray[np.float32]
X = TypeVar("X")
Y = TypeVar("Y")
ProgressCallback = Callable[[str, int, int], None]
"""called with a step's name, the items done, and the items in all"""
N_CODEBOOKS_MEASURED = (2, 4, 8)
"""1.5, 3 and 6 kbit/s"""
OPUS_KBPS = (6, 12)


@dataclass
class Measurement:
    """One utterance after one codec."""

    words: list[str]
    embedding_E: NDArray[np.float32]
    ovrl: float
    mel: float = 0.0
    """mel distance to the original"""
    si_sdr: float = 0.0
    """dB, to the original"""


@dataclass
class Row:
    """Metrics of one codec over all utterances; None where a metric does not apply."""

    codec: str
    kbps: float | None
    wer: float | None
    """percent, against the transcript of the original"""
    wer_text: float | None
    """percent, against the text"""
    ovrl: float
    """DNSMOS P.835 overall quality, 1 to 5"""
    mel: float | None
    """mel distance in nats, mean over five scales"""
    si_sdr: float | None
    """dB"""
    speaker_similarity: float | None
    """cosine of CAM++ embeddings with the original of the same utterance"""
    speaker_similarity_ratio: float | None
    """similarity to the speaker's other originals, divided by that of the original itself"""


@dataclass
class Report:
    """All metrics of a codec."""

    codec_sha256: str
    asr_model: str
    reference_asr: str | None
    """Whisper model that transcribed the originals where the corpus has no text; None if it has"""
    utterances: int
    speakers: int
    seconds: float
    words: int
    threads: int
    encode_speed: float
    """seconds of audio encoded per second of wall clock"""
    decode_speed: float
    perplexity: list[float]
    """of each codebook"""
    rows: list[Row] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    def to_markdown(self) -> str:
        table_rows = [
            [
                "codec",
                "kbit/s",
                "WER to original, %",
                "WER to text, %",
                "DNSMOS OVRL",
                "log-mel",
                "SI-SDR, dB",
                "SIM",
                "SIM ratio",
            ],
            ["---"] * 9,
        ]
        for row in self.rows:
            similarity = (row.speaker_similarity, row.speaker_similarity_ratio)
            values = (row.kbps, row.wer, row.wer_text, row.ovrl, row.mel, row.si_sdr, *similarity)
            digits = (1, 1, 1, 2, 3, 1, 3, 2)
            cells = ("–" if v is None else f"{v:.{d}f}" for v, d in zip(values, digits, strict=True))
            table_rows.append([row.codec, *cells])
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in table_rows)
        text = (
            "from the corpus" if self.reference_asr is None else f"transcript of the originals by Whisper ({self.reference_asr})"
        )
        return (
            f"{self.utterances} utterances, {self.speakers} speakers, {self.seconds:.0f} s, {self.words:,} words in the "
            f"transcripts of the originals by Whisper ({self.asr_model}). Codec {self.codec_sha256[:16]}.\n\n{table}\n\n"
            f"Text: {text}. SIM: cosine of CAM++ embeddings with the original of the same\nutterance. SIM ratio: similarity to "
            "the speaker's other originals, divided by that of the original itself.\n\n"
            f"Perplexity of codebooks 1…{len(self.perplexity)}: {', '.join(f'{p:.0f}' for p in self.perplexity)}.\n"
            f"Wall clock, {self.threads} threads: encode {self.encode_speed:.0f}×, decode {self.decode_speed:.0f}× real time.\n"
        )


def report(
    codec: Codec,
    utterances: Sequence[AudioUtterance],
    asr_model: str = "embedded",
    reference_asr: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> Report:
    """Measures a codec on utterances. Whisper models are named as in `voxbeam.models.whisper_models`.

    `reference_asr` transcribes the originals of utterances without a text. `on_progress` is called after every utterance of a
    step.
    """

    def each(name: str, function: Callable[[X], Y], items: Sequence[X]) -> list[Y]:
        results = []
        for done, item in enumerate(items, start=1):
            results.append(function(item))
            if on_progress is not None:
                on_progress(name, done, len(items))
        return results

    def timed(name: str, function: Callable[[X], Y], items: Sequence[X]) -> tuple[list[Y], float]:
        function(items[0])  # warm-up
        began = time.perf_counter()
        results = each(name, function, items)
        return results, time.perf_counter() - began

    waves = [read_at(utterance, CODEC_RATE) for utterance in utterances]
    codes, encode_s = timed("encode", lambda wave_S: codec.encode([wave_S])[0], waves)
    _, decode_s = timed("decode", lambda codes_KT: codec.decode([codes_KT])[0], codes)
    seconds = sum(map(len, waves)) / CODEC_RATE
    threads = torch.get_num_threads()  # before CTranslate2 is loaded, which changes it
    meters = QualityMeters(asr_model)
    texts = [normalize_words(utterance.text) if utterance.text else None for utterance in utterances]
    if reference_asr is not None:
        reference = WhisperTranscriber(reference_asr)
        texts = each(
            "text",
            lambda pair: pair[0] or normalize_words(reference.transcribe(pair[1], beam_size=5)),
            [*zip(texts, waves, strict=True)],
        )
    originals = each("originals", meters.measure, waves)
    result = Report(
        codec_sha256=codec.sha256,
        asr_model=asr_model,
        reference_asr=reference_asr,
        utterances=len(utterances),
        speakers=len({utterance.speaker for utterance in utterances}),
        seconds=round(seconds, 1),
        words=sum(len(one.words) for one in originals),
        threads=threads,
        encode_speed=round(seconds / encode_s, 1),
        decode_speed=round(seconds / decode_s, 1),
        perplexity=[round(perplexity(torch.from_numpy(codes_T).long()), 1) for codes_T in np.concatenate(codes, axis=1)],
    )
    rows = _RowBuilder(utterances, texts, originals)
    result.rows.append(rows.build("original", None, originals))
    for n in (n for n in N_CODEBOOKS_MEASURED if n <= codec.n_codebooks):
        decoded = [codec.decode([codes_KT[:n]])[0][: len(wave_S)] for codes_KT, wave_S in zip(codes, waves, strict=True)]
        measured = each(f"{n} codebooks", lambda pair: meters.compare(*pair), [*zip(waves, decoded, strict=True)])
        result.rows.append(rows.build(f"codec, {n} codebooks", n * 0.75, measured))
    for kbps in OPUS_KBPS:
        encoded = [opus_roundtrip(wave_S, kbps) for wave_S in waves]
        pairs = [(wave_S, y_S) for wave_S, (y_S, _) in zip(waves, encoded, strict=True)]
        measured = each(f"Opus {kbps}", lambda pair: meters.compare(*pair), pairs)
        result.rows.append(rows.build("Opus", float(np.mean([rate for _, rate in encoded])), measured))
    return result


class QualityMeters:
    """The models behind the metrics: Whisper, CAM++ and DNSMOS."""

    def __init__(self, asr_model: str) -> None:
        self.transcriber = WhisperTranscriber(asr_model)
        self.dnsmos = open_model("cpu")

    def measure(self, wave_S: Wave) -> Measurement:
        return Measurement(
            words=normalize_words(self.transcriber.transcribe(wave_S)),
            embedding_E=embed_speaker(wave_S),
            ovrl=dnsmos(self.dnsmos, soxr.resample(wave_S, CODEC_RATE, ASR_RATE)).ovrl,
        )

    def compare(self, original_S: Wave, decoded_S: Wave) -> Measurement:
        measured = self.measure(decoded_S)
        x_11S, y_11S = (torch.from_numpy(wave_S)[None, None] for wave_S in (original_S, decoded_S))
        measured.mel = float(mel_distance(x_11S, y_11S))
        measured.si_sdr = si_sdr(original_S, decoded_S)
        return measured


def si_sdr(original_S: Wave, decoded_S: Wave) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, arXiv 1811.02508, section 2)."""
    x, y = original_S.astype(np.float64), decoded_S.astype(np.float64)
    target = (x @ y) / max(float(x @ x), 1e-12) * x
    noise = y - target
    return float(10 * np.log10(max(float(target @ target), 1e-12) / max(float(noise @ noise), 1e-12)))


@dataclass
class _RowBuilder:
    """What all rows are compared with."""

    utterances: Sequence[AudioUtterance]
    texts: Sequence[list[str] | None]
    originals: Sequence[Measurement]

    def build(self, codec: str, kbps: float | None, measured: Sequence[Measurement]) -> Row:
        with_text = [(text, one.words) for text, one in zip(self.texts, measured, strict=True) if text is not None]
        ovrl = float(np.mean([one.ovrl for one in measured]))
        row = Row(codec, kbps, None, _word_error_percent(with_text), ovrl, None, None, None, None)
        if measured is self.originals:
            return row
        pairs = [*zip(self.originals, measured, strict=True)]
        row.wer = _word_error_percent([(original.words, one.words) for original, one in pairs])
        row.mel = float(np.mean([one.mel for one in measured]))
        row.si_sdr = float(np.mean([one.si_sdr for one in measured]))
        row.speaker_similarity = float(np.mean([original.embedding_E @ one.embedding_E for original, one in pairs]))
        row.speaker_similarity_ratio = self.speaker_similarity_ratio(measured)
        return row

    def speaker_similarity_ratio(self, measured: Sequence[Measurement]) -> float | None:
        """Similarity of decoded utterances to others of their speaker, divided by that of the originals; None without pairs."""
        speakers = [utterance.speaker for utterance in self.utterances]
        pairs = [(i, j) for i, one in enumerate(speakers) for j, other in enumerate(speakers) if i != j and one == other]
        if not pairs:
            return None
        own = sum(float(self.originals[i].embedding_E @ self.originals[j].embedding_E) for i, j in pairs)
        return sum(float(measured[i].embedding_E @ self.originals[j].embedding_E) for i, j in pairs) / own


def _word_error_percent(pairs: Sequence[tuple[list[str], list[str]]]) -> float | None:
    words = sum(len(reference) for reference, _ in pairs)
    return 100 * sum(word_errors(*pair) for pair in pairs) / words if words else None


def write_report(result: Report, folder: Path) -> None:
    """Writes report.json, and report.md for the model card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(result.to_json())
    (folder / "report.md").write_text(result.to_markdown())
