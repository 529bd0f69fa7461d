"""Link: the units of one recording → its row in the manifest, its voices, and whose samples its units have."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from voxbeam.pipeline.error_reports import reports_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.probe import quarantined_row
from voxbeam.pipeline.steps.units import FAILED
from voxbeam.schemas.config import PackConfig
from voxbeam.schemas.errors import Failure, StageError
from voxbeam.schemas.identity import VoiceRow, voice_key
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.policy_config import ExcludeConfig
from voxbeam.schemas.unit import SegmentTotals, UnitResult
from voxbeam.transforms.identity.voices import real_name
from voxbeam.transforms.link_speakers import link_speakers, name_speakers

UNIT_VOICES, RECORDINGS = "unit_voices", "recordings"
"""side outputs of LinkRecordings"""
_SILENCE_PEAK = 1e-3
"""−60 dBFS"""


@dataclass(frozen=True, kw_only=True)
class UnitVoices:
    """Whose samples a unit has."""

    unit: str
    order: str
    """key of the unit's first possible sample; units in this order give samples in order of key"""
    recording: str
    voices: dict[str, VoiceRow]
    """label within the unit → voice of the recording, without its embedding"""
    bytes: dict[str, int]
    """by label"""
    language: str | None
    """as listed"""
    license: str | None
    consent_basis: str | None


@dataclass(frozen=True, kw_only=True)
class FinishedRecording:
    """A recording that is done or partial, its voices, and the speakers of each unit. Its rejections are read from the units."""

    row: RecordingRow
    speakers: dict[str, dict[str, str]]
    """unit → label within the unit → speaker"""
    voices: tuple[VoiceRow, ...] = ()
    """the one with the most speech first"""
    excluded: frozenset[str] = frozenset()
    """speakers that are left out on purpose"""


def stable_hash(text: str) -> int:
    """A 64-bit hash that is the same in every process and on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def assign_split(split_key: str, config: PackConfig) -> str:
    """The split of an identity: a pure function of a text that it keeps, so it is in exactly one."""
    position = stable_hash(f"split:{split_key}") / 2**64
    if position < config.test_fraction:
        return "test"
    return "valid" if position < config.test_fraction + config.valid_fraction else "train"


def summarize_recording(
    results: list[UnitResult], link_threshold: float, exclude: ExcludeConfig | None = None
) -> FinishedRecording | RecordingRow:
    """One recording from the results of its units in order: its time accounted for, or quarantined if no unit is of use.

    What the policy accepts of speakers that `exclude` names counts as rejected.
    """
    recording, source = results[0].unit.recording, results[0].unit.source
    results = _close_gaps(results)
    finished = [result for result in results if result.failure is None]
    failed = [result for result in results if result.failure is not None]
    if failure := _find_failure(results, finished):
        return quarantined_row(recording, failure, source)
    links = link_speakers([result.speakers for result in finished], link_threshold)
    n_speakers = max((n for link in links for n in link.values()), default=-1) + 1
    listed = real_name(recording.speaker, recording.recording)
    names = name_speakers(recording.recording, listed, n_speakers)
    speakers = {r.unit.name: {label: names[n] for label, n in link.items()} for r, link in zip(finished, links, strict=True)}
    excluded = _excluded(recording.recording, names, exclude or ExcludeConfig())
    accepted, rejected = SegmentTotals(), SegmentTotals()
    for result in finished:
        rejected += result.rejected
        for label, totals in result.accepted.items():
            if speakers[result.unit.name][label] in excluded:
                rejected += totals
            else:
                accepted += totals
    row = RecordingRow(
        **vars(recording),
        **vars(source),
        status="partial" if failed else "done",
        accepted_ms=accepted.ms,
        rejected_ms=rejected.ms,
        non_speech_ms=sum(r.end_ms - r.start_ms for r in finished) - accepted.ms - rejected.ms,
        failed_ms=sum(r.end_ms - r.start_ms for r in failed),
        samples=accepted.segments,
        rejections=rejected.segments,
        speakers=len(names),
        units=[result.unit.name for result in finished],
        failed_windows=[{"start_ms": r.start_ms, "end_ms": r.end_ms, **vars(r.failure)} for r in failed] or None,
        **(vars(failed[0].failure) if failed else {}),
    )
    voices = _make_voices(recording.recording, listed, names, finished, links)
    return FinishedRecording(row=row, speakers=speakers, voices=voices, excluded=excluded)


def _excluded(recording: str, names: list[str], exclude: ExcludeConfig) -> frozenset[str]:
    """Those of a recording's speakers that are left out, by name or by voice."""
    return frozenset(
        name
        for number, name in enumerate(names)
        if name in exclude.speakers or voice_key(recording, number + 1) in exclude.voices
    )


