"""The report on a codec: what is left of speech by people whom it never heard in training, beside Opus.

Words are counted by Whisper, voices compared by GE2E, sound judged by DNSMOS. (The embedded Whisper took part in training where
`voxbeam.trainer.codec.asr_loss` did; another recognizer then has to be asked too.)

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
from rich.progress import track

from voxbeam.evaluation.opus import through_opus
from voxbeam.models.codec import Codec
from voxbeam.models.dnsmos import dnsmos, open_model
from voxbeam.models.speech_metrics import Recognizer, voice_of, word_errors, words_of
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.trainer.codec.codebooks import perplexity
from voxbeam.trainer.codec.data import Utterance, read_at
from voxbeam.trainer.codec.losses import mel_distance

Wave = NDArray[np.float32]
X = TypeVar("X")
Y = TypeVar("Y")
BOOKS = (2, 4, 8)  # 1.5, 3 and 6 kbit/s
OPUS_KBPS = (6, 12)


@dataclass
class Heard:
    """One utterance after one coder, as the judges hear it."""

    words: list[str]
    embedding_E: NDArray[np.float32]
    ovrl: float
    mel: float = 0.0  # distance to the original
    si_sdr: float = 0.0  # dB, to the original


@dataclass
class Line:
    """One coder in the report, over all utterances."""

    coder: str
    kbps: float | None
    wer: float | None  # percent: words that differ from what is heard in the original
    wer_text: float | None  # percent: words that differ from the text
    ovrl: float  # DNSMOS P.835, 1..5
    mel: float | None  # ln units, five scales
    si_sdr: float | None  # dB
    likeness: float | None  # cosine of the voice with the original of the same utterance
    own_share: float | None  # likeness to the speaker's other originals, in shares of the original's own


@dataclass
class Report:
    codec: str  # sha256
    recognizer: str
    text_by: str | None  # recognizer that wrote the text, hearing originals, where the corpus has none
    utterances: int
    speakers: int
    seconds: float
    words: int
    threads: int
    encode_speed: float  # seconds of speech in a second of wall clock
    decode_speed: float
    perplexity: list[float]  # of each codebook
    lines: list[Line] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    def to_markdown(self) -> str:
        rows = [
            ["coder", "kbit/s", "WER to original, %", "WER to text, %", "DNSMOS OVRL", "log-mel", "SI-SDR, dB", "voice", "own"],
            ["---"] * 9,
        ]
        for line in self.lines:
            shown = (line.kbps, line.wer, line.wer_text, line.ovrl, line.mel, line.si_sdr, line.likeness, line.own_share)
            digits = (1, 1, 1, 2, 3, 1, 3, 2)
            rows.append([line.coder, *("–" if v is None else f"{v:.{d}f}" for v, d in zip(shown, digits, strict=True))])
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return (
            f"{self.utterances} utterances, {self.speakers} speakers, {self.seconds:.0f} s, {self.words:,} words as Whisper "
            f"({self.recognizer}) hears the originals. Codec {self.codec[:16]}.\n\n{table}\n\n"
            f"text: {'that of the corpus' if self.text_by is None else f'what {self.text_by} hears in the originals'}; "
            "voice: cosine of GE2E embeddings with the original of the same\nutterance; own: likeness to the speaker's other "
            "originals, in shares of the original's own.\n\n"
            f"Perplexity of codebooks 1…{len(self.perplexity)}: {', '.join(f'{p:.0f}' for p in self.perplexity)}.\n"
            f"Wall clock, {self.threads} threads: encode {self.encode_speed:.0f}×, decode {self.decode_speed:.0f}× real time.\n"
        )


def report(codec: Codec, utterances: Sequence[Utterance], recognizer: str = "embedded", text_by: str | None = None) -> Report:
    """Measures a codec on utterances; recognizers are Whisper models as `voxbeam.models.whisper_models` names them.

    `text_by` writes down what is said where the corpus does not tell.
    """
    waves = [read_at(utterance, CODEC_RATE) for utterance in utterances]
    codes, encode_s = _timed(lambda wave_S: codec.encode([wave_S])[0], waves, "encode")
    _, decode_s = _timed(lambda codes_KT: codec.decode([codes_KT])[0], codes, "decode")
    seconds = sum(map(len, waves)) / CODEC_RATE
    threads = torch.get_num_threads()  # before CTranslate2 is loaded, which sets them to its own
    ears = Ears(recognizer)
    texts = [words_of(utterance.text) if utterance.text else None for utterance in utterances]
    if text_by is not None:
        scribe = Recognizer(text_by)
        texts = [
            text or words_of(scribe.hear(wave_S, beam=5)) for text, wave_S in track([*zip(texts, waves, strict=True)], "text")
        ]
    originals = [ears.hear(wave_S) for wave_S in track(waves, "hear originals")]
    result = Report(
        codec=codec.sha256,
        recognizer=recognizer,
        text_by=text_by,
        utterances=len(utterances),
        speakers=len({utterance.speaker for utterance in utterances}),
        seconds=round(seconds, 1),
        words=sum(len(heard.words) for heard in originals),
        threads=threads,
        encode_speed=round(seconds / encode_s, 1),
        decode_speed=round(seconds / decode_s, 1),
        perplexity=[round(perplexity(torch.from_numpy(book_T).long()), 1) for book_T in np.concatenate(codes, axis=1)],
    )
    lines = _Lines(utterances, texts, originals)
    result.lines.append(lines.of("original", None, originals))
    for books in (b for b in BOOKS if b <= codec.n_codebooks):
        sounds = [codec.decode([codes_KT[:books]])[0][: len(wave_S)] for codes_KT, wave_S in zip(codes, waves, strict=True)]
        heard = [ears.compare(*pair) for pair in track([*zip(waves, sounds, strict=True)], f"{books} codebooks")]
        result.lines.append(lines.of(f"codec, {books} codebooks", books * 0.75, heard))
    for kbps in OPUS_KBPS:
        through = [through_opus(wave_S, kbps) for wave_S in waves]
        heard = [ears.compare(wave_S, y_S) for wave_S, (y_S, _) in track([*zip(waves, through, strict=True)], f"Opus {kbps}")]
        result.lines.append(lines.of("Opus", float(np.mean([rate for _, rate in through])), heard))
    return result


class Ears:
    """The judges: a recognizer of words, an encoder of voices and a predictor of opinions."""

    def __init__(self, recognizer: str) -> None:
        self.recognizer = Recognizer(recognizer)
        self.opinions = open_model("cpu")

    def hear(self, wave_S: Wave) -> Heard:
        return Heard(
            words=words_of(self.recognizer.hear(wave_S)),
            embedding_E=voice_of(wave_S),
            ovrl=dnsmos(self.opinions, soxr.resample(wave_S, CODEC_RATE, ASR_RATE)).ovrl,
        )

    def compare(self, original_S: Wave, decoded_S: Wave) -> Heard:
        heard = self.hear(decoded_S)
        x_11S, y_11S = (torch.from_numpy(wave_S)[None, None] for wave_S in (original_S, decoded_S))
        heard.mel = float(mel_distance(x_11S, y_11S))
        heard.si_sdr = si_sdr(original_S, decoded_S)
        return heard


def si_sdr(original_S: Wave, decoded_S: Wave) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, arXiv 1811.02508, section 2)."""
    x, y = original_S.astype(np.float64), decoded_S.astype(np.float64)
    target = (x @ y) / max(float(x @ x), 1e-12) * x
    noise = y - target
    return float(10 * np.log10(max(float(target @ target), 1e-12) / max(float(noise @ noise), 1e-12)))


