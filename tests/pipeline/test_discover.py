"""Listings: every layout, every odd name, and errors that name the row."""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbeam.pipeline.steps.discover import discover
from voxbeam.pipeline.steps.identifiers import recording_id
from voxbeam.pipeline.steps.layouts import propose_template, speaker_from_path
from voxbeam.schemas.config import ListingConfig
from voxbeam.schemas.errors import ListingError, StorageError
from voxbeam.schemas.recording import Recording

KEY = re.compile(r"[A-Za-z0-9_-]+")
NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=150).filter(
        lambda name: name not in (".", "..")
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: "/".join(parts) + ".wav")


def listed(folder: Path | str, **config: Any) -> list[Recording]:
    return discover(str(folder), ListingConfig(**config)).recordings


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_librilight_sidecar(tmp_path: Path) -> None:
    touch(tmp_path, "100/emma/01.flac", "100/emma/02.flac", "100/emma/03.flac")
    sidecar = {"speaker": 100, "snr": 7.5, "book_meta": {"title": "Emma", "id": "1"}}
    (tmp_path / "100/emma/01.json").write_text(json.dumps(sidecar))
    (tmp_path / "100/emma/02.json").write_text("{broken")
    (tmp_path / "100/emma/03.json").write_bytes(b'["\xff"]')
    first, second, third = listed(tmp_path, license="CC0-1.0")
    assert (first.recording, first.speaker, first.title, first.source_snr_db) == ("100-emma-01", "100", "Emma", 7.5)
    assert first.license == "CC0-1.0" and first.language == "en"
    assert (second.speaker, second.title, third.speaker) == (None, None, None)


@pytest.mark.parametrize("sidecar", [[], 3, None, {"book_meta": "x"}, {"book_meta": None, "snr": "high", "speaker": None}])
def test_sidecar_of_another_kind_names_nothing(sidecar: Any, tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "a.json").write_text(json.dumps(sidecar))
    (only,) = listed(tmp_path)
    assert (only.speaker, only.title, only.source_snr_db) == (None, None, None)


def test_librispeech_names(tmp_path: Path) -> None:
    touch(tmp_path, "84/121123/84-121123-0001.flac", "84/121123/84-121123.trans.txt")
    (only,) = listed(tmp_path)
    assert (only.recording, only.speaker) == ("84-121123-84-121123-0001", "84")


@pytest.mark.parametrize(
    ("path", "template", "speaker"),
    [
        ("anna/1.wav", "{speaker}/*", "anna"),
        ("x/anna/1.wav", "*/{speaker}/*", "anna"),
        ("anna_01.wav", "{speaker}_*", "anna"),
        ("anna/deep/1.wav", "{speaker}/*", None),
        ("a.b/1.wav", "{speaker}.b/*", "a"),
        ("84-1-2.wav", None, "84"),
        ("talk.wav", None, None),
        ("100/121669/100_121669_000001_000000.wav", None, "100"),
        ("wav48_silence_trimmed/p225/p225_001_mic1.flac", None, "p225"),
        ("VCTK/wav48/p225/p225_001.wav", None, "p225"),
        ("p225/p225_001_mic2.flac", None, "p225"),
        ("p226/p225_001_mic2.flac", None, None),
    ],
)
def test_speaker_of_a_path(path: str, template: str | None, speaker: str | None) -> None:
    assert speaker_from_path(path, template) == speaker


def test_plain_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP3", "a.m4a", "c.opus", "notes.txt", "sub/d.ogg")
    found = listed(tmp_path)
    assert [r.recording for r in found] == ["a_m4a", "b_MP3", "c_opus", "sub-d_ogg"]
    assert all(Path(r.uri).exists() for r in found)


def test_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match="no recordings"):
        listed(tmp_path)
    with pytest.raises(ListingError, match="does not exist"):
        listed(tmp_path / "nowhere")


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


