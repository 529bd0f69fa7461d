"""The report's data and its page, without a browser."""

import base64
import io
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import av
import pytest

import voxbeam
from voxbeam.corpus import Corpus
from voxbeam.models.sound_similarity import SAME_SOUND
from voxbeam.reporting.clips import choose_clips
from voxbeam.reporting.costs import build_costs
from voxbeam.reporting.duplicates import near_duplicates
from voxbeam.reporting.page import render
from voxbeam.reporting.report import _sound_of
from voxbeam.reporting.rules import rules_of
from voxbeam.reporting.texts import repeated_texts
from voxbeam.schemas.errors import NotInCorpusError
from voxbeam.storage.release_tables import ReleaseTables

from tests.reporting.corpora import HOSTILE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(corpus_uri: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    told: list[str] = []
    path = voxbeam.report(corpus_uri, tmp_path_factory.mktemp("page") / "report.html", on_progress=told.append)
    assert "scores and limits" in told
    return path.read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(content))


def test_the_flow_adds_up(page: str) -> None:
    flow = data_of(page)["flow"]
    assert flow["accepted_ms"] + flow["rejected_ms"] + flow["non_speech_ms"] + flow["failed_ms"] == 4 * 30_000
    assert sum(row["first_ms"] for row in flow["reasons"]) == flow["rejected_ms"]
    assert all(row["alone_ms"] <= row["first_ms"] <= row["ms"] for row in flow["reasons"])
    assert (flow["recordings"], flow["quarantined"]) == (5, 1)


def test_every_clip_can_be_heard(page: str) -> None:
    data = data_of(page)
    beside = [clip for clip in data["clips"] if clip["setting"] == "filter.min_dnsmos_ovrl"]
    assert [clip["accepted"] for clip in beside] == [False] * 3 + [True] * 3
    assert max(clip["value"] for clip in beside[:3]) < 2.2 <= min(clip["value"] for clip in beside[3:])
    assert data["without_sound"] == [] and data["sounds"].keys() == {clip["key"] for clip in data["clips"]}
    for sound in list(data["sounds"].values())[:3]:
        with av.open(io.BytesIO(base64.b64decode(sound))) as mp3:
            seconds = sum(frame.samples / frame.sample_rate for frame in mp3.decode(audio=0))
        assert 1.9 < seconds < 2.3


def test_the_page_is_one_file_of_bounded_size_and_shows_text_as_text(page: str) -> None:
    assert len(page) < 15_000_000 and "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page
    assert "<script>alert" not in page and "\u2028" not in page and "default-src 'none'" in page
    assert any(row[data_of(page)["rows"]["columns"].index("text")] == HOSTILE for row in data_of(page)["rows"]["rows"])


def test_the_previous_release_is_compared(page: str) -> None:
    comparison = data_of(page)["comparison"]
    assert {"name": "filter.min_dnsmos_ovrl", "before": "1.8", "now": "2.2"} in comparison["settings"]
    assert all(row["name"] == "filter.min_dnsmos_ovrl" or "moved" in row["name"] for row in comparison["settings"])
    assert comparison["samples"]["came"]["n"] == 0 and comparison["samples"]["went"]["n"] > 0
    assert [row["reason"] for row in comparison["samples"]["rejected_now"]] == ["low_dnsmos"]
    assert comparison["samples"]["rejected_now"][0]["n"] == comparison["samples"]["went"]["n"]


def test_a_release_without_predecessor_and_sound(corpus_uri: str, tmp_path: Path) -> None:
    data = data_of(voxbeam.report(corpus_uri, tmp_path / "a" / "first.html", release=1, clips=0).read_text())
    assert data["comparison"] is None and data["clips"] == [] and data["release"]["name"] == "000001"


