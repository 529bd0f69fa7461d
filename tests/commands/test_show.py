"""`voxbeam show` and `report --try`: what they print and write, also of names and texts that a terminal would act on."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile as sf

from voxbeam.commands.documents import FIELDS
from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.commands.play_sound import find_player, play_file
from voxbeam.schemas.errors import VoxbeamError
from voxbeam.schemas.manifest import RecordingRow

from tests.pipeline.factories import small_release

pytestmark = pytest.mark.slow


def run(*words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = main(list(words))
    return status, out.getvalue(), err.getvalue()


def test_a_card_of_a_rejected_segment_shows_its_text_as_it_is(corpus_uri: str) -> None:
    status, out, _ = run("show", corpus_uri, "r0_00002000_00004000")
    assert status == DONE and "\x1b" not in out
    for words in ("rejected by filter", "[/red] \\x1b[31mred", "low_snr: the noise is too loud: clean the audio", "SNR 9 dB"):
        assert words in out, out


def test_a_recording_in_order_of_time(corpus_uri: str) -> None:
    status, out, _ = run("show", corpus_uri, "r1", "--limit", "3", "--json")
    document = json.loads(out)
    assert status == DONE and list(document) == list(FIELDS["show"])
    assert [segment["start_ms"] for segment in document["segments"]] == [0, 2000, 4000]


def test_the_sound_of_what_was_thrown_away(corpus_uri: str, tmp_path: Path) -> None:
    path = tmp_path / "thrown.wav"
    status, out, _ = run("show", corpus_uri, "--reason", "low_snr", "--limit", "2", "--wav", str(path))
    assert status == DONE and f"Sound: {path}" in out
    wave, rate = sf.read(path)
    assert (len(wave), rate) == (2 * 48_000 + 12_000, 24_000) and abs(wave[:48_000]).max() > 0.01


def test_a_sample_from_its_codes_and_from_its_source(corpus_uri: str, tmp_path: Path) -> None:
    query = ["--sql", "SELECT key FROM samples ORDER BY key", "--limit", "1"]
    for name, options in (("codes.wav", []), ("source.wav", ["--source"])):
        assert run("show", corpus_uri, *query, *options, "--wav", str(tmp_path / name))[0] == DONE
    codes, source = (sf.read(tmp_path / name)[0] for name in ("codes.wav", "source.wav"))
    assert len(codes) == len(source) == 48_000 and not (codes == source).all()


def test_a_sample_by_a_further_codec(corpus_uri: str, tmp_path: Path) -> None:
    """The codec `moved` sounds as the first one does, by its own weights alone."""
    words = ["show", corpus_uri, "--sql", "SELECT key FROM samples ORDER BY key", "--limit", "1"]
    for name, options in (("first.wav", []), ("moved.wav", ["--codec-name", "moved"])):
        status, out, _ = run(*words, *options, "--wav", str(tmp_path / name))
        assert status == DONE and "frames × 8 codes, and of moved" in out
    assert (tmp_path / "first.wav").read_bytes() == (tmp_path / "moved.wav").read_bytes()
    status, _, err = run(*words, "--codec-name", "other")
    assert status == UNUSABLE and "has no further codec 'other'" in err and "it has moved" in err
    assert run(*words, "--codec-name", "moved", "--release", "1")[0] == UNUSABLE, "the first release has no such codec"


def test_a_query_without_keys_is_a_table(corpus_uri: str) -> None:
    query = "SELECT split, count(*) AS samples FROM samples GROUP BY split ORDER BY split"
    status, out, _ = run("show", corpus_uri, "--sql", query)
    assert status == DONE and out.startswith("3 rows") and "train" in out
    assert json.loads(run("show", corpus_uri, "--sql", "SELECT 'x' :: BLOB AS raw", "--json")[1])["rows"] == [{"raw": "78"}]


def test_more_than_is_shown_is_said(corpus_uri: str) -> None:
    assert "these are the first 3; --limit" in run("show", corpus_uri, "r1", "--limit", "3")[1]
    assert "these are the first" not in run("show", corpus_uri, "r0_00002000_00004000", "--limit", "1")[1]


def test_why_a_recording_has_no_segment(tmp_path: Path) -> None:
    def left_out(rows: list[RecordingRow]) -> list[RecordingRow]:
        told = {"stage": "exclude", "reason": "excluded", "error": "asked to, mañana", "remedy": "take it out of exclude"}
        return [*rows, replace(rows[0], recording="gone", status="excluded", units=[], **told)]

    small_release(tmp_path, tables={"recordings": left_out})
    status, out, _ = run("show", str(tmp_path), "gone")
    assert status == DONE and "the recording is excluded: excluded, asked to, mañana. Remedy: take it out of exclude" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody"], "has no segment and no recording 'nobody'"),
        (["--reason", "low_sn"], "nothing was rejected as 'low_sn'"),
        (["--sql", "SELEC"], "the query failed: Parser Error"),
        (["--sql", "SELECT 1 AS one", "--play"], "need a query that returns a column `key`"),
        (["key", "--reason", "low_snr"], "give a key or a recording, or one of --reason and --sql"),
        ([], "give a key or a recording"),
        (["nobody", "--source", "--codec-name", "moved"], "in which no codec is heard"),
    ],
)
def test_what_cannot_be_shown(words: list[str], message: str, corpus_uri: str) -> None:
    status, out, err = run("show", corpus_uri, *words)
    assert (status, out) == (UNUSABLE, "") and message in err and "Remedy: " in err


def test_a_machine_without_a_player_or_a_sound_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VoxbeamError, match="true cannot play: it ended at once"):  # as ffplay does without a sound card
        play_file(("true",), tmp_path / "x.wav", seconds=60)
    with pytest.raises(VoxbeamError, match=r"cannot play: .*nothing\.wav"):
        play_file(("cat",), tmp_path / "nothing.wav", seconds=0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VoxbeamError, match=r"no program that plays sound is installed here.*--wav FILE"):
        find_player()


def test_what_a_limit_would_cost(corpus_uri: str, tmp_path: Path) -> None:
    status, out, _ = run("report", corpus_uri, "--try", "min_dnsmos_ovrl=3.0", "min_snr_db=5")
    first, second, both = out.splitlines()
    assert status == DONE and first.startswith("filter.min_dnsmos_ovrl 3: keeps 24 s, now 72 s (-66.7%); 24 samples (48 s)")
    assert "5 rejected segments (10 s) would come back" in second and both.startswith(
        "filter.min_dnsmos_ovrl 3, filter.min_snr_db 5"
    )
    status, out, _ = run(
        "report", corpus_uri, "--try", "min_snr_db=5", "--out", str(tmp_path / "r.html"), "--clips", "0", "--json"
    )
    document = json.loads(out)
    assert list(document) == list(FIELDS["report"]) and document["tried"][0]["kept_ms"] == 82_000
    assert Path(document["out"]).stat().st_size < 300_000


@pytest.mark.parametrize(("word", "message"), [("min_snr_db", "give NAME=VALUE"), ("min_snr_db=loud", "its value is no number")])
def test_a_limit_that_is_none(word: str, message: str) -> None:
    status, _, err = run("report", "nowhere", "--try", word)
    assert status == UNUSABLE and message in err