def write_listing(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    elif path.suffix == ".csv":
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines = [",".join(columns), *(",".join(str(row.get(c, "")) for c in columns) for row in rows)]
        path.write_text("\n".join(lines))
    else:
        names = dict.fromkeys(key for row in rows for key in row)
        text = any(isinstance(row.get("source_snr_db"), str) for row in rows)
        types = {"source_snr_db": pa.string() if text else pa.float32()}
        schema = pa.schema([(column, types.get(column, pa.string())) for column in names])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_listing(suffix: str, tmp_path: Path) -> None:
    rows = [
        {"uri": "sub/a.wav", "recording": "one", "speaker": "7", "source_snr_db": 3.5, "license": "CC0-1.0"},
        {"uri": "/abs/84-1-2.flac"},
        {"uri": "s3://bucket/b c.mp3"},
    ]
    found = {r.uri: r for r in listed(write_listing(tmp_path / f"list.{suffix}", rows), consent_basis="license")}
    one = found[f"{tmp_path}/sub/a.wav"]
    assert (one.recording, one.speaker, one.source_snr_db, one.license, one.consent_basis) == (
        "one",
        "7",
        3.5,
        "CC0-1.0",
        "license",
    )
    assert found["/abs/84-1-2.flac"].speaker == "84" and found["/abs/84-1-2.flac"].recording.startswith("abs-84-1-2-")
    assert found["s3://bucket/b c.mp3"].recording.startswith("s3-bucket-b_c_mp3-")


def test_licence_and_basis_are_accepted_as_column_names(tmp_path: Path) -> None:
    rows = [{"uri": "a.wav", "licence": "CC0-1.0", "basis": "consent"}]
    (found,) = listed(write_listing(tmp_path / "list.jsonl", rows))
    assert (found.license, found.consent_basis) == ("CC0-1.0", "consent")
    (tmp_path / "b.wav").touch()
    (tmp_path / "b.json").write_text(json.dumps({"licence": "CC0-1.0", "basis": "consent"}))
    (found,) = listed(tmp_path)
    assert (found.license, found.consent_basis) == ("CC0-1.0", "consent")


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    "bad",
    [
        {"uri": ""},
        {"speaker": "no uri"},
        {"uri": "b.wav", "recording": "a.b"},
        {"uri": "b.wav", "source_snr_db": "loud"},
        {"uri": "b.wav", "recording": "a"},
        {"uri": "b.wav", "license": "MIT", "licence": "MIT"},
    ],
    ids=str,
)
def test_error_names_the_row(suffix: str, bad: dict[str, Any], tmp_path: Path) -> None:
    path = write_listing(tmp_path / f"list.{suffix}", [{"uri": "a.wav", "recording": "a"}, bad])
    with pytest.raises(ListingError, match=r"row [12]\b"):
        listed(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", b"{"), ("a.jsonl", b"3\n"),
     ("a.jsonl", b"\xff\n"), ("a.csv", b"uri\n\xff"), ("a.csv", b"uri\na.wav,x,y\n"), ("a.parquet", b"x")],
)  # fmt: skip
def test_broken_listing(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ListingError):
        listed(tmp_path / name)


def test_missing_listing(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match=r"nowhere\.csv"):
        listed(tmp_path / "nowhere.csv")


def test_libritts_and_vctk_texts(tmp_path: Path) -> None:
    touch(tmp_path, "a/100/1/100_1_000000_000000.wav", "wav48/p225/p225_001.wav")
    (tmp_path / "a/100/1/100_1_000000_000000.normalized.txt").write_text("Two dogs.\n")
    (tmp_path / "a/100/1/100_1_000000_000000.original.txt").write_text("2 dogs.\n")
    (tmp_path / "txt/p225").mkdir(parents=True)
    (tmp_path / "txt/p225/p225_001.txt").write_text("Please call Stella.\n")
    found = discover(str(tmp_path), ListingConfig())
    assert {(r.speaker, r.text) for r in found.recordings} == {("100", "Two dogs."), ("p225", "Please call Stella.")}
    assert not found.left_out and not found.notes


def test_common_voice(tmp_path: Path) -> None:
    touch(tmp_path, "clips/a.mp3", "clips/b.mp3")
    rows = ["client_id\tpath\tsentence\tup_votes\tlocale", '00ff\ta.mp3\t"Yes," he said.\t2\ten', "00fe\tgone.mp3\tNo.\t2\ten"]
    (tmp_path / "validated.tsv").write_text("\n".join(rows))
    found = discover(str(tmp_path), ListingConfig())
    (only,) = found.recordings
    assert (only.speaker, only.text, only.language) == ("00ff", '"Yes," he said.', "en")
    assert {(k.kind, k.example) for k in found.left_out} == {
        ("not in validated.tsv", "clips/b.mp3"),
        ("listed in validated.tsv, but there is no such file", "gone.mp3"),
    }


def test_ljspeech_and_audiofolder(tmp_path: Path) -> None:
    touch(tmp_path, "lj/wavs/LJ001-0001.wav", "hf/x/one.wav")
    (tmp_path / "lj/metadata.csv").write_text('LJ001-0001|Printing, "in" 1 sense|Printing, in one sense\n')
    (tmp_path / "hf/metadata.csv").write_text("file_name,speaker_id,transcription\nx/one.wav,7,Hello\n")
    by_speaker = {r.speaker: r.text for r in listed(tmp_path)}
    assert by_speaker == {"LJ": 'Printing, "in" 1 sense', "7": "Hello"}


