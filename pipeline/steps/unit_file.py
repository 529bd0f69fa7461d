"""Unit file: the result of a unit as one immutable Arrow object: its segments with codes, its speakers, its totals.

Put whole, once, under the unit's name; any later run with the same fingerprint uses it. Packing needs nothing else. The file
begins with a checksum of the rest, which every reader compares: a flipped bit in codes would otherwise become a sample.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import soundfile as sf

from voxbeam.schemas.columns import arrow_schema, check_schema
from voxbeam.schemas.errors import DamagedUnitError, SchemaError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.schemas.manifest import UnitRow, sample_key
from voxbeam.schemas.segment import LocalSpeaker, Segment
from voxbeam.schemas.unit import SegmentTotals, Unit, UnitResult
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.filter import chars_per_second

_MAGIC = b"voxbeam unit 1\n\0"
_TAR_OVERHEAD = 4 * 512  # two members, each with a header and half a block of padding; the JSON is counted by its text


def unit_path(name: str) -> str:
    """Path of a unit's result below the corpus; the first two letters of the name are a folder, so that folders stay small."""
    return f"units/{name[:2]}/{name}.arrow"


def write_unit(state: UnitState, *, keep_audio: bool) -> tuple[UnitResult, bytes]:
    """A finished unit as its result and the bytes of its file."""
    rows = [_row(state, segment, keep_audio) for segment in state.segments]
    result = _result(state, rows)
    header = {
        "start_ms": result.start_ms,
        "end_ms": result.end_ms,
        "peak": result.peak,
        "speakers": [asdict(speaker) for speaker in result.speakers],
        "accepted": {label: asdict(totals) for label, totals in result.accepted.items()},
        "rejected": asdict(result.rejected),
        "seconds": {stage: round(seconds, 4) for stage, seconds in state.seconds.items()},
    }
    schema = arrow_schema(UnitRow)
    schema = schema.with_metadata({**(schema.metadata or {}), b"unit": json.dumps(header).encode()})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(
            pa.Table.from_pylist([{f.name: getattr(row, f.name) for f in fields(row)} for row in rows], schema=schema)
        )
    body = sink.getvalue()
    return result, _MAGIC + hashlib.sha256(body).digest() + body


def read_result(content: bytes, unit: Unit) -> UnitResult:
    """The result of a unit from the bytes of its file. Raises DamagedUnitError."""
    with _damaged_errors():
        header = _header(_open(content).schema)
        speakers = ({**speaker, "embedding": tuple(speaker["embedding"])} for speaker in header["speakers"])
        return UnitResult(
            unit=unit,
            start_ms=header["start_ms"],
            end_ms=header["end_ms"],
            peak=header["peak"],
            speakers=tuple(LocalSpeaker(**speaker) for speaker in speakers),
            accepted={label: SegmentTotals(**totals) for label, totals in header["accepted"].items()},
            rejected=SegmentTotals(**header["rejected"]),
        )


def load_unit_rows(store: Store, name: str, *, accepted: bool) -> Iterator[UnitRow]:
    """The same of a unit in a corpus. Raises DamagedUnitError, naming the file."""
    path = unit_path(name)
    try:
        yield from read_unit_rows(store.get(path), accepted=accepted)
    except DamagedUnitError as error:
        raise DamagedUnitError(f"{store.uri(path)}: {error.message}", remedy=error.remedy) from error


def read_unit_rows(content: bytes, *, accepted: bool) -> Iterator[UnitRow]:
    """Accepted or rejected segments of a unit file, in order of time.

    Raises DamagedUnitError, and SchemaError for a file of another version.
    """
    with _damaged_errors():
        _, table = read_header_and_table(content)
        check_schema(UnitRow, table.schema)
        wanted = pc.equal(pc.equal(pc.list_value_length(table["reasons"]), 0), accepted)
        rows = [UnitRow(**row) for row in table.filter(wanted).to_pylist()]
    yield from rows


def read_header_and_table(content: bytes) -> tuple[dict[str, Any], pa.Table]:
    """The header of a unit file and all of its rows. Raises DamagedUnitError."""
    with _damaged_errors():
        reader = _open(content)
        table = reader.read_all()
        table.validate(full=True)  # offsets that point anywhere would crash what reads them
        return _header(reader.schema), table


def read_seconds(content: bytes) -> dict[str, float]:
    """Wall seconds that each stage took for a unit."""
    with _damaged_errors():
        seconds: dict[str, float] = _header(_open(content).schema)["seconds"]
        return seconds


