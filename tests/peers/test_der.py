"""Diarization error on far-field meetings, by pyannote.metrics and by NIST's own md-eval, which must agree.

Turns hold one speaker at a time, since overlap is cut out of a corpus: only moments in which one person speaks are scored.
"""

import re
import shutil
import subprocess
import unicodedata

import numpy as np
import pytest

from voxbeam.schemas.config import DiarizeConfig
from voxbeam.transforms.diarize import diarize, load_diarizer

from tests import audio_fixtures

pytestmark = pytest.mark.peers
COLLAR_S = 0.25


def ascii_name(text: str) -> str:
    """md-eval reads bytes; É becomes E."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def md_eval() -> list[str]:
    """The command of NIST's scorer; Debian hides it behind `sctk`."""
    for name in ("md-eval", "md-eval.pl"):
        if found := shutil.which(name):
            return [found]
    hidden = shutil.which("md-eval.pl", path="/usr/lib/sctk/bin")
    if hidden:
        return [hidden]
    pytest.skip("needs md-eval (Debian package sctk)")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Reference, hypothesis and UEM of all clips: as lists, and as the files that md-eval reads."""
    folder = tmp_path_factory.mktemp("der")
    diarizer = load_diarizer(DiarizeConfig())
    clips = audio_fixtures.meetings()
    names = {clip.stem for clip in clips}
    reference = []
    for line in (audio_fixtures.SHARED / "ami" / "reference.rttm").read_text(encoding="utf-8").splitlines():
        field = line.split()
        if field[1] in names:
            reference.append((field[1], float(field[3]), float(field[4]), ascii_name(field[7])))
    # a clip in which nobody is listed has no reference to md-eval, so neither counts it
    listed = {file for file, *_ in reference}
    hypothesis, uem = [], []
    for clip in clips:
        if clip.stem not in listed:
            continue
        pcm = audio_fixtures.read(clip)
        turns = diarize(diarizer, pcm, 0, DiarizeConfig()).turns
        hypothesis += [(clip.stem, t.start_ms / 1000, (t.end_ms - t.start_ms) / 1000, t.speaker) for t in turns]
        uem.append((clip.stem, len(pcm) / 16_000))
    for name, rows in (("ref", reference), ("hyp", hypothesis)):
        lines = [f"SPEAKER {f} 1 {start:.3f} {long:.3f} <NA> <NA> {who} <NA> <NA>" for f, start, long, who in rows]
        (folder / f"{name}.rttm").write_text("\n".join(lines) + "\n")
    (folder / "all.uem").write_text("".join(f"{file} 1 0.000 {end:.3f}\n" for file, end in uem))
    return folder, reference, hypothesis, uem


@pytest.mark.parametrize("collar", [0.0, COLLAR_S])
def test_der_by_both_scorers(scored, collar):
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    folder, reference, hypothesis, uem = scored

    def annotation(rows, file):
        out = Annotation(uri=file)
        for index, (_, start, long, who) in enumerate(r for r in rows if r[0] == file):
            out[Segment(start, start + long), index] = who
        return out

    # pyannote's collar is the whole width around an edge, NIST's is either side of it
    metric = DiarizationErrorRate(collar=2 * collar, skip_overlap=True)
    for file, end in uem:
        metric(annotation(reference, file), annotation(hypothesis, file), uem=Timeline([Segment(0, end)]))
    ours = 100 * abs(metric)
    total = metric["total"]
    parts = {part: round(100 * metric[part] / total, 2) for part in ("missed detection", "false alarm", "confusion")}
    print(f"\ncollar {collar}: pyannote.metrics DER {ours:.2f} % of {total:.1f} s {parts}")
    command = [*md_eval(), "-1", "-c", str(collar), "-r", "ref.rttm", "-s", "hyp.rttm", "-u", "all.uem"]
    report = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    found = re.search(r"OVERALL SPEAKER DIARIZATION ERROR = ([\d.]+) percent", report)
    assert found, report
    print(f"collar {collar}: md-eval DER {found[1]} %")
    assert abs(ours - float(found[1])) < 1.0, "they leave out overlap by slightly different rules"
    assert ours < (24.0 if collar == 0 else 16.0)


def test_reference_covers_speech(scored):
    """Guards against a silent misreading of the reference: it must hold minutes of speech of several people."""
    _, reference, hypothesis, _ = scored
    assert sum(long for _, _, long, _ in reference) > 60
    assert len({who for *_, who in reference}) > 5
    assert np.isfinite([start for _, start, _, _ in hypothesis]).all()
