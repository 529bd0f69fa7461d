"""What a plan says that a build would do again on a corpus, before anything starts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voxbeam.pipeline.redo import Redo, find_redo
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.recording import Recording
from voxbeam.storage.releases import latest_release, read_rows
from voxbeam.storage.store import Store

from tests.pipeline.made_up_corpus import SETTINGS, make_base, release_with


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("redo")) / "out"


def listed(corpus: Path) -> tuple[list[Recording], int, int]:
    """The recordings of a corpus, their duration in ms and their units."""
    store = Store(str(corpus))
    release = latest_release(store)
    assert release is not None
    rows = list(read_rows(store, release, RecordingRow))
    return [row.as_listed() for row in rows], sum(row.total_ms for row in rows), sum(len(row.units) for row in rows)


def redo(corpus: Path, settings: dict[str, Any], recordings: list[Recording], audio_ms: int, windows: int) -> Redo:
    return find_redo(Store(str(corpus)), recordings, CorpusConfig.model_validate({**SETTINGS, **settings}), audio_ms, windows)


def test_only_the_stages_that_an_edit_concerns_run(corpus: Path) -> None:
    recordings, ms, units = listed(corpus)
    assert (same := redo(corpus, {}, recordings, ms, units)).units == 0 and set(same.stage_ms.values()) == {0}
    found = redo(corpus, {"transcribe": {"padding_s": 8.0}}, recordings, ms, units)
    assert {stage for stage, on in found.stage_ms.items() if on} == {"decode", "transcribe", "phonemize"}
    assert set(found.stage_ms.values()) == {0, ms} and (found.units, found.reused_units, found.new_recordings) == (units, 0, 0)
    assert found.seconds({"transcribe": 10.0, "score": 5.0}, ms) == {"transcribe": 10.0, "score": 0.0}
    found = redo(corpus, {"codecs": {"small": {"codec": "embedded"}}}, recordings, ms, units)
    assert {stage for stage, on in found.stage_ms.items() if on} == {"decode", "tokenize.small"} and found.units == units
    stricter = redo(corpus, {"filter": {**SETTINGS["filter"], "min_dnsmos_ovrl": 3.0}}, recordings, ms, units)
    assert stricter.changes.repacks == ("filter.min_dnsmos_ovrl: 2.2 → 3.0",) and stricter.units == 0


def test_new_recordings_and_other_texts_count(corpus: Path) -> None:
    recordings, ms, units = listed(corpus)
    new = [Recording(recording="new", uri="/audio/new.flac")]
    found = redo(corpus, {}, recordings + new, ms + 60_000, units + 1)
    assert set(found.stage_ms.values()) == {60_000} and (found.units, found.reused_units, found.new_recordings) == (1, units, 1)
    texts = [replace(recording, text="and so it was") for recording in recordings]
    found = redo(corpus, {}, texts, ms, units)
    assert {stage for stage, on in found.stage_ms.items() if on} == {"decode", "transcribe", "phonemize"}
    assert found.units == units


def test_a_plan_for_an_empty_place_and_one_that_the_build_would_refuse(corpus: Path, tmp_path: Path) -> None:
    recordings, ms, units = listed(corpus)
    empty = redo(tmp_path, {}, recordings, ms, units)
    assert (empty.release, empty.units, set(empty.stage_ms.values())) == (None, units, {ms})
    release_with({"exclude": {"recordings": {"s0-4": "no consent"}}}, corpus)
    with pytest.raises(ConfigError, match="take back 1 decisions"):
        redo(corpus, {}, recordings, ms, units)