def test_folders_that_look_like_speakers_are_proposed_and_not_assumed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"spk/{name}/{n}.wav" for name in ("alice", "bob") for n in range(3)))
    found = discover(str(tmp_path), ListingConfig())
    assert all(r.speaker is None for r in found.recordings)
    assert "listing.speaker_path: 'spk/{speaker}/*'" in found.notes[0] and found.notes[1].startswith("6 of 6 recordings name no")
    named = discover(str(tmp_path), ListingConfig(speaker_path="spk/{speaker}/*"))
    assert {r.speaker for r in named.recordings} == {"alice", "bob"} and not named.notes
    assert discover(str(tmp_path), ListingConfig(speaker_path="*/{speaker}/*.wav")).recordings == named.recordings
    with pytest.raises(ListingError, match=r"'\{speaker\}' fits none of the 6 paths, such as 'spk/alice/0.wav'"):
        discover(str(tmp_path), ListingConfig(speaker_path="{speaker}"))


@pytest.mark.parametrize(
    "paths", [["a.wav", "b.wav"], ["x/a.wav", "b.wav"], ["train/a.wav", "train/b.wav", "test/c.wav", "test/d.wav"]]
)
def test_nothing_to_propose(paths: list[str]) -> None:
    assert propose_template(paths) is None


def test_files_left_out_are_counted_by_kind(tmp_path: Path) -> None:
    touch(tmp_path, "a.flac", "notes.txt", "x/more.TXT", "README", ".DS_Store", "x/._a.flac", "b.mid")
    (tmp_path / "a.json").write_text("{}")
    found = discover(str(tmp_path), ListingConfig())
    assert [r.recording for r in found.recordings] == ["a"]
    assert {(k.kind, k.count, k.example) for k in found.left_out} == {
        (".txt", 2, "notes.txt"), ("hidden file", 2, ".DS_Store"), ("no suffix", 1, "README"), (".mid", 1, "b.mid"),
    }  # fmt: skip


def test_linked_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "in/real/a.wav", "elsewhere/b.wav")
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/again").symlink_to(tmp_path / "in/real")
    (tmp_path / "in/real/loop").symlink_to(tmp_path / "in")
    (tmp_path / "beside.wav").touch()
    (tmp_path / "in/around").symlink_to("..")  # all that lies beside the input would belong to it
    (tmp_path / "in/dangling.wav").symlink_to(tmp_path / "nowhere.wav")
    found = discover(str(tmp_path / "in"), ListingConfig())
    assert [r.recording for r in found.recordings] == ["dangling_wav", "linked-b_wav", "real-a_wav"]
    assert {(k.kind, k.count) for k in found.left_out} == {
        ("link to a folder that is in the input already", 2),
        ("link to a folder around the input", 1),
    }


@pytest.mark.parametrize(
    "sidecar",
    [
        b'{"snr": 1' + b"0" * 400 + b"}", b"1" * 5000, b'{"a":' * 100_000, b'{"speaker": "\\ud800"}', b'{"snr": [1]}',
        b'{"speaker": ["x"]}', b"\xff\xfe\xfd", b'{"snr": 1e999}',
    ],
)  # fmt: skip
def test_a_hostile_sidecar_costs_itself_and_is_told(sidecar: bytes, tmp_path: Path) -> None:
    touch(tmp_path, "a.flac")
    (tmp_path / "a.json").write_bytes(sidecar)
    found = discover(str(tmp_path), ListingConfig())
    (only,) = found.recordings
    assert (only.speaker, only.source_snr_db) == (None, None)
    assert [k.example for k in found.left_out] == ["a.json"]


def test_a_name_of_255_bytes(tmp_path: Path) -> None:
    touch(tmp_path, "x" * 251 + ".wav")
    (only,) = listed(tmp_path)
    assert KEY.fullmatch(only.recording)


def test_a_relative_input_is_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "user/in/a.wav", "project/in/a.wav")
    (tmp_path / "user/list.csv").write_text("uri\nin/a.wav\n../project/in/a.wav\n")
    monkeypatch.chdir(tmp_path / "user")
    assert [r.uri for r in listed("in")] == [str(tmp_path / "user/in/a.wav")]
    assert {r.uri for r in listed("list.csv")} == {str(tmp_path / "user/in/a.wav"), str(tmp_path / "project/in/a.wav")}
    monkeypatch.setenv("HOME", str(tmp_path / "project"))
    assert [r.uri for r in listed("~/in")] == [str(tmp_path / "project/in/a.wav")]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions apply: root reads everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_dir():
                path.chmod(0o755)


