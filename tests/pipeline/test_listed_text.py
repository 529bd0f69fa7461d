"""Whole builds with the text of a listing: what changes when the text does."""

import json
from pathlib import Path

import pytest

from voxbeam import assets
from voxbeam.pipeline.build import BuildResult, build
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store

from tests.pipeline.factories import contents

pytestmark = pytest.mark.build


def build_listed(folder: Path, text: str | None, output: Path) -> BuildResult:
    (audio,) = (assets.DEMO / "austen_reader").rglob("*.flac")
    listing = folder / "listing.jsonl"
    listing.write_text(json.dumps({"recording": "austen", "uri": str(audio), "transcript": text}) + "\n")
    return build(str(listing), str(output), runner_args=("--direct_num_workers=1",))


def test_another_text_gives_what_a_build_from_nothing_gives(tmp_path: Path) -> None:
    output, fresh = tmp_path / "out", tmp_path / "fresh"
    store = Store(str(output))
    without = build_listed(tmp_path, None, output)
    assert without.release is not None
    heard = list(read_rows(store, without.release, SampleRow))
    assert len(heard) >= 2 and all(row.reference_wer is None for row in heard)
    in_order = sorted(heard, key=lambda row: row.start_ms)
    wrong = "thirty boxes of green apples stood beside his brother's garden wall " * 2
    text = " ".join([*(str(row.text) for row in in_order[:-1]), wrong])

    changed = build_listed(tmp_path, text, output)
    assert changed.release is not None and changed.progress.units == 1 and "text" in str(changed.changes)
    kept = {row.key: row.reference_wer for row in read_rows(store, changed.release, SampleRow)}
    (rejected,) = (row for row in read_rows(store, changed.release, RejectedRow) if row.key == in_order[-1].key)
    assert kept == {row.key: 0.0 for row in in_order[:-1]}
    assert rejected.reasons == ["differs_from_text"] and (rejected.reference_wer or 0) > 0.8
    assert [row.text for row in read_rows(store, changed.release, RecordingRow)] == [text]
    assert list(verify_release(store, changed.release)) == []

    from_nothing = build_listed(tmp_path, text, fresh)
    assert contents(from_nothing.release) == contents(changed.release)
    assert build_listed(tmp_path, text, output).progress.units == 0
