"""What a corpus says of its recordings, and what is true of them, side by side."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voxbeam.corpus import Corpus
from voxbeam.evaluation.truth import Truth, name_of
from voxbeam.schemas.errors import TruthError
from voxbeam.schemas.manifest import RELEASED
from voxbeam.schemas.sample_keys import key_digest

_SAMPLE = ("key", "recording", "speaker", "start_ms", "end_ms", "text", "phones", "words", "split")
_REJECTED = ("key", "recording", "speaker", "start_ms", "end_ms", "text", "reasons", "rejected_by")


@dataclass(frozen=True, kw_only=True)
class BuiltSegment:
    """A segment of a release."""

    key: str
    speaker: str | None
    start_ms: int
    end_ms: int
    text: str
    phones: str = ""
    reasons: tuple[str, ...] = ()
    """empty if accepted"""

    @property
    def accepted(self) -> bool:
        return not self.reasons


@dataclass(kw_only=True)
class BuiltRecording:
    """A recording of a release, its segments in order of time, and its truth."""

    recording: str
    name: str
    """in the truth"""
    uri: str
    language: str
    channel: int | None
    duration_ms: int
    truth: Truth
    segments: list[BuiltSegment] = field(default_factory=list)

    @property
    def samples(self) -> list[BuiltSegment]:
        return [segment for segment in self.segments if segment.accepted]


@dataclass(frozen=True)
class Match:
    """The recordings of a release that have a truth, and what is left out."""

    recordings: list[BuiltRecording]
    without_truth: list[str]
    """recordings that the truth does not name"""
    not_built: list[str]
    """names of the truth that are in quarantine, or that no recording has"""
    with_tracks: list[str]
    """recordings whose channels are tracks of their own, which the truth does not tell apart"""


def match_truth(corpus: Corpus, truth: Mapping[str, Truth]) -> Match:
    """Puts a release and its truth together. Raises TruthError if no recording has a truth."""
    found: dict[str, BuiltRecording] = {}
    names, without, tracks = set[str](), list[str](), list[str]()
    columns = ["recording", "uri", "language", "status", "duration_ms", "channel", "channel_policy"]
    for row in _rows(corpus.recordings(columns)):
        name = name_of(truth, row["recording"], row["uri"])
        if name is None:
            without.append(row["recording"])
        elif row["channel_policy"] == "separate":
            tracks.append(row["recording"])
            names.add(name)
        elif row["status"] in RELEASED:
            names.add(name)
            found[row["recording"]] = BuiltRecording(
                recording=row["recording"],
                name=name,
                uri=row["uri"],
                language=row["language"] or "en",
                channel=row["channel"],
                duration_ms=row["duration_ms"],
                truth=truth[name],
            )
    if not found:
        raise TruthError(
            f"the truth names none of the recordings of {corpus.uri}",
            remedy="name a recording by its identifier (column `recording`) or by its file without the suffix; "
            f"one of each: {next(iter(without), 'none')}, {next(iter(sorted(truth)))}",
        )
    for row in _rows(corpus.samples(columns=list(_SAMPLE))):
        _add(found, row, ())
    for row in _rows(corpus.rejected(columns=list(_REJECTED))):
        _add(found, row, tuple(row["reasons"]))
    for one in found.values():
        one.segments.sort(key=lambda segment: segment.start_ms)
    return Match(list(found.values()), without, sorted(truth.keys() - names), tracks)


def _rows(reader: Any) -> Any:
    for batch in reader:
        yield from batch.to_pylist()


def _add(found: Mapping[str, BuiltRecording], row: Mapping[str, Any], reasons: tuple[str, ...]) -> None:
    if row["recording"] in found:
        segment = BuiltSegment(
            key=row["key"],
            speaker=row["speaker"],
            start_ms=row["start_ms"],
            end_ms=row["end_ms"],
            text=row["text"] or "",
            phones=row.get("phones") or "",
            reasons=reasons,
        )
        found[row["recording"]].segments.append(segment)


def choose_samples(recordings: list[BuiltRecording], count: int) -> list[tuple[BuiltRecording, BuiltSegment]]:
    """Samples to decode: the same ones whenever the release is the same, spread over its recordings."""
    queues = defaultdict[str, list[tuple[BuiltRecording, BuiltSegment]]](list)
    for one in recordings:
        queues[one.recording] = sorted(((one, sample) for sample in one.samples), key=lambda pair: key_digest(pair[1].key))
    rounds = max(map(len, queues.values()), default=0)
    order = sorted(queues, key=key_digest)
    return [queues[name][turn] for turn in range(rounds) for name in order if turn < len(queues[name])][:count]
