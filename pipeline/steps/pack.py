"""Pack: finished units → shards and manifest parts. Units are read again here, each by one or a few writers."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import pairwise
from operator import attrgetter
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from voxbeam.pipeline.error_reports import reports_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.release_writer import put_part
from voxbeam.pipeline.steps.shards import Member, sample_of, write_shards
from voxbeam.pipeline.steps.unit_file import read_unit_rows, unit_path
from voxbeam.pipeline.steps.units import FAILED, quarantined_row
from voxbeam.schemas.config import PackConfig
from voxbeam.schemas.errors import Failure, StageError
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SegmentRow, ShardRow
from voxbeam.schemas.release import ReleaseFile
from voxbeam.schemas.unit import UnitResult
from voxbeam.transforms.link_speakers import link_speakers, name_speakers

_UNITS_PER_REPORT = 2_000
SHARES, REPORTS = "shares", "reports"


@dataclass(frozen=True, kw_only=True)
class UnitShare:
    """The part of a unit that goes into one split: which of its speakers, under which names."""

    unit: str
    order: str
    """key of the unit's first possible sample; shares sorted by it give samples sorted by key"""
    speakers: dict[str, str]
    """label of the local speaker → speaker"""
    license: str | None
    consent_basis: str | None
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """A finished recording, with the speakers of each of its units by label; its rejections are read from the units."""

    row: RecordingRow
    speakers: dict[str, dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a writer made."""

    files: list[ReleaseFile] = field(default_factory=list)
    shards: list[ShardRow] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    recordings: list[str] = field(default_factory=list)
    """identifiers of done recordings"""


def stable_hash(text: str) -> int:
    """A hash that is the same in every process and on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def split_of(speaker: str, config: PackConfig) -> str:
    """The split of a speaker: a pure function of the name, so that no speaker is ever in two."""
    place = stable_hash(f"split:{speaker}") / 2**64
    if place < config.test_fraction:
        return "test"
    return "valid" if place < config.test_fraction + config.valid_fraction else "train"


def account(results: list[UnitResult], link_threshold: float) -> Report | RecordingRow:
    """The units of one recording, in order: done with its time accounted for, or quarantined because one of them failed."""
    recording, source = results[0].unit.recording, results[0].unit.source
    for result in results:
        if result.failure:
            return quarantined_row(recording, result.failure, source)
    broken = [b for a, b in pairwise(results) if a.end_ms != b.start_ms]
    if broken or results[0].start_ms != 0 or results[-1].end_ms != source.duration_ms:
        error = StageError(
            "windows", "its windows do not meet", "remove its units and build again; report it if it happens twice"
        )
        return quarantined_row(recording, Failure.from_exception("pack", error), source)
    segments = sum(t.segments for r in results for t in r.accepted.values()) + sum(r.rejected.segments for r in results)
    if segments == 0:
        silent = max(r.peak for r in results) < 1e-3
        reason = ("silent", "no sample above −60 dBFS") if silent else ("no_speech", "the diarizer finds no speaker in it")
        error = StageError(*reason, "check the recording by ear; take it out of the input if it holds no speech")
        return quarantined_row(recording, Failure.from_exception("decode" if silent else "diarize", error), source)
    links = link_speakers([result.speakers for result in results], link_threshold)
    names = name_speakers(
        recording.recording, recording.speaker, max((n for link in links for n in link.values()), default=-1) + 1
    )
    accepted_ms, rejected_ms = sum(r.accepted_ms for r in results), sum(r.rejected.ms for r in results)
    row = RecordingRow(
        **vars(recording),
        **vars(source),
        status="done",
        accepted_ms=accepted_ms,
        rejected_ms=rejected_ms,
        non_speech_ms=source.duration_ms - accepted_ms - rejected_ms,
        samples=sum(t.segments for r in results for t in r.accepted.values()),
        rejections=sum(r.rejected.segments for r in results),
        speakers=len(names),
        units=[result.unit.name for result in results],
    )
    speakers = {r.unit.name: {label: names[n] for label, n in link.items()} for r, link in zip(results, links, strict=True)}
    return Report(row=row, speakers=speakers)


class LinkRecordings(beam.DoFn):
    """Results of one recording → its share in each split, and its report."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.accepted_ms = Metrics.counter("corpus", "accepted_ms")

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[bytes]]) -> Iterator[Any]:
        results = sorted(map(UnitResult.from_bytes, keyed[1]), key=attrgetter("unit.index"))
        report = account(results, self.job.config.link_speakers.threshold)
        if isinstance(report, RecordingRow):
            yield beam.pvalue.TaggedOutput(FAILED, report)
            return
        self.accepted_ms.inc(report.row.accepted_ms)
        yield beam.pvalue.TaggedOutput(REPORTS, report)
        for result in results:
            names = report.speakers[result.unit.name]
            by_split: dict[str, dict[str, str]] = {}
            for label in result.accepted:
                by_split.setdefault(split_of(names[label], self.job.config.pack), {})[label] = names[label]
            for split, speakers in sorted(by_split.items()):
                share = UnitShare(
                    unit=result.unit.name,
                    order=f"{report.row.recording}_{result.start_ms:08d}",
                    speakers=speakers,
                    license=report.row.license,
                    consent_basis=report.row.consent_basis,
                    bytes=sum(result.accepted[label].bytes for label in speakers),
                )
                yield beam.pvalue.TaggedOutput(SHARES, (split, report.row.recording, share))


def bucket_of(
    share: tuple[str, str, UnitShare], bytes_by_split: dict[str, int], config: PackConfig
) -> tuple[tuple[str, int], UnitShare]:
    """((split, bucket), share): a recording's samples of a split stay together; the number of buckets follows from the bytes."""
    split, recording, unit_share = share
    buckets = bucket_count(bytes_by_split[split], config)
    return (split, stable_hash(f"bucket:{recording}") % buckets), unit_share


def bucket_count(split_bytes: int, config: PackConfig) -> int:
    """How many buckets a split of this many bytes has; all but very uneven ones make one shard each."""
    return max(1, -(-split_bytes // (config.target_shard_mb << 20)))


class WriteBucket(beam.DoFn):
    """Shares of a bucket → its shards and their part of the samples manifest. Holds one unit at a time."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @reports_errors
    def process(self, keyed: tuple[tuple[str, int], Iterable[UnitShare]]) -> Iterator[Made]:
        (split, bucket), shares = keyed
        in_order = sorted({share.order: share for share in shares}.values(), key=attrgetter("order"))
        max_bytes = self.job.config.pack.max_shard_mb << 20
        for shard, rows in write_shards(self.job.store, split, bucket, self._members(split, in_order), max_bytes):
            stem = shard.shard.rsplit("/", 1)[-1].removesuffix(".tar")
            part = put_part(self.job.store, "samples", stem, list(rows))
            tar = ReleaseFile(path=shard.shard, kind="shard", sha256=shard.sha256, bytes=shard.bytes, rows=shard.samples)
            counts = {"samples": shard.samples, "accepted_ms": shard.duration_ms, "frames": shard.frames}
            yield Made(files=[tar, part], shards=[shard], counts=counts)

    def _members(self, split: str, shares: list[UnitShare]) -> Iterator[Member]:
        for share in shares:
            for row in read_unit_rows(self.job.store.get(unit_path(share.unit)), accepted=True):
                if row.local_speaker in share.speakers:
                    yield sample_of(
                        row,
                        speaker=share.speakers[row.local_speaker],
                        split=split,
                        license=share.license,
                        consent_basis=share.consent_basis,
                    )


class WriteReports(beam.DoFn):
    """Reports of one part → the rejected and recordings manifests' parts."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @reports_errors
    def process(self, keyed: tuple[int, Iterable[Report]]) -> Iterator[Made]:
        reports = sorted({r.row.recording: r for r in keyed[1]}.values(), key=lambda r: r.row.recording)
        rejected = [row for report in reports for row in self._rejected(report)]
        rows = [report.row for report in reports]
        files = [put_part(self.job.store, "recordings", f"done-{keyed[0]:06d}", list(rows))]
        if rejected:
            files.append(put_part(self.job.store, "rejected", f"part-{keyed[0]:06d}", list(rejected)))
        counts = Counter(done=len(rows), rejected=len(rejected))
        for row in rows:
            counts.update(rejected_ms=row.rejected_ms, non_speech_ms=row.non_speech_ms, duration_ms=row.duration_ms or 0)
        yield Made(files=files, counts=dict(counts), recordings=[row.recording for row in rows])

    def _rejected(self, report: Report) -> Iterator[RejectedRow]:
        names = [f.name for f in fields(SegmentRow) if f.name != "speaker"]
        for unit in report.row.units:
            for row in read_unit_rows(self.job.store.get(unit_path(unit)), accepted=False):
                speaker = report.speakers[unit].get(row.local_speaker) if row.local_speaker else None
                yield RejectedRow(
                    **{name: getattr(row, name) for name in names},
                    speaker=speaker,
                    rejected_by=str(row.rejected_by),
                    reasons=row.reasons,
                )


def report_part(report: Report, units: int) -> tuple[int, Report]:
    """(part, report): the number of parts follows from the number of units."""
    return stable_hash(f"report:{report.row.recording}") % part_count(units), report


def part_count(units: int) -> int:
    """How many parts the recordings and the rejected manifests have."""
    return max(1, -(-units // _UNITS_PER_REPORT))
