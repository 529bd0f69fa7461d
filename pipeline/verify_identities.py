"""Verify, identities: every voice is of one identity, an identity is in one split, and samples say what the table says."""

from collections.abc import Iterator

import numpy as np

from voxbeam.pipeline.steps.identify import Identities
from voxbeam.pipeline.verify_header import Problem
from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.identity import IdentityRow, VoiceRow
from voxbeam.schemas.manifest import SampleRow
from voxbeam.schemas.release import Release
from voxbeam.schemas.sample_keys import key_digest
from voxbeam.storage.releases import read_part_table, table_batches
from voxbeam.storage.sorted_keys import key_digests
from voxbeam.storage.store import Store


def check_identities(store: Store, release: Release) -> Iterator[Problem]:
    """Yields every problem of the identities of a release. Its tables must be readable; holds the keys of all voices."""
    tables = [read_part_table(store, IdentityRow, file.path) for file in release.files_of_kind("identities")]
    if not tables:
        if release.counts.get("samples"):
            yield Problem(where="identities", what="the table is empty, and there are samples")
        return
    names = [name for table in tables for name in table["identity"].to_pylist()]
    for name in _twice(names):
        yield Problem(where=name, what="is in the identities table twice")
    members = [voice for table in tables for voice in table["voices"].combine_chunks().flatten().to_pylist()]
    for voice in _twice(members):
        yield Problem(where=voice, what="is a voice of more than one identity")
    voices = [
        voice
        for file in release.files_of_kind("voices")
        for voice in read_part_table(store, VoiceRow, file.path)["voice"].to_pylist()
    ]
    if not np.array_equal(np.unique(key_digests(voices)), np.unique(key_digests(members))):
        yield Problem(where="identities", what="does not have the voices of the voices table")
    yield from _check_samples(store, release, Identities(tables))


def _check_samples(store: Store, release: Release, identities: Identities) -> Iterator[Problem]:
    """Compares identity and split of every sample with the identities table; one problem for each voice."""
    known: dict[tuple[str, str], tuple[str, str] | None] = {}
    columns = ("recording", "speaker", "identity", "split")
    for batch in table_batches(store, release, SampleRow, columns):
        for recording, speaker, identity, split in zip(*(batch[name].to_pylist() for name in columns), strict=True):
            voice = (recording, speaker)
            if voice not in known:
                try:
                    found, _, where = identities.of_speaker(recording, speaker)
                    known[voice] = (found, where)
                except SchemaError as error:
                    known[voice] = None
                    yield Problem(where=f"{recording} {speaker}", what=error.message)
            expected = known[voice]
            if expected is not None and expected != (identity, split):
                known[voice] = None
                yield Problem(
                    where=f"{recording} {speaker}",
                    what=f"is {identity} in {split} for a sample, the identities table says {' in '.join(expected)}",
                )


def _twice(keys: list[str]) -> Iterator[str]:
    """Keys that are there more than once."""
    values, counts = np.unique(key_digests(keys), return_counts=True)
    if len(equal := set(values[counts > 1].tolist())):
        yield from sorted({key for key in keys if key_digest(key) in equal})