@dataclass
class _Lines:
    """What all lines are compared with."""

    utterances: Sequence[Utterance]
    texts: Sequence[list[str] | None]
    originals: Sequence[Heard]

    def of(self, coder: str, kbps: float | None, heard: Sequence[Heard]) -> Line:
        said = [(text, h.words) for text, h in zip(self.texts, heard, strict=True) if text is not None]
        line = Line(coder, kbps, None, _error_rate(said), float(np.mean([h.ovrl for h in heard])), None, None, None, None)
        if heard is self.originals:
            return line
        pairs = [*zip(self.originals, heard, strict=True)]
        line.wer = _error_rate([(o.words, h.words) for o, h in pairs])
        line.mel = float(np.mean([h.mel for h in heard]))
        line.si_sdr = float(np.mean([h.si_sdr for h in heard]))
        line.likeness = float(np.mean([o.embedding_E @ h.embedding_E for o, h in pairs]))
        line.own_share = self.own_share(heard)
        return line

    def own_share(self, heard: Sequence[Heard]) -> float | None:
        """Mean likeness of decoded utterances to others by their speaker, over that of the originals; None without any pair."""
        speakers = [utterance.speaker for utterance in self.utterances]
        pairs = [(i, j) for i, one in enumerate(speakers) for j, other in enumerate(speakers) if i != j and one == other]
        if not pairs:
            return None
        own = sum(float(self.originals[i].embedding_E @ self.originals[j].embedding_E) for i, j in pairs)
        return sum(float(heard[i].embedding_E @ self.originals[j].embedding_E) for i, j in pairs) / own


def _error_rate(pairs: Sequence[tuple[list[str], list[str]]]) -> float | None:
    words = sum(len(reference) for reference, _ in pairs)
    return 100 * sum(word_errors(*pair) for pair in pairs) / words if words else None


def _timed(work: Callable[[X], Y], items: Sequence[X], what: str) -> tuple[list[Y], float]:
    """What work makes of each item, and the seconds that it took; the first item is done once before, to warm up."""
    work(items[0])
    began = time.perf_counter()
    done = [work(item) for item in track(items, what)]
    return done, time.perf_counter() - began


def write_report(result: Report, folder: Path) -> None:
    """report.json, and report.md for the codec's card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(result.to_json())
    (folder / "report.md").write_text(result.to_markdown())
