"""Whole builds with the real runner and the real models, on the speech that ships with voxbeam."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest
import webdataset as wds

from voxbeam import assets
from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.pipeline.build import BuildResult, build
from voxbeam.pipeline.release_diff import Changes
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.storage.own_paths import is_own
from voxbeam.storage.releases import latest_release, read_rows
from voxbeam.storage.store import Store

pytestmark = pytest.mark.build

ROOT = Path(__file__).resolve().parents[2]
DEMO = assets.DEMO
SHORT = ("kennedy", "austen_reader")


def copy_speakers(target: Path, *speakers: str) -> Path:
    for speaker in speakers:
        shutil.copytree(DEMO / speaker, target / speaker)
    return target


def run_build(source: Path, output: Path, *options: str, config: CorpusConfig | None = None) -> BuildResult:
    options = options or ("--direct_num_workers=1",)
    return build(str(source), str(output), config, runner_args=options)


def visible_bytes(output: Path) -> dict[str, str]:
    """Hash of every file that a reader of the corpus can see."""
    folders = ("releases", "manifests", "shards")
    files = sorted(file for folder in folders for file in (output / folder).rglob("*") if file.is_file())
    return {str(file.relative_to(output)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole demo, built once by two worker processes."""
    output = tmp_path_factory.mktemp("corpus")
    outcome = run_build(DEMO, output, "--direct_num_workers=2")
    assert outcome.committed and outcome.release.counts["samples"] >= 8
    assert outcome.progress.processes == 2 and max(outcome.progress.loads.values()) <= 2  # once per process
    return output


def test_every_law_holds(corpus: Path) -> None:
    store = Store(str(corpus))
    release = latest_release(store)
    assert release is not None
    assert list(verify_release(store, release)) == []


def test_every_file_that_a_build_leaves_is_known_to_collection_and_purge(corpus: Path) -> None:
    """A file with a name that `own_paths` does not know would stay for ever, whatever it holds."""
    assert [path for path, _ in Store(str(corpus)).walk() if not is_own(path)] == []


def test_accounting_law_to_one_frame(corpus: Path) -> None:
    store = Store(str(corpus))
    rows = list(read_rows(store, latest_release(store), RecordingRow))
    assert {row.recording.split("-")[0] for row in rows} == {
        "austen_reader",
        "kennedy",
        "michael",
        "sonnets_reader",
        "two_speakers",
    }
    for row in rows:
        assert row.status == "done" and row.duration_ms is not None
        assert abs(row.accepted_ms + row.rejected_ms + row.non_speech_ms - row.duration_ms) <= 1000 / 75


def test_two_speakers_get_two_names(corpus: Path) -> None:
    store = Store(str(corpus))
    release = latest_release(store)
    assert release is not None
    turns = next(row for row in read_rows(store, release, RecordingRow) if row.recording.endswith("turns"))
    single = next(row for row in read_rows(store, release, RecordingRow) if row.recording.endswith("sonnet_001"))
    assert (turns.speakers, single.speakers) == (2, 1)
    samples = [row for row in read_rows(store, release, SampleRow) if row.recording == single.recording]
    assert {row.speaker for row in samples} == {"sonnets_reader"}


def test_stock_webdataset_reads_every_sample(corpus: Path) -> None:
    store = Store(str(corpus))
    release = latest_release(store)
    assert release is not None
    rows = {row.key: row for row in read_rows(store, release, SampleRow)}
    codec = load_codec(EMBEDDED_WEIGHTS)
    shards = sorted(str(path) for path in (corpus / "shards").rglob("*.tar"))
    seen = set()
    for sample in wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode():
        row = rows[sample["__key__"]]
        seen.add(row.key)
        assert sample["codes.npy"].shape == (8, row.frames) and sample["codes.npy"].dtype == np.int16
        assert sample["json"]["text"] == row.text and sample["json"]["phone_ids"] == row.phone_ids
        wave = codec.decode([sample["codes.npy"]])[0]
        assert abs(len(wave) / 24_000 - row.duration_ms / 1000) <= 1 / 75
    assert seen == rows.keys()


def test_manifest_byte_ranges_are_right(corpus: Path) -> None:
    store = Store(str(corpus))
    release = latest_release(store)
    assert release is not None
    for row in read_rows(store, release, SampleRow):
        codes = np.load(io.BytesIO(store.get_range(row.shard, row.codes_offset, row.codes_bytes)), allow_pickle=False)
        assert codes.shape == (8, row.frames)
        assert json.loads(store.get_range(row.shard, row.json_offset, row.json_bytes))["key"] == row.key


