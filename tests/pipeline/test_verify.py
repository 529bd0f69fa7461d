"""Verify finds whatever is wrong with a release."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voxbeam.pipeline.verify import verify, verify_release
from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.release import Release

from tests.pipeline.factories import small_release


def test_a_good_release_has_no_problem(tmp_path: Path) -> None:
    assert list(verify_release(*small_release(tmp_path))) == []


@pytest.mark.parametrize(
    "kind", ["shard", "samples", "rejected", "recordings", "shards", "phones", "shard_list", "card", "croissant"]
)
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_every_harmed_file_is_reported(kind: str, harm: str, tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    file = max(release.files_of_kind(kind), key=lambda file: file.bytes)
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


def changed(release: Release, **changes: Any) -> Release:
    """A release that says something else, with the checksum that belongs to it."""
    return Release.from_json(replace(release, **changes).to_json())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"files": ()}, "lists no file of the kind recordings"),
        ({"config": {"segment": {"min_s": 0.1}}}, "fingerprint"),
        ({"config": {"mood": 1}}, "not one of this voxbeam"),
        ({"models": {"tokenize": "2" * 64}}, "fingerprint"),
        ({"code_version": 99}, "fingerprint"),
        ({"fingerprint": "other"}, "fingerprint"),
        ({"counts": {}}, "it counts 0 samples, its tables have 5"),
        ({"counts": {"samples": 5 + 10**9}}, "its tables have 5"),
        ({"counts": {"mood": 3}}, "no count of a release"),
    ],
)
def test_every_lie_of_a_release_is_reported(changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    problems = list(verify_release(store, changed(release, **changes)))
    assert any(word in problem.what for problem in problems), problems


def test_a_release_of_another_number_is_refused(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    store.replace("releases/000002.json", release.to_json())
    with pytest.raises(SchemaError, match="says that it is release 1"):
        verify(str(tmp_path))


@pytest.mark.parametrize("kind", ["shard", "samples", "phones"])
def test_a_pipe_in_place_of_a_file_hangs_nobody(kind: str, tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    path = release.files_of_kind(kind)[0].path
    (tmp_path / path).unlink()
    os.mkfifo(tmp_path / path)
    problems = list(verify_release(store, release))
    assert any(problem.where == path and "not a regular file" in problem.what for problem in problems)


def test_the_list_of_shards(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    lists = {file.path.rpartition("-")[2]: store.get(file.path).decode() for file in release.files_of_kind("shard_list")}
    assert set(lists) == {"train.txt", "valid.txt", "test.txt"} and lists["test.txt"] == ""
    for split in ("train", "valid"):
        (line,) = lists[f"{split}.txt"].splitlines()
        assert line.startswith(f"shards/{split}/") and (tmp_path / line).is_file()
    path = next(file.path for file in release.files_of_kind("shard_list") if file.path.endswith("train.txt"))
    other = b"shards/train/other.tar\n"
    store.replace(path, other)
    files = tuple(
        replace(file, sha256=hashlib.sha256(other).hexdigest(), bytes=len(other)) if file.path == path else file
        for file in release.files
    )
    problems = list(verify_release(store, changed(release, files=files)))
    assert [problem.what for problem in problems if problem.where == path] == ["does not list the shards of the release"]


def test_the_description_of_another_release_is_reported(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    (file,) = release.files_of_kind("croissant")
    other = store.get(file.path).replace(b'"version": "1.0.0"', b'"version": "7.0.0"')
    store.replace(f"{file.path}.other", other)
    rewritten = replace(file, path=f"{file.path}.other", sha256=hashlib.sha256(other).hexdigest(), bytes=len(other))
    found = changed(release, files=tuple(rewritten if each is file else each for each in release.files))
    assert [p.what for p in verify_release(store, found) if p.where == rewritten.path] == [
        "does not name the files of the release"
    ]
    found = changed(release, files=tuple(each for each in release.files if each.kind != "card"))
    assert "it lists 0 files of the kind card, not one" in {problem.what for problem in verify_release(store, found)}
    older = changed(release, files=tuple(each for each in release.files if each.kind not in ("card", "croissant")))
    assert list(verify_release(store, older)) == [], "of an earlier voxbeam"
