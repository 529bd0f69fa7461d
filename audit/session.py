"""Session: an audit as its page sees it — clips in order, their audio, and what was answered. Safe for several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from voxbeam.audit.answers import ANSWERS, AnswerLog, latest, put_plan, read_answers
from voxbeam.audit.plan import AuditPlan
from voxbeam.corpus import Corpus
from voxbeam.exports.parts import Sample, read_samples
from voxbeam.exports.sound import choose_sound, encode, kept_flac, open_sound
from voxbeam.schemas.errors import NotInCorpusError, VoxbeamError
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.releases import table_batches


@dataclass
class _Said:
    answer: str
    correction: str | None


class AuditSession:
    """An audit by one person.

    Args:
        corpus: the release.
        plan: its clips.
        log: where answers go.
        signer: the public key of the person, whose earlier answers are resumed.
        sound: where the audio is from: `kept`, `codes` or `sources`; None: kept audio where every clip has it, else codes.
    """

    def __init__(self, corpus: Corpus, plan: AuditPlan, log: AnswerLog, signer: str, sound: str | None = None) -> None:
        self.corpus, self.plan, self._log = corpus, plan, log
        self._lock = threading.Lock()
        self._sound_lock = threading.Lock()
        self._sound_of: Callable[[Sample], Any] | None = None
        self._rows = _find_rows(corpus, [clip.key for clip in plan.clips])
        keeps_audio = all(row["flac_bytes"].null_count == 0 for row in self._rows.values())
        self._sound = choose_sound(sound, keeps_audio, corpus.codec_name)
        self._weights = {stratum.name: stratum.weight for stratum in plan.strata}
        put_plan(corpus.store, plan)
        answers, _ = read_answers(corpus.store, plan)
        self._said = {
            key: _Said(str(answer.answer), answer.correction) for (by, key), answer in latest(answers).items() if by == signer
        }
        self._order = list(self._said)

    @property
    def answered(self) -> int:
        return len(self._said)

    def state(self) -> dict[str, Any]:
        """What the page needs at its start: no score and no stratum, which would tell the listener what to expect."""
        with self._lock:
            clips = [
                {"text": self._text(clip.key), "ms": self._rows[clip.key]["duration_ms"][0].as_py(), **self._answer(clip.key)}
                for clip in self.plan.clips
            ]
            return {"clips": clips, "answers": list(ANSWERS), "corpus": self.corpus.uri, "release": self.corpus.name}

    def audio(self, number: int) -> bytes:
        """The FLAC of a clip. Raises NotInCorpusError when there is no such clip, or no audio."""
        key = self._clip(number)
        ((sample,),) = read_samples(self.corpus.store, self.corpus.release, self._rows[key], kept=self._sound == "kept")
        if self._sound == "kept":
            return kept_flac(sample)
        with self._sound_lock:  # one decoder, and one cut at a time
            if self._sound_of is None:
                self._sound_of = open_sound(self._sound, self.corpus)
            return encode(self._sound_of(sample))

    def answer(self, number: int, answer: str, correction: str | None = None) -> None:
        """Keeps an answer. A correction that is the text itself is none."""
        key = self._clip(number)
        correction = " ".join((correction or "").split()) or None
        if answer not in ANSWERS:
            raise VoxbeamError(f"{answer!r} is no answer")
        with self._lock:
            self._add(key, answer, correction if correction != self._text(key) else None)
            self._said[key] = _Said(answer, correction)
            self._order = [other for other in self._order if other != key] + [key]

    def undo(self) -> int | None:
        """Takes back the last answer; returns the number of its clip, None if there is none."""
        with self._lock:
            if not self._order:
                return None
            key = self._order.pop()
            self._add(key, None, None)
            del self._said[key]
            return next(number for number, clip in enumerate(self.plan.clips) if clip.key == key)

    def _add(self, key: str, answer: str | None, correction: str | None) -> None:
        stratum = next(clip.stratum for clip in self.plan.clips if clip.key == key)
        self._log.add(key, stratum, self._weights[stratum], self._text(key), answer, correction)

    def _answer(self, key: str) -> dict[str, str | None]:
        said = self._said.get(key)
        return {"answer": said.answer if said else None, "correction": said.correction if said else None}

    def _text(self, key: str) -> str:
        return str(self._rows[key]["text"][0].as_py() or "")

    def _clip(self, number: int) -> str:
        if not 0 <= number < len(self.plan.clips):
            raise NotInCorpusError(f"the audit has no clip {number}")
        return self.plan.clips[number].key


def _find_rows(corpus: Corpus, keys: list[str]) -> dict[str, pa.Table]:
    """The rows of some samples, each as a table of one row. Raises NotInCorpusError for a key that the release does not have."""
    wanted, found = pa.array(keys, pa.string()), dict[str, pa.Table]()
    for batch in table_batches(corpus.store, corpus.release, SampleRow):
        chosen = pa.Table.from_batches([batch.filter(pc.is_in(batch["key"], value_set=wanted))])
        for number, key in enumerate(chosen["key"].to_pylist()):
            found[key] = chosen.slice(number, 1)
    if missing := [key for key in keys if key not in found]:
        raise NotInCorpusError(f"release {corpus.name} of {corpus.uri} has no sample {missing[0]!r}")
    return found
