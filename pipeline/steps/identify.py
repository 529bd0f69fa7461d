"""Identify: the voices of a release → its identities, in one worker; and whose a sample is, looked up by all of them.

Identities are found anew from all voices of a release, those of the previous one included, so the order in which recordings came
makes no difference to who is joined with whom. Only names are kept (transforms/identity/naming.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from voxbeam.pipeline.error_reports import reporting_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.link import UnitVoices, assign_split
from voxbeam.pipeline.steps.pack import UnitSelection, WriterOutput
from voxbeam.pipeline.steps.release_writer import write_part
from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.identity import IdentityRow, VoiceRow, voice_of
from voxbeam.schemas.release import ReleaseFile
from voxbeam.storage.releases import read_part_table, read_release, read_rows
from voxbeam.storage.sorted_keys import SortedKeys, key_digests
from voxbeam.storage.store import Store
from voxbeam.transforms.base import once_per_process
from voxbeam.transforms.identity.estimate import estimate
from voxbeam.transforms.identity.evidence import NAMES_ONLY, Calibration, Evidence, find_calibration
from voxbeam.transforms.identity.naming import Earlier, count_changes, name_identities
from voxbeam.transforms.identity.partition import find_identities
from voxbeam.transforms.identity.voices import Voices, make_voices

ROWS_PER_PART = 100_000


def identify(job: Job, new: list[ReleaseFile]) -> WriterOutput:
    """The identities of the voices of `new` parts, and of those of the previous release if the build extends it.

    Nothing without new parts: then the release stays as it is.
    """
    with reporting_errors(job):
        if not new:
            return WriterOutput(counts={} if job.extends_previous else {"identities": 0})
        previous = read_release(job.store, job.previous) if job.previous is not None else None
        parts = [*new, *(previous.files_of_kind("voices") if previous is not None and job.extends_previous else [])]
        voices, speakers, names = read_voices(job.store, [file.path for file in parts])
        calibration = find_calibration(job.config, voices.embedding_ND.shape[1])
        voices = replace(voices, embedding_ND=_comparable(voices.embedding_ND, calibration))
        evidence = Evidence(calibration or NAMES_ONLY, job.config.identify, len(voices))
        found = find_identities(voices, evidence)
        earlier = Earlier.of(read_rows(job.store, previous, IdentityRow) if previous is not None else ())
        rows = name_identities(voices, speakers, names, found, earlier, lambda key: assign_split(key, job.config.pack))
        files = [
            write_part(job.store, "identities", f"part-{start // ROWS_PER_PART:06d}", list(rows[start : start + ROWS_PER_PART]))
            for start in range(0, len(rows), ROWS_PER_PART)
        ]
        labels = {**estimate(voices, found, evidence), **count_changes(rows, earlier)}
        return WriterOutput(files=files, counts={"identities": len(rows)}, labels=labels)


def _comparable(embedding_ND: NDArray[np.float16], calibration: Calibration | None) -> NDArray[np.float16]:
    """Embeddings that can be compared: none of an encoder without a calibration, so that only listed names join voices."""
    return np.zeros_like(embedding_ND) if calibration is None else calibration.center(embedding_ND)


def read_voices(store: Store, paths: Sequence[str]) -> tuple[Voices, list[str], list[str | None]]:
    """Voices of some parts in order of key, with speaker and listed name of each. Raises SchemaError for mixed encoders."""
    tables = [read_part_table(store, VoiceRow, path) for path in sorted(paths)]
    table = pa.concat_tables(tables)
    keys = table["voice"].to_pylist()
    speakers, names = table["speaker"].to_pylist(), table["name"].to_pylist()
    embedding_ND = _embeddings(table["embedding"])
    voices = make_voices(keys, table["recording"].to_pylist(), names, table["speech_ms"].to_numpy(), embedding_ND)
    if len(set(keys)) < len(keys):
        raise SchemaError("a voice is in the release twice", remedy="build into a new output")
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return voices, [speakers[i] for i in order], [names[i] for i in order]


def _embeddings(column: pa.ChunkedArray) -> NDArray[np.float16]:
    """Embeddings [N, D], zero where there is none."""
    lengths = sorted(pc.unique(pc.binary_length(column.drop_null())).to_pylist())
    if len(lengths) > 1:
        raise SchemaError(
            f"voices have embeddings of {' and '.join(str(n // 2) for n in lengths)} values, of different encoders",
            remedy="build the corpus with one diarizer, into a new output",
        )
    width = lengths[0] // 2 if lengths else 1
    embedding_ND = np.zeros((len(column), width), np.float16)
    start = 0
    for chunk in column.chunks:
        rows = start + np.flatnonzero(chunk.is_valid().to_numpy(zero_copy_only=False))
        embedding_ND[rows] = np.frombuffer(b"".join(chunk.drop_null().to_pylist()), np.float16).reshape(-1, width)
        start += len(chunk)
    return embedding_ND


class Identities:
    """Whose each voice is: about 30 bytes of memory a voice."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        digests: list[NDArray[np.uint64]] = []
        numbers: list[NDArray[np.int64]] = []
        confidences: list[NDArray[np.float32]] = []
        self._names: list[str] = []
        self._splits: list[str] = []
        for table in tables:
            lists = table["voices"].combine_chunks()
            voices = lists.flatten().to_pylist()
            digests.append(key_digests(voices))
            counts = np.asarray(lists.value_lengths())
            numbers.append(np.repeat(len(self._names) + np.arange(len(table)), counts))
            confidences.append(table["confidences"].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32))
            self._names += table["identity"].to_pylist()
            self._splits += table["split"].to_pylist()
        self._voices, order = SortedKeys.of(digests)
        self._number = np.concatenate(numbers)[order] if digests else np.empty(0, np.int64)
        self._confidence = np.concatenate(confidences)[order] if digests else np.empty(0, np.float32)

    def find(self, voice: str) -> tuple[str, float | None, str]:
        """Identity, confidence and split of a voice. Raises SchemaError for one that the release does not have."""
        place = self._voices.find(voice)
        if place is None:
            raise SchemaError(
                f"no identity has the voice {voice}", remedy="build into a new output; report it if it happens twice"
            )
        number, confidence = int(self._number[place]), float(self._confidence[place])
        return self._names[number], None if np.isnan(confidence) else confidence, self._splits[number]

    def of_speaker(self, recording: str, speaker: str) -> tuple[str, float | None, str]:
        """The same of a sample's recording and speaker."""
        return self.find(voice_of(recording, speaker))