def _make_voices(
    recording: str, listed: str | None, names: list[str], finished: list[UnitResult], links: list[dict[str, int]]
) -> tuple[VoiceRow, ...]:
    """The linked speakers of a recording: each with the mean of its embeddings, weighted by speech."""
    sums, speech = [np.zeros(0) for _ in names], [0] * len(names)
    for result, link in zip(finished, links, strict=True):
        for speaker in result.speakers:
            number = link[speaker.label]
            embedding = np.asarray(speaker.embedding, np.float64) * max(1, speaker.speech_ms)
            sums[number] = sums[number] + embedding if len(sums[number]) else embedding
            speech[number] += speaker.speech_ms
    return tuple(
        VoiceRow(
            voice=voice_key(recording, number + 1),
            recording=recording,
            speaker=name,
            name=listed if number == 0 else None,
            speech_ms=speech[number],
            embedding=(sums[number] / norm).astype(np.float16).tobytes() if (norm := np.linalg.norm(sums[number])) > 0 else None,
        )
        for number, name in enumerate(names)
    )


def _close_gaps(results: list[UnitResult]) -> list[UnitResult]:
    """The results, of which each failed one reaches from the end of the unit before it to the start of the unit behind it.

    A unit that failed did not move its edges to pauses; its neighbors did.
    """
    closed: list[UnitResult] = []
    for result, following in zip(results, [*results[1:], None], strict=True):
        if result.failure is not None:
            before = closed[-1] if closed and closed[-1].unit.track == result.unit.track else None
            behind = following if following and following.unit.track == result.unit.track and not following.failure else None
            result = replace(
                result,
                start_ms=before.end_ms if before else result.unit.start_ms,
                end_ms=behind.start_ms if behind else result.unit.end_ms,
            )
        closed.append(result)
    return closed


def _find_failure(results: list[UnitResult], finished: list[UnitResult]) -> Failure | None:
    """Why the results of a recording's units cannot be used: no segment at all, or gaps between windows."""
    source = results[0].unit.source
    for track in source.tracks:
        windows = [result for result in results if result.unit.track == track]
        gaps = [b for a, b in pairwise(windows) if a.end_ms != b.start_ms]
        if gaps or not windows or windows[0].start_ms != 0 or windows[-1].end_ms != source.duration_ms:
            error = StageError(
                "windows", "its windows do not meet", "remove its units and build again; report it if it happens twice"
            )
            return Failure.from_exception("pack", error)
    segments = sum(t.segments for r in finished for t in r.accepted.values()) + sum(r.rejected.segments for r in finished)
    if segments:
        return None
    if failure := next((result.failure for result in results if result.failure), None):
        return failure
    silent = max(r.peak for r in finished) < _SILENCE_PEAK
    reason = ("silent", "no sample above −60 dBFS") if silent else ("no_speech", "the diarizer finds no speaker in it")
    error = StageError(*reason, "listen to the recording; take it out of the input if it contains no speech")
    return Failure.from_exception("decode" if silent else "diarize", error)


class LinkRecordings(beam.DoFn):
    """Results of one recording → FinishedRecording, and a UnitVoices for each unit with samples; FAILED if it is quarantined."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.accepted_ms = Metrics.counter("corpus", "accepted_ms")

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[bytes]]) -> Iterator[Any]:
        results = sorted(map(UnitResult.from_bytes, keyed[1]), key=attrgetter("unit.index"))
        finished = summarize_recording(results, self.job.config.link_speakers.threshold, self.job.policy.exclude)
        if isinstance(finished, RecordingRow):
            yield beam.pvalue.TaggedOutput(FAILED, finished)
            return
        row = finished.row
        self.accepted_ms.inc(row.accepted_ms)
        yield beam.pvalue.TaggedOutput(RECORDINGS, finished)
        by_speaker = {voice.speaker: replace(voice, embedding=None) for voice in finished.voices}
        for result in results:
            if result.failure:
                continue
            names = finished.speakers[result.unit.name]
            kept = {label: totals for label, totals in result.accepted.items() if names[label] not in finished.excluded}
            if not kept:
                continue
            unit_voices = UnitVoices(
                unit=result.unit.name,
                order=f"{row.recording}_{result.start_ms:08d}_{result.unit.index:06d}",
                recording=row.recording,
                voices={label: by_speaker[names[label]] for label in kept},
                bytes={label: totals.bytes for label, totals in kept.items()},
                language=row.language,
                license=row.license,
                consent_basis=row.consent_basis,
            )
            yield beam.pvalue.TaggedOutput(UNIT_VOICES, unit_voices)
