"""Unit file: the evidence of a unit as one immutable Arrow object: its segments with text, scores and codes, and its speakers.

Put whole, once, under the unit's name; any later run with the same fingerprint uses it, by whatever policy. Packing needs nothing
else. Who reads rows gives the policy by which they are accepted or rejected. The file begins with a checksum of the rest, which
every reader compares: a flipped bit in codes would otherwise become a sample.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import soundfile as sf

from voxbeam.pipeline.steps.unit_rows import as_segment, make_row
from voxbeam.schemas.columns import check_schema, rows_to_table
from voxbeam.schemas.errors import DamagedUnitError, SchemaError
from voxbeam.schemas.fingerprint import SOUND
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.schemas.manifest import UnitRow
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.segment import LocalSpeaker, Segment, Turn
from voxbeam.schemas.unit import SegmentTotals, Unit, UnitResult
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.policy import apply_policy, was_cut_well
from voxbeam.transforms.reuse import EarlierUnit

_MAGIC = b"voxbeam unit 1\n\0"
_HEAVY = ["codes", "further_codes", "flac", "words", "phone_ids"]
"""columns that no rule reads"""
_TAR_OVERHEAD = 4 * 512  # two members, each with a header and half a block of padding; the JSON is counted by its text


def unit_path(name: str) -> str:
    """Path of a unit's result below the corpus, in the folder of its window."""
    window, _, mark = name.partition("-")
    return f"{window_folder(window)}{mark}.arrow"


def window_folder(window: str) -> str:
    """The folder of all units of a window; its first two letters are a folder of their own, so that folders stay small."""
    return f"units/{window[:2]}/{window}/"


def write_unit(state: UnitState, stages: Mapping[str, str], *, keep_audio: bool) -> bytes:
    """A finished unit as the bytes of its file. `stages` are the fingerprints of the stages of the recording that it is of."""
    start_ms, end_ms = state.edges_ms
    header = {
        "stages": dict(stages),
        "start_ms": start_ms,
        "end_ms": end_ms,
        "peak": state.peak,
        "turns": [[turn.start_ms, turn.end_ms, turn.speaker] for turn in state.turns],
        "mixed": [list(span) for span in state.mixed],
        "speakers": [asdict(speaker) for speaker in state.speakers],
        "seconds": {stage: round(seconds, 4) for stage, seconds in state.seconds.items()},
    }
    sounds = (_flac(state, segment) if keep_audio and segment.codes is not None else None for segment in state.segments)
    rows = [vars(make_row(state.unit, segment, flac)) for segment, flac in zip(state.segments, sounds, strict=True)]
    table = rows_to_table(UnitRow, rows)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"unit": json.dumps(header).encode()})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body = sink.getvalue()
    return _MAGIC + hashlib.sha256(body).digest() + body


def read_result(content: bytes, unit: Unit, policy: Policy) -> UnitResult:
    """The result of a unit by a policy, from the bytes of its file. Raises DamagedUnitError, SchemaError for another version."""
    with _damaged_errors():
        header, table = read_header_and_table(content)
        rows, sizes = _parse_rows(table, whole=False), _sizes(table)
        result = UnitResult(
            unit=unit,
            start_ms=header["start_ms"],
            end_ms=header["end_ms"],
            peak=header["peak"],
            speakers=_speakers(header),
        )
    accepted: dict[str, SegmentTotals] = {}
    rejected = SegmentTotals()
    for row, size in zip(rows, sizes, strict=True):
        row = apply_policy(row, policy, language=unit.recording.language)
        if row.reasons:
            rejected += SegmentTotals(segments=1, ms=row.duration_ms)
        else:
            totals = SegmentTotals(segments=1, ms=row.duration_ms, bytes=size + 8 * len(row.text or "") + _TAR_OVERHEAD)
            accepted[str(row.local_speaker)] = accepted.get(str(row.local_speaker), SegmentTotals()) + totals
    return replace(result, accepted=accepted, rejected=rejected)