def test_duckdb_joins_the_tables(corpus: Path) -> None:
    folder = next((corpus / "manifests").glob("000001-*"))
    seconds = duckdb.sql(
        f"""
        WITH heard AS (
            SELECT recording, duration_ms FROM '{folder}/samples/*.parquet'
            UNION ALL SELECT recording, duration_ms FROM '{folder}/rejected/*.parquet'
        )
        SELECT r.recording, any_value(r.accepted_ms + r.rejected_ms) AS stated, sum(h.duration_ms) AS found
        FROM '{folder}/recordings/*.parquet' r JOIN heard h USING (recording) GROUP BY 1
        """
    ).fetchall()
    assert len(seconds) == 6
    assert all(stated == found for _, stated, found in seconds)


def test_second_build_does_no_model_work(corpus: Path) -> None:
    before = visible_bytes(corpus)
    outcome = run_build(DEMO, corpus)
    assert (outcome.progress.units, dict(outcome.progress.seconds), outcome.committed) == (0, {}, False)
    assert visible_bytes(corpus) == before


def test_killed_build_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL of driver and workers once the first unit is done; then resumed with another number of workers."""
    source = copy_speakers(tmp_path / "in", *SHORT)
    run_build(source, tmp_path / "whole", "--direct_num_workers=1")
    killed = tmp_path / "killed"
    command = [
        sys.executable,
        "beam_runner.py",
        "build",
        "--input",
        str(source),
        "--output",
        str(killed),
        "--direct_num_workers=1",
    ]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(killed.glob("units/*/*/*.arrow")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(killed.glob("units/*/*/*.arrow"))) == 1 and not (killed / "releases").exists()
    outcome = run_build(source, killed, "--direct_num_workers=2")
    assert (outcome.progress.reused_units, outcome.progress.units) == (1, 1)
    assert visible_bytes(killed) == visible_bytes(tmp_path / "whole")


def test_growing_release_keeps_untouched_shards(tmp_path: Path) -> None:
    source = copy_speakers(tmp_path / "in", "kennedy")
    first = run_build(source, tmp_path / "out").release
    copy_speakers(source, "austen_reader")
    outcome = run_build(source, tmp_path / "out")
    second, store = outcome.release, Store(str(tmp_path / "out"))
    assert (second.number, second.parent, outcome.progress.units) == (2, 1, 1)
    assert {file.path for file in first.files_of_kind("shard")} < {file.path for file in second.files_of_kind("shard")}
    assert list(verify_release(store, second)) == [] and list(verify_release(store, first)) == []


def test_another_threshold_is_packed_anew_without_model_work(tmp_path: Path) -> None:
    source = copy_speakers(tmp_path / "in", "kennedy")
    run_build(source, tmp_path / "out")
    stricter = CorpusConfig.model_validate({"filter": {"min_dnsmos_ovrl": 4.9}})
    outcome = run_build(source, tmp_path / "out", config=stricter)
    assert outcome.changes == Changes(repacks=("filter.min_dnsmos_ovrl: 2.2 → 4.9",))
    assert (outcome.progress.units, outcome.progress.reused_units, dict(outcome.progress.seconds)) == (0, 1, {})
    store = Store(str(tmp_path / "out"))
    rejected = list(read_rows(store, outcome.release, RejectedRow))
    assert rejected and all("low_dnsmos" in row.reasons and row.dnsmos_ovrl for row in rejected)


def test_another_license_is_packed_anew_without_model_work(tmp_path: Path) -> None:
    source, output = copy_speakers(tmp_path / "in", "kennedy"), tmp_path / "out"
    (audio,) = source.rglob("*.flac")
    for license, units in (("CC-BY-4.0", 1), ("CC-BY-NC-4.0", 0)):
        listing = tmp_path / "listing.csv"
        listing.write_text(f"recording,uri,license\nkennedy,{audio},{license}\n")
        outcome = run_build(listing, output)
        assert outcome.committed and outcome.progress.units == units
        store = Store(str(output))
        assert {row.license for row in read_rows(store, outcome.release, SampleRow)} == {license}
        assert {row.license for row in read_rows(store, outcome.release, RecordingRow)} == {license}
        assert list(verify_release(store, outcome.release)) == []
    assert len(outcome.changes.listing) == 1 and "'CC-BY-4.0' → 'CC-BY-NC-4.0'" in str(outcome.changes)


def test_repeated_bundles_change_nothing(tmp_path: Path) -> None:
    """The runner does every bundle twice, as after a retry: each unit still appears once."""
    source = copy_speakers(tmp_path / "in", "kennedy")
    run_build(source, tmp_path / "once")
    run_build(source, tmp_path / "twice", "--direct_num_workers=1", "--direct_runner_bundle_repeat=1")
    assert visible_bytes(tmp_path / "once") == visible_bytes(tmp_path / "twice")
