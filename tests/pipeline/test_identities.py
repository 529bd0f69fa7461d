"""Identities through whole builds without audio: linked across recordings, kept from release to release, one split each."""

import hashlib
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from voxbeam.pipeline.build import BuildResult, build
from voxbeam.pipeline.steps.link import assign_split
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig, PackConfig
from voxbeam.schemas.identity import IdentityRow
from voxbeam.schemas.manifest import SampleRow
from voxbeam.schemas.segment import LocalSpeaker
from voxbeam.storage.releases import read_release, read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.identity.evidence import Calibration, Scores

from benchmarks.synthetic import CONFIG, MakeUpSpeech, made_up_build
from tests.pipeline.test_build import visible_bytes

pytestmark = pytest.mark.slow
PACK = PackConfig(valid_fraction=0.2, test_fraction=0.2)
SCORES = Scores(same_mean=0.9, same_deviation=0.1, different_mean=0.0, different_deviation=0.1)
CALIBRATION = Calibration(about="made up", center_D=np.zeros(192), scores=SCORES, draws=(SCORES,), min_named_similarity=0.2)


def voice_of_person(person: str, seed: str) -> NDArray[np.float64]:
    """An embedding of a person; `a~b` is half way between two, `a@60` is 60 degrees from a."""
    first, _, degrees = person.partition("@")
    if "~" in person:
        row = sum(voice_of_person(one, seed) for one in person.split("~"))
    else:
        row = _draw(first)
        if degrees:
            other = _draw(f"{first} turned")
            other -= (other @ row) * row
            angle = np.deg2rad(float(degrees))
            row = np.cos(angle) * row + np.sin(angle) * other / np.linalg.norm(other)
    row = row / np.linalg.norm(row) + 0.02 * _draw(f"{seed}{person}")
    return np.asarray(row / np.linalg.norm(row))


def _draw(text: str) -> NDArray[np.float64]:
    row = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")).normal(size=192)
    return np.asarray(row / np.linalg.norm(row))


class SpeakOf(MakeUpSpeech):
    """The voice is of the person that the recording's title names."""

    def run(self, work: UnitState) -> UnitState:
        done = super().run(work)
        embedding = voice_of_person(str(work.unit.recording.title), work.unit.recording.recording)
        speaker = LocalSpeaker(label="v1", embedding=tuple(embedding.tolist()), speech_ms=20_000)
        return replace(done, speakers=(speaker,))


def run_build(folder: Path, output: str, people: dict[str, str], names: dict[str, str] | None = None) -> BuildResult:
    """A build of recordings, by identifier with the person who speaks in it and the name that is listed."""
    rows = [
        {"uri": f"/audio/{name}.flac", "recording": name, "title": person, "speaker": (names or {}).get(name)}
        for name, person in people.items()
    ]
    listing = folder / f"{output}.parquet"
    schema = pa.schema([(column, pa.string()) for column in ("uri", "recording", "title", "speaker")])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), listing)
    calibration = folder / "calibration.json"
    calibration.write_text(json.dumps(CALIBRATION.to_json()))
    identify = {"min_similarity": 0.6, "calibration": str(calibration)}
    listed = {"license": "CC0-1.0", "consent_basis": "consent"}
    config = CorpusConfig.model_validate(
        {"filter": CONFIG["filter"], "listing": listed, "identify": identify, "pack": PACK.model_dump()}
    )
    with made_up_build(SpeakOf):
        return build(str(listing), str(folder / output), config, runner_args=["--direct_num_workers=1"])


def tables(folder: Path, output: str, number: int = 1) -> tuple[list[IdentityRow], list[SampleRow]]:
    """Identities and samples of a release, which keeps every law."""
    store = Store(str(folder / output))
    release = read_release(store, number)
    assert list(verify_release(store, release)) == []
    return list(read_rows(store, release, IdentityRow)), list(read_rows(store, release, SampleRow))


def parts(rows: list[IdentityRow]) -> set[frozenset[str]]:
    return {frozenset(row.voices) for row in rows}


PEOPLE = {f"r{n:02d}": f"person{n % 7}" for n in range(21)}
NAMES = {"r00": "anna", "r07": "anna", "r01": "bob", "r02": "unknown", "r03": "unknown", "r04": "r04"}


def test_recordings_of_a_person_are_one_identity_in_one_split(tmp_path: Path) -> None:
    run_build(tmp_path, "corpus", PEOPLE, NAMES)
    identities, samples = tables(tmp_path, "corpus")
    expected = defaultdict(set)
    for name, person in PEOPLE.items():
        expected[person].add(f"{name}_v1")
    assert parts(identities) == set(map(frozenset, expected.values()))
    assert {row.name for row in identities} == {"anna", "bob", None}, "words for unknown and identifiers are no names"
    splits: dict[str, set[str]] = defaultdict(set)
    for row in samples:
        splits[PEOPLE[row.recording]].add(row.split)
        assert row.identity_confidence is not None and row.identity_confidence > 0.9
    assert all(len(found) == 1 for found in splits.values())
    assert len({row.identity for row in samples}) == 7


