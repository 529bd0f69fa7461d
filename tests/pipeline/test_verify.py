"""Verify finds whatever is wrong with a release."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voxbeam.pipeline.verify import verify_release

from tests.pipeline.factories import small_release


def test_a_good_release_has_no_problem(tmp_path: Path) -> None:
    assert list(verify_release(*small_release(tmp_path))) == []


@pytest.mark.parametrize("kind", ["shard", "samples", "rejected", "recordings", "shards", "phones"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_every_harmed_file_is_reported(kind: str, harm: str, tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    file = release.files_of_kind(kind)[0]
    path = tmp_path / file.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if harm != "remove":
        path.write_bytes(bytes(content) if harm == "flip" else bytes(content[:-1]))
    problems = list(verify_release(store, release))
    assert file.path in {problem.where for problem in problems}
    word = {"flip": "SHA-256", "cut": "bytes", "remove": "missing"}[harm]
    assert any(word in problem.what for problem in problems if problem.where == file.path)


def first(**changes: Any) -> Callable[[list[Any]], list[Any]]:
    """Replaces values of a table's first row."""
    return lambda rows: [replace(rows[0], **changes), *rows[1:]]


@pytest.mark.parametrize(
    ("table", "change", "word"),
    [
        ("samples", lambda r: [replace(r[0], codes_offset=r[0].codes_offset + 512), *r[1:]], " is at "),
        ("samples", lambda r: [replace(r[0], json_bytes=r[0].json_bytes - 1), *r[1:]], " is at "),
        ("samples", lambda r: [replace(r[0], flac_offset=0, flac_bytes=5), *r[1:]], "does not contain"),
        ("samples", lambda r: r[1:], "does not list"),
        ("samples", lambda r: [r[0], *r], "twice"),
        ("samples", first(speaker="speaker_q"), "more than one split"),
        ("samples", first(text="other"), "differs from the manifest"),
        ("samples", first(codes_crc32=1), "another CRC-32"),
        ("samples", first(shard="shards/train/nowhere.tar"), "cannot be read"),
        ("rejected", lambda r: [], "accepted, rejected"),
        ("recordings", lambda r: r[1:], "not in the recordings table"),
        ("recordings", lambda r: [r[0], *r], "2 times"),
        ("recordings", first(accepted_ms=3999, non_speech_ms=8001), "accepted, rejected"),
        ("shards", lambda r: r[1:], "not in the shards table"),
        ("shards", first(samples=9), "disagree"),
    ],
)
def test_every_lie_of_a_table_is_reported(table: str, change: Any, word: str, tmp_path: Path) -> None:
    problems = list(verify_release(*small_release(tmp_path, tables={table: change})))
    assert any(word in problem.what for problem in problems), problems
