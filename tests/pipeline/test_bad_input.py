"""Bad input in one folder with good: everything bad is quarantined or rejected with its reason, and the good comes through."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxbeam import assets
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import latest_release, read_rows
from voxbeam.storage.store import Store

pytestmark = pytest.mark.build

ROOT = Path(__file__).resolve().parents[2]
GOOD = assets.DEMO / "kennedy" / "inaugural_address_1961" / "ask_not.flac"
ODD_NAME = "späce and\nnewline 名.flac"


def write_bad_input(folder: Path) -> None:
    """One file for every kind of bad input, named after it; and one good recording."""
    folder.mkdir()
    speech, rate = sf.read(GOOD, dtype="float32")
    noise = np.random.default_rng(0).normal(0, 0.1, rate * 8).astype(np.float32)
    time = np.arange(rate * 8) / rate
    music = sum(0.1 * np.sin(2 * np.pi * f * time) * (1 + np.sin(2 * np.pi * time)) for f in (220, 277, 330, 440)).astype(
        np.float32
    )
    shutil.copy(GOOD, folder / "good.flac")
    shutil.copy(GOOD, folder / "zz_duplicate.flac")
    shutil.copy(GOOD, folder / ODD_NAME)
    sf.write(folder / ODD_NAME, speech[: rate * 9] * 0.9, rate)
    (folder / "empty.wav").touch()
    sf.write(folder / "header_only.wav", speech[:0], rate)
    (folder / "truncated.flac").write_bytes(GOOD.read_bytes()[:60_000])
    (folder / "text.wav").write_text("this is not audio\n" * 100)
    sf.write(folder / "nan.wav", np.where(np.arange(len(speech)) == 5000, np.nan, speech), rate, subtype="FLOAT")
    sf.write(folder / "inf.wav", np.where(np.arange(len(speech)) == 5000, np.inf, speech), rate, subtype="FLOAT")
    sf.write(folder / "silence.wav", np.zeros(rate * 5), rate)
    sf.write(folder / "clipped.wav", np.clip(speech * 30, -1, 1), rate)
    sf.write(folder / "eight_channels.wav", np.stack([speech] * 8, axis=1), rate)
    sf.write(folder / "fast_rate.wav", np.repeat(speech, 12)[: 192_000 * 5], 192_000)
    sf.write(folder / "one_sample.wav", speech[:1], rate)
    sf.write(folder / "music.wav", music, rate)
    sf.write(folder / "noise.wav", noise, rate)
    shutil.copy(GOOD, folder / "unreadable.flac")
    (folder / "unreadable.flac").chmod(0)


def run(source: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "beam_runner.py",
        "build",
        "--input",
        str(source),
        "--output",
        str(output),
        "--direct_num_workers=1",
    ]
    environment = {**os.environ, "COLUMNS": "300"}
    return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, env=environment, timeout=600)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path, Path]:
    folder = tmp_path_factory.mktemp("bad")
    write_bad_input(folder / "in")
    return run(folder / "in", folder / "out"), folder / "in", folder / "out"


def release_of(output: Path) -> tuple[Store, Release]:
    store = Store(str(output))
    release = latest_release(store)
    assert release is not None
    return store, release


def test_each_file_ends_where_it_must(built: tuple[subprocess.CompletedProcess[str], Path, Path]) -> None:
    store, release = release_of(built[2])
    rows = {Path(row.uri).stem: row for row in read_rows(store, release, RecordingRow)}
    reasons = {name: row.reason for name, row in rows.items() if row.status == "quarantined"}
    expected = {
        "empty": "empty_file", "header_only": "no_samples", "truncated": ("truncated", "corrupt"), "text": "not_audio",
        "nan": "non_finite", "inf": "non_finite", "silence": "silent", "eight_channels": "channels", "fast_rate": "sample_rate",
        "one_sample": "too_short", "zz_duplicate": "duplicate",
    }  # fmt: skip
    for name, reason in expected.items():
        assert reasons.get(name) in (reason if isinstance(reason, tuple) else (reason,)), (name, reasons.get(name))
    assert all(row.stage and row.remedy and row.error for row in rows.values() if row.status == "quarantined")
    if os.geteuid() != 0:  # root reads what it wants; then the file is one more duplicate
        assert reasons["unreadable"] == "unreadable"
    assert len(rows) == len(list(built[1].iterdir()))


def test_music_noise_and_clipping_give_no_sample(built: tuple[subprocess.CompletedProcess[str], Path, Path]) -> None:
    store, release = release_of(built[2])
    accepted = {row.recording for row in read_rows(store, release, SampleRow)}
    odd = next(row.recording for row in read_rows(store, release, RecordingRow) if row.recording.startswith("sp_ce_and"))
    assert accepted == {"good", odd}
    clipped = [row for row in read_rows(store, release, RejectedRow) if row.recording == "clipped_wav"]
    assert clipped and all("clipped" in row.reasons for row in clipped)  # also those in which the diarizer hears two voices


def test_the_rest_is_unharmed(built: tuple[subprocess.CompletedProcess[str], Path, Path]) -> None:
    store, release = release_of(built[2])
    assert list(verify_release(store, release)) == []


def test_exit_status_and_table_say_so(built: tuple[subprocess.CompletedProcess[str], Path, Path]) -> None:
    process, source, output = built
    assert process.returncode == 3, process.stdout + process.stderr
    for word in ("Quarantine", "empty_file", "copy it again from its source", "max_channels"):
        assert word in process.stdout
    again = run(source, output, "--allow-quarantine")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Up to date" in again.stdout and "No model work" in again.stdout
