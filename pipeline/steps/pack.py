"""Pack: finished units → shards and manifest parts. Units are read again here, each by one or a few writers."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from operator import attrgetter

import apache_beam as beam

from voxbeam.pipeline.error_reports import reports_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.link import FinishedRecording, stable_hash
from voxbeam.pipeline.steps.release_writer import write_part
from voxbeam.pipeline.steps.shards import PackedSample, make_sample, write_shards, wrong_codes
from voxbeam.pipeline.steps.unit_file import load_unit_rows
from voxbeam.schemas.config import PackConfig
from voxbeam.schemas.manifest import RejectedRow, SampleRow, ShardRow, UnitRow
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.release import ReleaseFile
from voxbeam.schemas.segment_row import SegmentRow
from voxbeam.storage.store import Store
from voxbeam.transforms.policy import leave_out, was_cut_well

_UNITS_PER_PART = 2_000


@dataclass(frozen=True, kw_only=True)
class UnitSelection:
    """The samples of a unit that go into one split: those of some of its speakers."""

    unit: str
    order: str
    """key of the unit's first possible sample; selections in this order give samples in order of key"""
    speakers: dict[str, str]
    """label within the unit → speaker"""
    identities: dict[str, tuple[str, float | None]]
    """label → identity and confidence"""
    language: str | None
    """as listed"""
    license: str | None
    consent_basis: str | None
    bytes: int


@dataclass(frozen=True, kw_only=True)
class WriterOutput:
    """What a writer wrote."""

    files: list[ReleaseFile] = field(default_factory=list)
    shards: list[ShardRow] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    recordings: list[str] = field(default_factory=list)
    """identifiers of done recordings"""
    labels: dict[str, float] = field(default_factory=dict)
    """estimates of its identities"""
    replaced: list[str] = field(default_factory=list)
    """paths of files of the previous release that these stand for"""


def assign_shard_group(
    selection: tuple[str, str, UnitSelection], bytes_by_split: dict[str, int], config: PackConfig
) -> tuple[tuple[str, int], UnitSelection]:
    """(split, recording, selection) → ((split, shard group), selection).

    A recording's samples of a split stay together. The number of groups follows from the bytes of the split.
    """
    split, recording, unit_selection = selection
    groups = shard_group_count(bytes_by_split[split], config)
    return (split, stable_hash(f"bucket:{recording}") % groups), unit_selection


def shard_group_count(split_bytes: int, config: PackConfig) -> int:
    """Number of shard groups of a split of this many bytes. A group makes one shard, or a few if it is very large."""
    return max(1, -(-split_bytes // (config.target_shard_mb << 20)))


class WriteShards(beam.DoFn):
    """Selections of a shard group → its shards and their parts of the samples manifest. One unit in memory at a time."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @reports_errors
    def process(self, keyed: tuple[tuple[str, int], Iterable[UnitSelection]]) -> Iterator[WriterOutput]:
        (split, group), selections = keyed
        in_order = sorted({selection.order: selection for selection in selections}.values(), key=attrgetter("order"))
        max_bytes = self.job.config.pack.max_shard_mb << 20
        for shard, rows in write_shards(self.job.store, split, group, self._samples(split, in_order), max_bytes):
            counts = {"samples": shard.samples, "accepted_ms": shard.duration_ms, "frames": shard.frames}
            yield WriterOutput(files=shard_files(self.job.store, shard, rows), shards=[shard], counts=counts)

    def _samples(self, split: str, selections: list[UnitSelection]) -> Iterator[PackedSample]:
        for selection in selections:
            for row in load_unit_rows(self.job.store, selection.unit, self.job.policy, selection.language, whole=True):
                if not row.reasons and row.local_speaker in selection.speakers:
                    if missing := self.job.config.codecs.keys() - {one["codec"] for one in row.further_codes or ()}:
                        raise wrong_codes(row, f"was accepted without codes of {min(missing)}")
                    identity, confidence = selection.identities[row.local_speaker]
                    yield make_sample(
                        row,
                        speaker=selection.speakers[row.local_speaker],
                        identity=identity,
                        identity_confidence=confidence,
                        split=split,
                        license=selection.license,
                        consent_basis=selection.consent_basis,
                    )


def shard_files(store: Store, shard: ShardRow, rows: list[SampleRow]) -> list[ReleaseFile]:
    """A shard that is written, and its part of the samples manifest, which is put."""
    stem = shard.shard.rsplit("/", 1)[-1].removesuffix(".tar")
    tar = ReleaseFile(path=shard.shard, kind="shard", sha256=shard.sha256, bytes=shard.bytes, rows=shard.samples)
    return [tar, write_part(store, "samples", stem, list(rows))]


class WriteTables(beam.DoFn):
    """Finished recordings of one part → that part of the recordings, voices and rejected manifests."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @reports_errors
    def process(self, keyed: tuple[int, Iterable[FinishedRecording]]) -> Iterator[WriterOutput]:
        part, recordings = keyed
        finished = sorted({r.row.recording: r for r in recordings}.values(), key=lambda r: r.row.recording)
        rejected = [row for recording in finished for row in self._rejected(recording)]
        rows = [recording.row for recording in finished]
        files = [write_part(self.job.store, "recordings", f"done-{part:06d}", list(rows))]
        if rejected:
            files.append(write_part(self.job.store, "rejected", f"part-{part:06d}", list(rejected)))
        voices = [voice for recording in finished for voice in recording.voices]
        if voices:
            files.append(write_part(self.job.store, "voices", f"part-{part:06d}", list(voices)))
        counts = Counter(rejected=len(rejected), voices=len(voices), done=0, partial=0)
        for row in rows:
            times = {"rejected_ms": row.rejected_ms, "non_speech_ms": row.non_speech_ms, "failed_ms": row.failed_ms}
            counts.update({row.status: 1, "duration_ms": row.duration_ms or 0, **times})
        yield WriterOutput(files=files, counts=dict(counts), recordings=[row.recording for row in rows])

    def _rejected(self, recording: FinishedRecording) -> Iterator[RejectedRow]:
        names = [f.name for f in fields(SegmentRow) if f.name != "speaker"]
        for unit in recording.row.units:
            for row in judged_rows(self.job.store, self.job.policy, recording, unit):
                if not row.reasons:
                    continue
                speaker = recording.speakers[unit].get(row.local_speaker) if row.local_speaker else None
                yield RejectedRow(
                    **{name: getattr(row, name) for name in names},
                    speaker=speaker,
                    rejected_by=str(row.rejected_by),
                    reasons=row.reasons,
                )


def judged_rows(store: Store, policy: Policy, recording: FinishedRecording, unit: str) -> Iterator[UnitRow]:
    """The segments of a unit, without codes, as the release has them: by the policy, and without the speakers it leaves out."""
    names = recording.speakers[unit]
    for row in load_unit_rows(store, unit, policy, recording.row.language, whole=False):
        out = row.local_speaker is not None and names.get(row.local_speaker) in recording.excluded and was_cut_well(row)
        yield leave_out(row) if out else row


def assign_part(recording: FinishedRecording, units: int) -> tuple[int, FinishedRecording]:
    """Recording → (part, recording). The number of parts follows from the number of units."""
    return stable_hash(f"report:{recording.row.recording}") % part_count(units), recording


def part_count(units: int) -> int:
    """Number of parts of the recordings and of the rejected manifest."""
    return max(1, -(-units // _UNITS_PER_PART))
