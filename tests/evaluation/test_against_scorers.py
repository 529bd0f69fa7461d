"""Our counts against the tools that everyone reports with: jiwer, NIST sclite and md-eval, pyannote.metrics."""

import re
import shutil
import subprocess
from pathlib import Path

import jiwer
import numpy as np
import pytest

from voxbeam.evaluation.built import BuiltRecording, BuiltSegment
from voxbeam.evaluation.speaker_errors import speaker_errors
from voxbeam.evaluation.text_errors import Comparison
from voxbeam.evaluation.truth import TrueTurn, Truth

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "went", "out", "again"]
NIST = "/usr/lib/sctk/bin"


def scorer(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=NIST)
    if found is None:
        pytest.skip(f"needs {name} (Debian package sctk)")
    return found


def garbled(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    reference = rng.choice(WORDS, int(rng.integers(4, 20))).tolist()
    hypothesis = []
    for word in reference:
        lot = rng.random()
        hypothesis += [] if lot < 0.1 else [str(rng.choice(WORDS))] if lot < 0.2 else [word, "um"] if lot < 0.3 else [word]
    return reference, hypothesis


@pytest.fixture(scope="module")
def comparisons() -> list[Comparison]:
    rng = np.random.default_rng(3)
    pairs = [garbled(rng) for _ in range(60)]
    return [Comparison(samples=(), reference=tuple(a), hypothesis=tuple(b), known=True) for a, b in pairs]


def test_words_and_characters_as_by_jiwer(comparisons):
    references, hypotheses = ([" ".join(getattr(c, side)) for c in comparisons] for side in ("reference", "hypothesis"))
    words = sum(len(c.reference) for c in comparisons)
    assert sum(c.word_errors for c in comparisons) / words == pytest.approx(jiwer.wer(references, hypotheses))
    assert sum(c.character_errors for c in comparisons) / sum(map(len, references)) == pytest.approx(
        jiwer.cer(references, hypotheses)
    )


@pytest.mark.peers
def test_words_as_by_sclite(comparisons, tmp_path: Path):
    for side in ("reference", "hypothesis"):
        lines = [f"{' '.join(getattr(c, side))} (s_{number:03d})" for number, c in enumerate(comparisons)]
        (tmp_path / side).write_text("\n".join(lines) + "\n")
    command = [scorer("sclite"), "-r", "reference", "trn", "-h", "hypothesis", "trn", "-i", "rm", "-o", "rsum", "stdout"]
    report = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    found = re.search(r"\| Sum\s*\|\s*\d+\s+(\d+)\s*\|\s*\d+\s+\d+\s+\d+\s+\d+\s+(\d+)", report)
    assert found, report
    # sclite weighs a substitution 4 and the others 3, so its alignment may have an error more than the fewest
    ours = sum(c.word_errors for c in comparisons)
    assert int(found[1]) == sum(len(c.reference) for c in comparisons)
    assert ours <= int(found[2]) <= ours * 1.03


@pytest.mark.peers
@pytest.mark.parametrize("collar", [0.0, 0.25])
def test_speakers_as_by_md_eval(tmp_path: Path, collar: float):
    md_eval, rng = scorer("md-eval.pl"), np.random.default_rng(4)
    turns, segments, at = list[TrueTurn](), list[BuiltSegment](), 0
    while at < 120_000:
        length, who = int(rng.integers(800, 5000)), str(rng.choice(["ann", "bob", "cid"]))
        turns.append(TrueTurn(speaker=who, start_ms=at, end_ms=at + length))
        start, end = max(0, at + int(rng.integers(-300, 300))), at + length + int(rng.integers(-300, 0))
        label = {"ann": "v1", "bob": "v2", "cid": "v3"}[who] if rng.random() < 0.8 else "v1"
        if segments:
            start = max(start, segments[-1].end_ms)
        if rng.random() < 0.9 and end > start:
            segments.append(BuiltSegment(key=str(at), speaker=label, start_ms=start, end_ms=end, text="", reasons=("low_snr",)))
        at += length + int(rng.integers(0, 700))
    built = BuiltRecording(
        recording="r", name="r", uri="", language="en", channel=None, duration_ms=at, truth=Truth(turns=turns), segments=segments
    )
    for name, rows in (("ref", turns), ("hyp", segments)):
        lines = [
            f"SPEAKER r 1 {row.start_ms / 1000:.3f} {(row.end_ms - row.start_ms) / 1000:.3f} <NA> <NA> {row.speaker} <NA> <NA>"
            for row in rows
        ]
        (tmp_path / f"{name}.rttm").write_text("\n".join(lines) + "\n")
    (tmp_path / "all.uem").write_text(f"r 1 0.000 {at / 1000:.3f}\n")
    command = [md_eval, "-1", "-c", str(collar), "-r", "ref.rttm", "-s", "hyp.rttm", "-u", "all.uem"]
    report = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    found = re.search(r"OVERALL SPEAKER DIARIZATION ERROR = ([\d.]+) percent", report)
    assert found, report
    ours = speaker_errors(built, collar_s=collar, skip_overlap=True)
    assert ours.all > 5
    assert 100 * ours.all / ours.total == pytest.approx(float(found[1]), abs=0.1)
