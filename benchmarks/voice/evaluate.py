"""Measures a voice: word errors, likeness, and whether takes end, of sentences and voices that it never saw.

    python -m benchmarks.voice.evaluate RUN --prompts FOLDER --texts FILE [--voices 10] [--sentences 40] [--out FOLDER]

FOLDER has VOICE.wav, at least three seconds each, and VOICE.other.wav, another sentence of the same voice: the codec's
resynthesis of it is the most that can be reached. One take per sentence, none chosen. Words are counted by Whisper base.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
import torch
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import embed_speaker, normalize_words
from voxbeam.models.spoken_form import spoken_form
from voxbeam.models.words import word_errors
from voxbeam.synthesis.generate import generate
from voxbeam.synthesis.sampling import SamplingConfig
from voxbeam.synthesis.synthesizer import Synthesizer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--voices", type=int, default=10)
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--top-p", type=float, default=SamplingConfig().top_p)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sampling = SamplingConfig(top_p=arguments.top_p, temperature=arguments.temperature)
    names = [path.stem for path in sorted(arguments.prompts.glob("*.wav")) if not path.stem.endswith(".other")][
        : arguments.voices
    ]
    texts = arguments.texts.read_text(encoding="utf-8").splitlines()[: arguments.sentences]
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    synthesizers = {
        name: Synthesizer.load(arguments.run, arguments.prompts / f"{name}.wav", asr_model="embedded-base", sampling=sampling)
        for name in names
    }
    prompts = np.stack([embed_speaker(synthesizers[name].prompt.wave_S) for name in names])
    rows = []
    for number, name in enumerate(names):
        speaker = synthesizers[name]
        other = read(arguments.prompts / f"{name}.other.wav")
        ceiling = float(embed_speaker(speaker.codec.decode(speaker.codec.encode([other]))[0]) @ prompts[number])
        began = time.process_time()
        generated = [
            take
            for first in range(0, len(texts), 10)
            for take in generate(
                speaker.ar, speaker.nar, [speaker.request(t) for t in texts[first : first + 10]], sampling, seed=first
            )
        ]
        spent = time.process_time() - began
        seconds = sum(take.codes_KT.shape[1] for take in generated) / 75
        for index, (text, take) in enumerate(zip(texts, generated, strict=True)):
            wave = speaker.codec.decode([take.codes_KT])[0] if take.codes_KT.shape[1] else np.zeros(2400, np.float32)
            words = normalize_words(spoken_form(text).text)
            heard = normalize_words(spoken_form(speaker.transcriber.transcribe(wave)).text)
            scores = prompts @ embed_speaker(wave)
            rows.append(
                {
                    "voice": name,
                    "errors": word_errors(words, heard),
                    "words": len(words),
                    "ended": take.finished,
                    "ceiling": ceiling,
                    "likeness": float(scores[number]),
                    "right": int(scores.argmax()) == number,
                    "text": text,
                    "heard": " ".join(heard),
                }
            )
            if arguments.out:
                sf.write(arguments.out / f"{name}-{index:02d}.wav", wave, 24_000)
        print(
            f"{name}: prompt {speaker.prompt_text!r}; {summary([row for row in rows if row['voice'] == name])}; "
            f"{spent / seconds:.2f} CPU s/s",
            flush=True,
        )
    print(f"all: {summary(rows)}")
    if arguments.out:
        (arguments.out / "takes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def summary(rows: list[dict]) -> str:
    errors, words = sum(row["errors"] for row in rows), sum(row["words"] for row in rows)
    likeness, ceiling = (float(np.mean([row[key] for row in rows])) for key in ("likeness", "ceiling"))
    return (
        f"WER {100 * errors / words:.1f} %, ended {100 * np.mean([row['ended'] for row in rows]):.0f} %, likeness {likeness:.3f} "
        f"of {ceiling:.3f} ({likeness / ceiling:.2f}), right voice {100 * np.mean([row['right'] for row in rows]):.0f} %"
    )


def read(path: Path) -> NDArray[np.float32]:
    audio, rate = sf.read(path, dtype="float32", always_2d=True)
    return soxr.resample(audio.mean(1), rate, 24_000).astype(np.float32)


if __name__ == "__main__":
    main()