def test_the_codecs_of_a_release_and_the_one_that_is_heard(page: str, corpus_uri: str, tmp_path: Path) -> None:
    codecs = data_of(page)["codecs"]
    assert [(row["codec"], row["heard"]) for row in codecs] == [(None, True), ("moved", False)]
    data = data_of(voxbeam.report(corpus_uri, tmp_path / "moved.html", clips=1, codec_name="moved").read_text())
    assert [row["heard"] for row in data["codecs"]] == [False, True] and data["without_sound"] == []
    heard = {clip["key"] for clip in data["clips"] if clip["accepted"]}
    assert heard and all(data["sounds"][key] == data_of(page)["sounds"][key] for key in heard), "the two sound alike"
    assert data_of(voxbeam.report(corpus_uri, tmp_path / "first.html", release=1, clips=0).read_text())["codecs"] == []
    with pytest.raises(NotInCorpusError, match="no further codec 'other'"):
        voxbeam.report(corpus_uri, tmp_path / "no.html", codec_name="other")


def test_costs_come_from_the_records(corpus: Corpus) -> None:
    costs = build_costs(corpus.store, corpus.release.number)
    assert costs["unreadable"] == 1 and [record["release"] for record in costs["records"]] == [1]
    assert (costs["seconds"], costs["audio_ms"], costs["accepted_ms"]) == (21.0, 120_000, 60_000)
    assert costs["slowest"][0]["stage"] == "transcribe"


def test_repeated_and_duplicate_speech(corpus: Corpus) -> None:
    with ReleaseTables(corpus.store, corpus.release) as tables:
        repeated, duplicates = repeated_texts(tables), near_duplicates(tables, partial(_sound_of, corpus, tables))
        unheard = near_duplicates(tables, None)["text"]
    assert repeated["rows"][0]["text"] == "the same words are said again" and repeated["across"] == 1
    # The recordings are copies of each other: a segment's codes come again in the others. Its text was drawn anew.
    assert duplicates["sound"] and all(row["times"] > 1 for row in duplicates["sound"])
    assert duplicates["text"] and all(row["same_sound"] == (row["alike"] >= SAME_SOUND) for row in duplicates["text"])
    assert [row["first_key"] for row in unheard] == [row["first_key"] for row in duplicates["text"]]
    assert all(row["alike"] is row["same_sound"] is None for row in unheard)
    key = duplicates["sound"][0]["first_key"]
    assert key.split("_", 1)[1] == duplicates["sound"][0]["last_key"].split("_", 1)[1]


def test_sources_that_are_gone_are_said(corpus_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(corpus_uri).parent / "in"
    source.rename(source.with_name("away"))
    try:
        page = voxbeam.report(corpus_uri, tmp_path / "report.html", clips=1).read_text()
    finally:
        source.with_name("away").rename(source)
    data = data_of(page)
    assert any("put the recording back where it was listed" in line for line in data["without_sound"])
    assert {clip["key"] for clip in data["clips"] if clip["accepted"]} <= data["sounds"].keys()


def test_what_was_left_out_on_purpose_is_not_played(corpus: Corpus) -> None:
    (segment,) = corpus.find(reason="low_snr", limit=1)
    with pytest.raises(NotInCorpusError, match="was left out on purpose"):
        corpus.sound({**segment, "reasons": ["excluded", "low_snr"]})
    rules = rules_of(corpus.release.config)
    with ReleaseTables(corpus.store, corpus.release) as tables:
        assert any(not clip.accepted for clip in choose_clips(tables, rules, ["overlap"], 1))
        tables.connection.execute(
            "CREATE TEMP TABLE hidden AS SELECT * REPLACE (list_prepend('excluded', reasons) AS reasons) FROM rejected;"
            "CREATE OR REPLACE VIEW rejected AS SELECT * FROM hidden"
        )
        assert all(clip.accepted for clip in choose_clips(tables, rules, ["overlap", "excluded"], 1))


def test_numbers_that_are_none_and_broken_text(tmp_path: Path) -> None:
    page = render({"a": [float("nan"), float("inf"), 1.5], "b": "</script><!-- \ud800"})
    (content,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(content) == {"a": [None, None, 1.5], "b": "</script><!-- ?"}
