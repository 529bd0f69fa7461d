"""Measures a voice: word errors, likeness, and whether takes end, of sentences and voices that it never saw.

    python -m benchmarks.voice.evaluate RUN --prompts FOLDER --texts FILE [--voices 10] [--sentences 40] [--rotate] [--takes 3]

FOLDER has VOICE.wav, at least three seconds each, and VOICE.other.wav, another sentence of the same voice: the codec's
resynthesis of it is the most that can be reached. RUN may be `embedded`. Words are counted by Whisper base. The first take of
each sentence is reported by itself, none chosen; with several --takes also the one that `Synthesizer.best_candidate` would
choose, by Whisper tiny.en. With --rotate every voice speaks its share of the sentences, else all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from voxbeam.models.speech_metrics import WhisperTranscriber, embed_speaker, normalize_words
from voxbeam.models.spoken_form import spoken_form
from voxbeam.models.words import word_errors
from voxbeam.synthesis.candidates import best_of
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.recording import Recording
from voxbeam.synthesis.sampling import SamplingConfig
from voxbeam.synthesis.synthesizer import Synthesizer

from benchmarks.voice.consent import measuring_gate


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--voices", type=int, default=10)
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--top-p", type=float, default=SamplingConfig().top_p)
    parser.add_argument("--temperature", type=float, default=SamplingConfig().temperature)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--takes", type=int, default=1)
    parser.add_argument("--rotate", action="store_true")
    parser.add_argument("--only", help="speak in these voices, by number: several processes can share the work")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sampling = SamplingConfig(top_p=arguments.top_p, temperature=arguments.temperature, guidance=arguments.guidance)
    names = [path.stem for path in sorted(arguments.prompts.glob("*.wav")) if not path.stem.endswith(".other")][
        : arguments.voices
    ]
    texts = arguments.texts.read_text(encoding="utf-8").splitlines()[: arguments.sentences]
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    consent = measuring_gate(arguments.prompts / f"{name}.wav" for name in names)
    judge = WhisperTranscriber("embedded-base")
    prompts = np.stack([embed_speaker(Prompt.read(arguments.prompts / f"{name}.wav").wave_S) for name in names])
    rows: dict[str, list[dict]] = {"first take": [], "chosen take": []}
    only = [int(number) for number in arguments.only.split(",")] if arguments.only else range(len(names))
    for number, name in enumerate(names):
        if number not in only:
            continue
        prompt = arguments.prompts / f"{name}.wav"
        speaker = Synthesizer.load(arguments.run, prompt=prompt, sampling=sampling, consent=consent)
        other = Recording.read(arguments.prompts / f"{name}.other.wav").wave_S
        ceiling = float(embed_speaker(speaker.codec.decode(speaker.codec.encode([other]))[0]) @ prompts[number])
        mine = texts[number :: len(names)] if arguments.rotate else texts
        began = time.process_time()
        repeated = [text for text in mine for _ in range(arguments.takes)]
        made = [one for at in range(0, len(repeated), 12) for one in speaker.synthesize(repeated[at : at + 12], seed=at)]
        spent = time.process_time() - began
        seconds = sum(len(one.wave_S) for one in made) / 24_000
        for index, text in enumerate(mine):
            takes = made[index * arguments.takes : (index + 1) * arguments.takes]
            chosen = {"first take": takes[0], "chosen take": best_of(takes)}
            words = normalize_words(spoken_form(text).text)
            for kind, take in chosen.items():
                if kind == "chosen take" and take is takes[0]:
                    rows[kind].append(rows["first take"][-1])
                    continue
                heard = normalize_words(spoken_form(judge.transcribe(take.wave_S)).text)
                scores = prompts @ embed_speaker(take.wave_S)
                rows[kind].append(
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
                    sf.write(arguments.out / f"{name}-{index:02d}-{kind.split()[0]}.wav", take.wave_S, 24_000)
        for kind, found in rows.items():
            own = summary([row for row in found if row["voice"] == name])
            print(f"{name}, {kind}: prompt {speaker.prompt_text!r}; {own}; {spent / seconds:.2f} CPU s/s", flush=True)
        if arguments.out:
            lines = [json.dumps({"kind": kind} | row) + "\n" for kind, found in rows.items() for row in found]
            (arguments.out / f"takes-{arguments.only or 'all'}.jsonl").write_text("".join(lines))
    for kind, found in rows.items():
        print(f"all, {kind}: {len(found)} sentences, {summary(found)}")


def summary(rows: list[dict]) -> str:
    errors, words = sum(row["errors"] for row in rows), sum(row["words"] for row in rows)
    likeness, ceiling = (float(np.mean([row[key] for row in rows])) for key in ("likeness", "ceiling"))
    return (
        f"WER {100 * errors / words:.1f} %, ended {100 * np.mean([row['ended'] for row in rows]):.0f} %, likeness {likeness:.3f} "
        f"of {ceiling:.3f} ({likeness / ceiling:.2f}), right voice {100 * np.mean([row['right'] for row in rows]):.0f} %"
    )


if __name__ == "__main__":
    main()
