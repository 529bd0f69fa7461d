"""The door, by whole commands: what is asked is what is built, and what is taken out is told."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf

from voxbeam import assets
from voxbeam.commands.terminal import printable
from voxbeam.pipeline.build import build
from voxbeam.pipeline.steps.discover import discover
from voxbeam.pipeline.steps.probe import probe
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig, DecodeConfig, ListingConfig
from voxbeam.schemas.errors import AddressError, ConfigError, EmptyReleaseError, StorageError
from voxbeam.schemas.manifest import RecordingRow, SampleRow
from voxbeam.schemas.recording import Recording
from voxbeam.storage.address import resolve_address
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store

from tests.audio_fixtures import SAMPLE

ROOT = Path(__file__).resolve().parents[2]
GOOD = assets.DEMO / "kennedy" / "inaugural_address_1961" / "ask_not.flac"
ONE_WORKER = ("--direct_num_workers=1",)


@pytest.mark.build
def test_recordings_added_and_taken_out(tmp_path: Path) -> None:
    source, output = tmp_path / "in", str(tmp_path / "out")
    source.mkdir()
    sound, rate = sf.read(GOOD)
    shutil.copy(GOOD, source / "utt.flac")
    sf.write(source / "gone.flac", sound[: len(sound) // 2], rate)
    (source / "empty.wav").touch()
    first = build(str(source), output, runner_args=ONE_WORKER)
    assert first.release is not None and first.release.counts["done"] == 2

    (source / "gone.flac").unlink()
    (source / "empty.wav").unlink()
    sf.write(source / "utt.wav", sound[len(sound) // 2 :], rate)
    messages: list[str] = []
    second = build(str(source), output, runner_args=ONE_WORKER, on_progress=lambda event: messages.append(event.message or ""))
    assert any("1 recordings of release 000001 are not in the input (gone): they stay" in message for message in messages)
    assert second.changes.unlisted_quarantine == {"empty_wav"}
    store = Store(output)
    assert second.release is not None
    rows = {row.recording: row for row in read_rows(store, second.release, RecordingRow)}
    assert {name: row.status for name, row in rows.items()} == {
        "utt": "done", "utt_wav": "done", "gone": "done", "empty_wav": "quarantined",
    }  # fmt: skip
    before = {row.key: row.split for row in read_rows(store, second.release, SampleRow)}

    third = build(str(source), output, remove_unlisted=True, runner_args=ONE_WORKER)
    assert third.release is not None and third.committed and third.progress.units == 0
    assert {row.recording for row in read_rows(store, third.release, RecordingRow)} == {"utt", "utt_wav"}
    after = {row.key: row.split for row in read_rows(store, third.release, SampleRow)}
    assert after == {key: split for key, split in before.items() if not key.startswith("gone_")}
    assert list(verify_release(store, third.release)) == []
    assert not build(str(source), output, remove_unlisted=True, runner_args=ONE_WORKER).committed


@pytest.mark.build
def test_a_release_of_nothing_is_not_committed_unasked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.wav"):
        (tmp_path / "in" / name).touch()
    with pytest.raises(EmptyReleaseError, match=r"none of the 2 recordings can be used.*2 × empty_file"):
        build(str(tmp_path / "in"), str(tmp_path / "out"), runner_args=ONE_WORKER)
    assert not list((tmp_path / "out").glob("releases/*"))
    result = build(str(tmp_path / "in"), str(tmp_path / "out"), allow_empty=True, runner_args=ONE_WORKER)
    assert result.committed


@pytest.mark.build
def test_relative_paths_from_another_folder(tmp_path: Path) -> None:
    """A plan in the user's folder reads the user's file, and not the one of that name in the project's."""
    (tmp_path / "in").mkdir()
    shutil.copy(GOOD, tmp_path / "in/README.flac")
    (tmp_path / "list.csv").write_text("uri\nin/README.flac\n")
    (tmp_path / "c.yaml").write_text("listing: {language: en}\n")
    command = [sys.executable, "-m", "voxbeam", "plan", "--input", "list.csv", "--config", "c.yaml", "--sample-minutes", "0.2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "1 recording, " in done.stdout and "all that were probed can be used" in done.stdout
    assert "1 of 1 recordings name no speaker" in done.stdout


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/x")
    (tmp_path / "a b").touch()
    base = "/data/lists"
    assert resolve_address("a.wav") == f"{tmp_path}/a.wav"
    assert resolve_address("./x/../a.wav", base) == "/data/lists/a.wav"
    assert resolve_address("~/a.wav", base) == "/home/x/a.wav"
    assert resolve_address(f"file://{tmp_path}/a%20b", base) == f"{tmp_path}/a b"
    assert resolve_address("file://localhost/a.wav") == "/a.wav"
    assert resolve_address("S3://bucket/x y.wav", base) == "s3://bucket/x y.wav"
    assert resolve_address("../a.wav", "s3://bucket/lists/new") == "s3://bucket/lists/a.wav"
    assert resolve_address("/a.wav", "s3://bucket/lists") == "/a.wav"
    assert Store("../out").root == str(tmp_path.parent / "out")


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("http://x/a.wav", "download it"), ("HTTPS://x/a.wav", "download it"), ("ftp://x/a", "download it"), ("s3a://b/a", "write s3://"),
        ("hdfs://x/a", "use a local path"), ("file://host/a.wav", "file:///"), ("s3:///a.wav", "bucket names"), ("a\0b", "NUL"),
        ("s3://my bucket/a", "bucket names"), ("", "empty"), ("../../a", "leaves the bucket"),
        ("/data/latin\udce9", "is not UTF-8"), ("file:///data/latin%E9", "is not UTF-8"),
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_read(address: str, remedy: str) -> None:
    with pytest.raises(AddressError) as caught:
        resolve_address(address, "s3://bucket/x")
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "fails"),
    [
        (0.5, True), (29.0, False), (30.0, False), (30_000.0, False), (10.0, True), ("00:00:30", False), (None, False),
        (0, False), (float("inf"), False), (-1.0, False),
    ],
)  # fmt: skip
def test_a_row_about_the_beginning_of_a_file_does_not_stand_for_all_of_it(listed: object, fails: bool, tmp_path: Path) -> None:
    """NeMo's manifests name parts of files by `duration` (and `offset`): their text is not that of the file."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"audio_filepath": str(SAMPLE), "text": "hello", "duration": listed}))
    (recording,) = discover(str(tmp_path / "a.jsonl"), ListingConfig()).recordings
    failure = probe(recording, DecodeConfig()).failure
    assert (failure is not None and failure.reason == "part_of_file" and "30.0 s" in failure.error) == fails


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE, errno.EDQUOT, errno.ENFILE])
def test_what_every_recording_would_meet_ends_the_build(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("voxbeam.pipeline.steps.probe.probe_sandboxed", fail)
    with pytest.raises(StorageError) as caught:
        probe(Recording(recording="a", uri=str(GOOD)), DecodeConfig())
    assert caught.value.remedy


def test_a_missing_file_is_that_recordings_fault(tmp_path: Path) -> None:
    assert probe(Recording(recording="a", uri=str(tmp_path / "a.wav")), DecodeConfig()).failure is not None


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("segment: {min_s: 20, max_s: 10}", ("segment.min_s", "segment.max_s")),
        ("segment: {target_min_s: 25}", ("segment.target_min_s", "segment.target_max_s")),
        ("decode: {min_duration_s: 9, max_duration_s: 8}", ("decode.min_duration_s", "decode.max_duration_s")),
        ("filter: {min_chars_per_second: 30}", ("filter.min_chars_per_second", "filter.max_chars_per_second")),
        ("pack: {valid_fraction: 0.5, test_fraction: 0.5}", ("pack.valid_fraction", "pack.test_fraction")),
        ("tokenize: {codec: ' '}", ("tokenize.codec",)),
        ("listing: {speaker_path: 'speaker/*'}", ("listing.speaker_path",)),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other(text: str, keys: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        CorpusConfig.from_yaml(tmp_path / "c.yaml")
    assert all(key in str(caught.value) for key in keys)


def test_names_cannot_control_the_terminal() -> None:
    assert printable("a\x1b[31m[/red]\r\u202e\udcff名\n") == "a\\x1b[31m[/red]\\r\\u202e\\udcff名\n"