@contextmanager
def _damaged_errors() -> Iterator[None]:
    """Turns what a file that is no unit raises into DamagedUnitError: one whose checksum is right may be another's."""
    try:
        yield
    except SchemaError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedUnitError(
            f"a file is no unit of this voxbeam ({type(error).__name__}: {error})",
            remedy="build again: the unit is then made anew",
        ) from error


def _open(content: bytes) -> pa.RecordBatchStreamReader:
    """A reader of the Arrow stream behind the checksum."""
    start = len(_MAGIC) + hashlib.sha256().digest_size
    digest, body = content[len(_MAGIC) : start], memoryview(content)[start:]
    if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        raise DamagedUnitError(
            f"a unit file of {len(content)} bytes does not match its checksum", remedy="build again: the unit is then made anew"
        )
    return pa.ipc.open_stream(pa.py_buffer(body))


def _header(schema: pa.Schema) -> dict[str, Any]:
    header: dict[str, Any] = json.loads((schema.metadata or {})[b"unit"])
    return header


def _result(state: UnitState, rows: list[UnitRow]) -> UnitResult:
    accepted: dict[str, SegmentTotals] = {}
    rejected = SegmentTotals()
    for row in rows:
        if row.reasons:
            rejected += SegmentTotals(segments=1, ms=row.duration_ms)
        else:
            size = len(row.codes or b"") + len(row.flac or b"") + 8 * len(row.text or "") + _TAR_OVERHEAD
            totals = SegmentTotals(segments=1, ms=row.duration_ms, bytes=size)
            accepted[str(row.local_speaker)] = accepted.get(str(row.local_speaker), SegmentTotals()) + totals
    return UnitResult(
        unit=state.unit,
        start_ms=state.require_audio().start_ms,
        end_ms=state.require_audio().end_ms,
        peak=state.peak,
        speakers=state.speakers,
        accepted=accepted,
        rejected=rejected,
    )


def _row(state: UnitState, segment: Segment, keep_audio: bool) -> UnitRow:
    t, s = segment.transcript, segment.scores
    recording = state.unit.recording.recording
    return UnitRow(
        key=sample_key(recording, segment.start_ms, segment.end_ms, state.unit.track),
        channel=state.unit.track,
        recording=recording,
        unit=state.unit.name,
        local_speaker=segment.speaker,
        start_ms=segment.start_ms,
        end_ms=segment.end_ms,
        duration_ms=segment.duration_ms,
        text=t.text if t else None,
        language=t.language if t else None,
        language_probability=t.language_probability if t else None,
        avg_logprob=t.avg_logprob if t else None,
        no_speech_prob=t.no_speech_prob if t else None,
        compression_ratio=t.compression_ratio if t else None,
        temperature=t.temperature if t else None,
        used_fallback=t.used_fallback if t else None,
        chars_per_second=chars_per_second(segment) if t else None,
        reference_wer=t.reference_wer if t else None,
        second_wer=t.second_wer if t else None,
        second_repeats=t.second_repeats if t else None,
        speech_ratio=segment.speech_ratio,
        voice_distance=segment.voice_distance,
        second_voice=segment.second_voice,
        dnsmos_ovrl=s.dnsmos_ovrl if s else None,
        dnsmos_sig=s.dnsmos_sig if s else None,
        dnsmos_bak=s.dnsmos_bak if s else None,
        snr_db=s.snr_db if s else None,
        bandwidth_hz=s.bandwidth_hz if s else None,
        clipping=s.clipping if s else None,
        loudness_lufs=s.loudness_lufs if s else None,
        dropouts=s.dropouts if s else None,
        background_tonality=s.background_tonality if s else None,
        phones=segment.phones,
        phone_ids=list(segment.phone_ids),
        words=[asdict(word) for word in t.words] if t and t.words else None,
        frames=segment.codes.shape[1] if segment.codes is not None else 0,
        codes=segment.codes.tobytes() if segment.codes is not None else None,
        flac=_flac(state, segment) if keep_audio and segment.accepted else None,
        rejected_by=segment.rejected_by,
        reasons=list(segment.reasons),
    ).check()


def _flac(state: UnitState, segment: Segment) -> bytes:
    sink = io.BytesIO()
    sf.write(sink, state.require_audio().slice24k(segment.start_ms, segment.end_ms), CODEC_RATE, format="FLAC", subtype="PCM_16")
    return sink.getvalue()