def test_growing_gives_what_building_from_nothing_gives(tmp_path: Path) -> None:
    half = {name: person for name, person in PEOPLE.items() if int(name[1:]) % 2}
    run_build(tmp_path, "grown", half, NAMES)
    before, _ = tables(tmp_path, "grown")
    outcome = run_build(tmp_path, "grown", PEOPLE, NAMES)
    assert outcome.committed and outcome.release.number == 2
    grown, samples = tables(tmp_path, "grown", 2)
    run_build(tmp_path, "new", dict(reversed(PEOPLE.items())), NAMES)
    new, new_samples = tables(tmp_path, "new")
    assert parts(grown) == parts(new)
    assert {row.identity for row in before} <= {row.identity for row in grown}, "no identifier is lost"
    kept = {voice: row.identity for row in before for voice in row.voices}
    assert all(row.identity == kept[voice] for row in grown for voice in row.voices if voice in kept)
    assert {row.key for row in samples} == {row.key for row in new_samples}
    confidences = {row.key: row.identity_confidence for row in new_samples}
    assert all(row.identity_confidence == confidences[row.key] for row in samples), "those of old samples are found anew"
    assert outcome.release.labels["joined"] == outcome.release.labels["moved"] == 0
    assert not run_build(tmp_path, "grown", PEOPLE, NAMES).committed


def _recording_in(split: str, used: set[str]) -> str:
    """A recording whose voice, alone, goes to a split."""
    name = next(name for n in range(1000) if (name := f"x{n:03d}") not in used and assign_split(f"{name}_v1", PACK) == split)
    used.add(name)
    return name


def test_two_identities_that_new_recordings_show_to_be_one(tmp_path: Path) -> None:
    used: set[str] = set()
    trained, held_out, other = (_recording_in(split, used) for split in ("train", "test", "train"))
    people = {trained: "eva", held_out: "eva@60", other: "someone"}
    run_build(tmp_path, "corpus", people)
    before, samples = tables(tmp_path, "corpus")
    assert len(before) == 3 and {row.recording for row in samples if row.split == "test"} == {held_out}
    bridge = {f"y{n}": "eva~eva@60" for n in range(3)}
    outcome = run_build(tmp_path, "corpus", people | bridge)
    after, samples = tables(tmp_path, "corpus", 2)
    joined = next(row for row in after if f"{trained}_v1" in row.voices)
    assert set(joined.voices) == {f"{name}_v1" for name in (trained, held_out, *bridge)}
    ids = {voice: row.identity for row in before for voice in row.voices}
    assert {joined.identity, *joined.former} == {ids[f"{trained}_v1"], ids[f"{held_out}_v1"]}
    assert joined.split == "test", "what was held out is never trained on"
    assert {row.split for row in samples if row.recording in (trained, held_out, *bridge)} == {"test"}
    assert {row.split for row in samples if row.recording == other} == {"train"}
    assert (outcome.release.labels["joined"], outcome.release.labels["moved"]) == (
        1,
        1 if joined.identity == ids[f"{trained}_v1"] else 0,
    )
    assert len(samples) == len({row.key for row in samples})
    assert any(f"was joined into {joined.identity} (test)" in line for line in outcome.identity_changes)
    tables(tmp_path, "corpus", 1)  # the first release is as it was
    before_damage = visible_bytes(tmp_path / "corpus")
    lost = [file.path for file in outcome.release.files if "/test/" in file.path or file.kind == "identities"]
    for path in lost:
        (tmp_path / "corpus" / path).unlink()
    run_build(tmp_path, "corpus", people | bridge)
    assert len(lost) >= 3 and visible_bytes(tmp_path / "corpus") == before_damage, "made again with the bytes that they had"


def test_a_wrong_name_is_reported_and_shares_the_split(tmp_path: Path) -> None:
    people = {"a1": "anna", "a2": "anna", "a3": "carl", "c1": "carl"}
    run_build(tmp_path, "corpus", people, {"a1": "anna", "a2": "anna", "a3": "anna"})
    identities, samples = tables(tmp_path, "corpus")
    assert parts(identities) == {frozenset({"a1_v1", "a2_v1"}), frozenset({"a3_v1", "c1_v1"})}
    assert all(row.label_conflict and row.name == "anna" for row in identities)
    assert len({row.split for row in samples}) == 1


def test_releases_are_the_same_bytes(tmp_path: Path) -> None:
    run_build(tmp_path, "one", PEOPLE, NAMES)
    run_build(tmp_path, "two", dict(reversed(PEOPLE.items())), NAMES)
    assert visible_bytes(tmp_path / "one") == visible_bytes(tmp_path / "two")