@once_per_process
def open_identities(output: str, paths: tuple[str, ...]) -> Identities:
    """The identities of some parts."""
    store = Store(output)
    return Identities(read_part_table(store, IdentityRow, path) for path in paths)


def assign_identities(unit: UnitVoices, job: Job, paths: tuple[str, ...]) -> Iterator[tuple[str, str, UnitSelection]]:
    """Voices of a unit → (split, recording, selection) for each split that its samples go into."""
    with reporting_errors(job):
        identities = open_identities(job.output, paths)
        found = {label: identities.find(voice.voice) for label, voice in unit.voices.items()}
    for split in sorted({where for _, _, where in found.values()}):
        labels = [label for label, (_, _, where) in found.items() if where == split]
        selection = UnitSelection(
            unit=unit.unit,
            order=unit.order,
            speakers={label: unit.voices[label].speaker for label in labels},
            identities={label: found[label][:2] for label in labels},
            language=unit.language,
            license=unit.license,
            consent_basis=unit.consent_basis,
            bytes=sum(unit.bytes[label] for label in labels),
        )
        yield split, unit.recording, selection


def identity_paths(output: WriterOutput) -> tuple[str, ...]:
    """Paths of the parts of the identities table."""
    return tuple(file.path for file in output.files if file.kind == "identities")


def voice_parts(output: WriterOutput) -> Iterator[ReleaseFile]:
    """The parts of the voices table that a writer wrote."""
    yield from (file for file in output.files if file.kind == "voices")
