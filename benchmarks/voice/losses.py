"""What a voice loses by its 8 bits: nats per code of runs, on recordings that neither saw, each after a prompt of the same voice.

    python -m benchmarks.voice.losses RUN [RUN …] --prompts FOLDER

FOLDER as for `evaluate.py`; a RUN may be `embedded`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from voxbeam.models.batch import TokenizedUtterance, collate
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.recording import Recording
from voxbeam.synthesis.synthesizer import Synthesizer

LEVELS = (1, 4, 7)
MAX_S = 6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--prompts", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    speaker = Synthesizer.load(
        arguments.runs[0], prompt=next(path for path in arguments.prompts.glob("*.wav") if not path.stem.endswith(".other"))
    )
    documents = []
    for path in sorted(arguments.prompts.glob("*.other.wav")):
        prompt = Prompt.read(path.with_name(path.name.replace(".other", "")))
        wave_S = Recording.read(path).wave_S[: MAX_S * 24_000]
        texts = [speaker.transcriber.transcribe(wave) for wave in (prompt.wave_S, wave_S)]
        prompt_KP, codes_KT = speaker.codec.encode([prompt.wave_S, wave_S])
        request = speaker.request_with_context(texts[:1], prompt_KP, texts[1])
        documents.append(
            TokenizedUtterance(path.stem, request.phones_L, np.concatenate([prompt_KP, codes_KT], 1), prompt_KP.shape[1])
        )
    for run in arguments.runs:
        voice = Synthesizer(run, speaker.prompt)
        sums = torch.zeros(1 + len(LEVELS), 3, dtype=torch.float64)
        with torch.inference_mode():
            for document in documents:
                batch = collate([document])
                sums[0] += torch.stack(list(voice.ar(batch))[:3]).double()
                for row, level in enumerate(LEVELS, start=1):
                    sums[row] += torch.stack(
                        list(voice.nar(batch, torch.tensor([level]), torch.tensor([document.prompt_frames])))[:3]
                    ).double()
        parts = [
            f"{name} {loss / frames:.4f} nats {100 * right / frames:.1f} %"
            for name, (loss, frames, right) in zip(["ar", *(f"nar{level}" for level in LEVELS)], sums, strict=True)
        ]
        print(f"{run}: {len(documents)} recordings; {', '.join(parts)}")


if __name__ == "__main__":
    main()
