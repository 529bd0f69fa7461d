"""Identifiers of recordings: any name gives one, another name another one, whatever lies beside it."""

import os
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from voxbeam.pipeline.steps.identifiers import recording_id

from tests.pipeline.inputs import listed, touch

KEY = re.compile(r"[A-Za-z0-9_-]+")
NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=150).filter(
        lambda name: name not in (".", "..")
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: "/".join(parts) + ".wav")


@given(NAMES)
def test_any_name_gives_an_identifier(path: str) -> None:
    name = recording_id(path)
    assert KEY.fullmatch(name) and len(name) <= 129
    assert name == recording_id(path)


@given(st.lists(NAMES, unique=True, min_size=2, max_size=6))
def test_different_odd_names_differ(paths: list[str]) -> None:
    odd = [path for path in paths if not re.fullmatch(r"[A-Za-z0-9_/-]+\.wav", path)]
    assert len({recording_id(path) for path in odd}) == len(odd)


def test_odd_names_on_disk(tmp_path: Path) -> None:
    names = ["with space.wav", "with_space.wav", "späce.wav", "名.wav", "new\nline.wav", "a.b.wav", "a_b.wav", "-x.wav"]
    names += ["x" * 200 + ".wav", "x" * 201 + ".wav", "'quote\".wav", "%41.wav", "#.wav", "..wav"]
    touch(tmp_path, *names)
    found = listed(tmp_path)
    assert len({r.recording for r in found}) == len(names) and all(KEY.fullmatch(r.recording) for r in found)
    assert all(Path(r.uri).exists() for r in found)


def test_name_that_is_not_utf8_can_be_listed(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")).touch()
    (only,) = listed(tmp_path)
    assert KEY.fullmatch(only.recording) and only.uri.encode()


def test_an_identifier_follows_from_the_path_alone(tmp_path: Path) -> None:
    names = [
        "a.wav",
        "a.flac",
        "a_wav.flac",
        "a.WAV",
        "x/y.wav",
        "x-y.wav",
        "x-y.flac",
        "x/y.flac",
        "a.flac.wav",
        "deadbeef.flac",
    ]
    touch(tmp_path, *names)
    together = {Path(r.uri).relative_to(tmp_path).as_posix(): r.recording for r in listed(tmp_path)}
    assert len(set(together.values())) == len(names)
    assert together["a.flac"] == "a" and together["a.wav"] == "a_wav" and together["x/y.flac"] == "x-y"
    for name in names:
        touch(tmp_path / "alone" / name.replace("/", "_"), name)
        (alone,) = listed(tmp_path / "alone" / name.replace("/", "_"))
        assert alone.recording == together[name]


@given(st.lists(st.text("a1-_/.", min_size=1, max_size=12), min_size=2, max_size=40, unique=True))
def test_different_paths_have_different_identifiers(stems: list[str]) -> None:
    paths = {f"{stem.strip('/.') or 'x'}{suffix}" for stem in stems for suffix in (".wav", ".flac", "_wav.flac", "")}
    paths = {path for path in paths if "//" not in path and "/." not in path and "./" not in path}
    assert len({recording_id(path) for path in paths}) == len(paths)


def test_layouts_of_known_corpora_keep_their_identifiers() -> None:
    assert recording_id("100/sea_fairies_0812_64kb_mp3/01_sea.flac") == "100-sea_fairies_0812_64kb_mp3-01_sea"
    assert recording_id("dev-clean/84/121123/84-121123-0001.flac") == "dev-clean-84-121123-84-121123-0001"


def test_a_name_of_255_bytes(tmp_path: Path) -> None:
    touch(tmp_path, "x" * 251 + ".wav")
    (only,) = listed(tmp_path)
    assert KEY.fullmatch(only.recording)