def load_unit_rows(store: Store, name: str, policy: Policy, language: str | None, *, whole: bool) -> Iterator[UnitRow]:
    """The rows of a unit of a corpus by a policy. Raises DamagedUnitError, naming the file."""
    path = unit_path(name)
    try:
        yield from read_unit_rows(store.get(path), policy, language, whole=whole)
    except FileNotFoundError as error:
        raise DamagedUnitError(
            f"{store.uri(path)} is gone", remedy="run the `voxbeam build` command of the corpus again, which makes missing units"
        ) from error
    except DamagedUnitError as error:
        raise DamagedUnitError(f"{store.uri(path)}: {error.message}", remedy=error.remedy) from error


def read_unit_rows(content: bytes, policy: Policy, language: str | None, *, whole: bool) -> Iterator[UnitRow]:
    """All segments of a unit file in order of time, accepted or rejected by a policy; with codes, sound and words if `whole`.

    `language` is that of the recording as listed. Raises DamagedUnitError, and SchemaError for a file of another version.
    """
    with _damaged_errors():
        rows = _parse_rows(read_header_and_table(content)[1], whole=whole)
    for row in rows:
        yield apply_policy(row, policy, language=language)


def _parse_rows(table: pa.Table, *, whole: bool) -> list[UnitRow]:
    """The rows as they are stored, in single precision: those of a unit that was just made get the same answer as later."""
    check_schema(UnitRow, table.schema)
    light = table if whole else table.drop_columns([name for name in _HEAVY if name in table.column_names])
    rows = [UnitRow(**({"phone_ids": []} | row)) for row in light.to_pylist()]
    unmeasured = next((row.key for row in rows if was_cut_well(row) and row.dnsmos_ovrl is None), None)
    if unmeasured is not None:
        raise ValueError(f"segment {unmeasured} has no scores")
    return rows


def _sizes(table: pa.Table) -> list[int]:
    """Bytes of codes and sound of each row, and of the members of further codes."""
    columns = (pc.fill_null(pc.binary_length(table[name]), 0) for name in ("codes", "flac"))
    sizes = [sum(pair) for pair in zip(*(column.to_pylist() for column in columns), strict=True)]
    if "further_codes" not in table.column_names:
        return sizes
    further = table["further_codes"].to_pylist()
    each = (sum(len(one["codes"]) + _TAR_OVERHEAD // 2 for one in some or ()) for some in further)
    return [size + more for size, more in zip(sizes, each, strict=True)]


def read_header_and_table(content: bytes) -> tuple[dict[str, Any], pa.Table]:
    """The header of a unit file and all of its rows. Raises DamagedUnitError."""
    with _damaged_errors():
        reader = _open(content)
        table = reader.read_all()
        table.validate(full=True)  # offsets that point anywhere would crash what reads them
        return _header(reader.schema), table


def read_stages(content: bytes) -> dict[str, str]:
    """The fingerprint of each stage that made a unit. Raises DamagedUnitError."""
    with _damaged_errors():
        stages = _header(_open(content).schema)["stages"]
        return {str(stage): str(mark) for stage, mark in stages.items()}


def read_earlier(content: bytes, run: frozenset[str]) -> EarlierUnit:
    """The whole content of a unit, for another of the same window, in which some stages run. Raises DamagedUnitError."""
    with _damaged_errors():
        header, table = read_header_and_table(content)
        rows = _parse_rows(table, whole=True)
        return EarlierUnit(
            run=run,
            start_ms=header["start_ms"],
            end_ms=header["end_ms"],
            peak=header["peak"],
            turns=tuple(Turn(start_ms=start, end_ms=end, speaker=label) for start, end, label in header["turns"]),
            speakers=_speakers(header),
            mixed=tuple((start, end) for start, end in header["mixed"]),
            segments=tuple(map(as_segment, rows)),
            flac={row.start_ms: row.flac for row in rows if row.flac is not None},
        )


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


def _speakers(header: dict[str, Any]) -> tuple[LocalSpeaker, ...]:
    return tuple(LocalSpeaker(**{**speaker, "embedding": tuple(speaker["embedding"])}) for speaker in header["speakers"])


def _flac(state: UnitState, segment: Segment) -> bytes:
    if state.earlier is not None and SOUND not in state.earlier.run and state.earlier.fits(state.segments):
        return state.earlier.flac[segment.start_ms]
    sink = io.BytesIO()
    sf.write(sink, state.require_audio().slice24k(segment.start_ms, segment.end_ms), CODEC_RATE, format="FLAC", subtype="PCM_16")
    return sink.getvalue()
