"""Planted defects: what the tool plants, and what is counted of a build."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tools import defect_effects, plant_defects
from tools.other_languages import TEXTS, OtherLanguages
from voxbeam.evaluation.built import BuiltRecording, BuiltSegment
from voxbeam.evaluation.planted import NAMES, Defect, planted_results, read_defects
from voxbeam.evaluation.truth import Truth, read_truth
from voxbeam.schemas.errors import TruthError
from voxbeam.schemas.reasons import REASONS

RATE = 16_000
WITHOUT_REASON = {"no segment", "synthetic"}
"""what the build has no reason for"""


def built(*segments: tuple[int, int, tuple[str, ...]]) -> BuiltRecording:
    return BuiltRecording(
        recording="corpus-r",
        name="r",
        uri="",
        language="en",
        channel=None,
        duration_ms=60_000,
        truth=Truth(),
        segments=[
            BuiltSegment(key=str(start), speaker="s", start_ms=start, end_ms=end, text="", reasons=reasons)
            for start, end, reasons in segments
        ],
    )


def defect(kind: str, start_ms: int, end_ms: int, recording: str = "r") -> Defect:
    return Defect(recording=recording, kind=kind, start_ms=start_ms, end_ms=end_ms)


def test_every_kind_has_its_reasons_and_they_exist():
    assert set(NAMES) == set(plant_defects.KINDS)
    assert {reason for reasons in NAMES.values() for reason in reasons} - set(REASONS) == WITHOUT_REASON


def test_recall_precision_and_names_by_hand():
    recording = built(
        (0, 4000, ("clipped",)),  # holds the first defect
        (5000, 9000, ()),  # holds a quarter of the second and all of the third
        (10_000, 12_000, ("clipped", "low_snr")),  # nothing is wrong with it
        (20_000, 24_000, ("low_dnsmos",)),  # noise, by another name than clipping
    )
    results = planted_results(
        [recording],
        [
            defect("clipping", 1000, 3000),
            defect("clipping", 8000, 12_000),  # a quarter in a sample; half in a segment rejected as clipped
            defect("backchannel", 6000, 6400),
            defect("noise", 20_000, 24_000),
            defect("noise", 30_000, 33_000),  # in no segment
            defect("dropouts", 0, 1000, recording="gone"),
        ],
    )
    kinds = {result.kind: result for result in results}
    assert [kind for kind in NAMES if kind in kinds] == [result.kind for result in results]
    assert (kinds["clipping"].planted, kinds["clipping"].kept_out, kinds["clipping"].named) == (2, 1, 2)
    assert (kinds["clipping"].rejections, kinds["clipping"].on_defects, kinds["clipping"].right) == (2, 2, 2)
    assert (kinds["backchannel"].kept_out, kinds["backchannel"].named) == (0, 0)
    assert (kinds["noise"].kept_out, kinds["noise"].named) == (2, 2)
    # low_snr of the segment that is called clipped does not count as right: the defect there is of another name
    assert (kinds["noise"].rejections, kinds["noise"].on_defects, kinds["noise"].right) == (2, 2, 1)
    assert kinds["noise"].figures()["precision"] == 1 and kinds["noise"].figures()["precision_by_name"] == 0.5
    assert "dropouts" not in kinds  # its recording was not built


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1"),
        ('{"recording": "r", "kind": "noise"}', "start_s"),
        ('{"recording":"r","kind":"x","start_s":0,"end_s":1}', "no kind"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, says):
    (tmp_path / "d.jsonl").write_text(line + "\n")
    with pytest.raises(TruthError, match=says):
        read_defects(tmp_path / "d.jsonl")


@pytest.mark.parametrize("kind", [*plant_defects.OF_A_PHRASE, *plant_defects.WITH_OTHERS])
def test_every_effect_changes_the_span_that_it_names_and_is_the_same_again(speech, kind):
    wave_S = plant_defects.leveled(speech[7 * RATE : 12 * RATE])
    others = [plant_defects.leveled(speech[start * RATE : (start + 3) * RATE]) for start in range(13, 25)]
    once, again = (plant_defects.spoil(kind, plant_defects.Phrase(wave_S), np.random.default_rng(5), others) for _ in range(2))
    assert np.array_equal(once[0], again[0]) and once[1] == again[1]
    out_S, (start, end) = once
    assert out_S.dtype == np.float32 and np.isfinite(out_S).all()
    assert 0 <= start < end <= len(out_S) + RATE // 8
    if len(out_S) == len(wave_S):
        assert not np.allclose(out_S[start:end], wave_S[start:end], atol=1e-4)
        assert np.array_equal(np.delete(out_S, slice(start, end)), np.delete(wave_S, slice(start, end)))


def test_fast_speech_is_twice_as_fast_at_its_pitch(speech):
    wave_S = plant_defects.leveled(speech[7 * RATE : 12 * RATE])
    fast_S, _ = defect_effects.speed_up(wave_S, np.random.default_rng(0))
    assert 1.7 < len(wave_S) / len(fast_S) < 2.3


def test_espeak_speaks_other_languages_where_kokoro_is_not_at_hand():
    languages, rng = OtherLanguages(None), np.random.default_rng(0)
    said = [languages.say(rng) for _ in TEXTS]
    assert [name for name, _ in said] == [f"espeak-{language}" for language in TEXTS]
    assert all(3 * RATE < len(wave_S) < 15 * RATE for _, wave_S in said)


@pytest.mark.slow
def test_a_planted_corpus_is_as_it_says(tmp_path: Path, shared_data: Path, capsys):
    (tmp_path / "speech").mkdir()
    for path in sorted((shared_data / "librispeech" / "train-clean-100").glob("*.flac"))[:60]:
        (tmp_path / "speech" / path.name).symlink_to(path)
    where = ["--librispeech", str(tmp_path / "speech"), "--ljspeech", str(shared_data / "ljspeech")]
    out = tmp_path / "out"
    plant_defects.main([str(out), *where, "--synthetic", str(shared_data / "kokoro"), "--each", "1", "--more"])
    assert f"{len(NAMES)} defects of {len(NAMES)} kinds" in capsys.readouterr().out
    defects, truth = read_defects(out / "defects.jsonl"), read_truth([out / "truth.json"])
    assert sorted(one.kind for one in defects) == sorted(NAMES)
    listing = [json.loads(line) for line in (out / "listing.jsonl").read_text().splitlines()]
    lengths = {Path(row["uri"]).stem: 1000 * sf.info(out / row["uri"]).duration for row in listing}
    assert set(truth) == set(lengths)
    assert all(0 <= one.start_ms < one.end_ms <= lengths[one.recording] for one in defects)
    [wrong] = [one.recording for one in defects if one.kind == "wrong_text"]
    said = " ".join(turn.text or "" for turn in truth[wrong].turns)
    [listed] = [row["text"] for row in listing if Path(row["uri"]).stem == wrong]
    assert listed != said and listed.split()[:3] == said.split()[:3]