def test_a_folder_that_may_not_be_read_stops(public: Path) -> None:
    touch(public, "in/a.wav", "in/deep/closed/b.wav", "other/behind/c.wav")
    (public / "in/deep/closed").chmod(0)
    with (
        as_nobody(),
        pytest.raises(StorageError, match=r"cannot read .*in/deep/closed: Permission denied.* build from a listing"),
    ):
        discover(str(public / "in"), ListingConfig())
    (public / "in/deep/closed").chmod(0o755)
    (public / "in/linked").symlink_to(public / "other/behind")
    (public / "in/linked.wav").symlink_to(public / "other/behind/c.wav")
    (public / "other").chmod(0)
    with as_nobody(), pytest.raises(StorageError, match=r"cannot read .*in/linked: Permission denied"):
        discover(str(public / "in"), ListingConfig())
    (public / "in/linked").unlink()
    with as_nobody():  # a file that cannot be opened is quarantined when it is probed
        assert [r.recording for r in listed(public / "in")] == ["a_wav", "deep-closed-b_wav", "linked_wav"]
        with pytest.raises(StorageError, match=r"cannot read .*other/behind: Permission denied"):
            discover(str(public / "other/behind"), ListingConfig())
        with pytest.raises(ListingError, match=r"cannot read the listing .*other/list.csv: Permission denied"):
            discover(str(public / "other/list.csv"), ListingConfig())


def test_the_file_system_s_own_folder_is_told(public: Path) -> None:
    touch(public, "a.wav", "lost+found/x")
    (public / "lost+found").chmod(0)
    with as_nobody():
        found = discover(str(public), ListingConfig())
    assert [(k.kind, k.count, k.example) for k in found.left_out] == [("folder of the file system", 1, "lost+found")]


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "speakers").symlink_to(tmp_path / "not-mounted")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    found = discover(str(tmp_path), ListingConfig())
    assert [(k.kind, k.count, k.example) for k in found.left_out] == [("link that leads nowhere", 2, "loop")]


def test_a_folder_that_is_removed_while_it_is_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.wav", "x/b.wav", "y/c.wav")
    scandir = os.scandir

    def removes_y(folder: Path) -> Any:
        if isinstance(folder, Path) and folder.name == "x":
            shutil.rmtree(tmp_path / "y")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", removes_y)
    found = discover(str(tmp_path), ListingConfig())
    assert [r.recording for r in found.recordings] == ["a_wav", "x-b_wav"]
    assert [(k.kind, k.example) for k in found.left_out] == [("folder that was removed while the input was listed", "y")]


@pytest.mark.parametrize(
    ("code", "text"),
    [(errno.EIO, "Input/output error.* build from a listing"), (errno.ESTALE, "Stale file handle"), (errno.EMFILE, "ulimit -n")],
)
def test_a_disk_that_fails_stops(code: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.wav", "x/b.wav")
    scandir = os.scandir

    def fails(folder: Path) -> Any:
        if isinstance(folder, Path) and folder.name == "x":
            raise OSError(code, os.strerror(code))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", fails)
    with pytest.raises(StorageError, match=f"cannot read {tmp_path}/x: .*{text}"):
        discover(str(tmp_path), ListingConfig())


class Refuses(BaseHTTPRequestHandler):
    """A bucket that answers 403 to everything."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_bucket_that_may_not_be_listed_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y",
        "REGION": "us-east-1", "ALLOW_HTTP": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    try:
        with pytest.raises(StorageError, match=r"cannot list s3://refused-bucket/speech: .*; give these credentials the right"):
            discover("s3://refused-bucket/speech", ListingConfig())
    finally:
        server.shutdown()


def test_speakers_that_are_no_names_are_told(tmp_path: Path) -> None:
    rows = "a.wav,a,a\nb.wav,b,unknown\nc.wav,c,Ann\nd.wav,d,\n"
    (tmp_path / "l.csv").write_text(f"uri,recording,speaker\n{rows}")
    found = discover(str(tmp_path / "l.csv"), ListingConfig())
    assert [recording.speaker for recording in found.recordings] == ["a", None, "Ann", None]
    nobody, own, unnamed = found.notes
    assert "'unknown' in 1 row" in nobody and "1 of 4" in own and "2 of 4" in unnamed


def test_folders_of_unknown_speakers_name_none(tmp_path: Path) -> None:
    for name in ("unknown", "e\u0301va", "ann"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.wav").touch()
    found = discover(str(tmp_path), ListingConfig(speaker_path="{speaker}/*"))
    assert {recording.speaker for recording in found.recordings} == {None, "\xe9va", "ann"}
