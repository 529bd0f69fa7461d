"""A corpus with known truth: clean readings with planted defects, each with its kind, place and what is really said.

    python -m tools.plant_defects OUT --librispeech DIR --ljspeech DIR --synthetic DIR [--kokoro DIR] [--each 11] [--seed 0]

LIBRISPEECH holds <speaker>-….flac; only every second speaker is used (by number), from whom no part of voxbeam learned. LJSPEECH
holds texts.tsv (id, text) and <id>.ogg; SYNTHETIC segments.tsv (file, start, end, speaker, text) and the files, of a synthesizer;
KOKORO is the folder of tools of that name, for speech in other languages (without it espeak's).

Phrases of 2.5 to 6 s stand 1.7 s apart, so that each becomes a segment of its own. Writes <name>.flac at 16 kHz, listing.jsonl
(what `voxbeam build --input` reads), truth.json ({name: [[speaker, start s, end s, text or null], …]}) and defects.jsonl
(recording, kind, start_s, end_s). The same arguments give the same files.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from tools import defect_effects as effects
from tools.defect_effects import Span, Wave
from tools.other_languages import OtherLanguages
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.transforms.audio.pauses import frame_levels_db, pause_mask, true_runs

PAUSE_S, PHRASE_S, LEVEL, FLOOR = 1.7, (2.5, 6.0), 0.06, 3e-4
OF_A_PHRASE = {
    "clipping": effects.clipping,
    "dropouts": effects.dropouts,
    "repeated_packets": effects.repeated_packets,
    "band_limit": effects.band_limit,
    "reverberation": effects.reverberation,
    "level": effects.level,
    "speed_up": effects.speed_up,
    "repeated_phrase": effects.repeated_phrase,
    "cut_word": effects.cut_word,
    "music": effects.music,
}
WITH_OTHERS = ("noise", "second_voice", "backchannel")
ON_ITS_OWN = ("no_speech", "other_language")
OF_A_RECORDING = ("duplicate", "synthetic", "wrong_text")
KINDS = (*OF_A_PHRASE, *WITH_OTHERS, *ON_ITS_OWN, *OF_A_RECORDING)


@dataclass
class Phrase:
    wave_S: Wave
    text: str | None = None


@dataclass
class Scene:
    """A recording of passages with pauses between them."""

    name: str
    speaker: str
    parts: list[Wave] = field(default_factory=lambda: [np.zeros(ASR_RATE // 2, np.float32)])
    truth: list[tuple[str, float, float, str | None]] = field(default_factory=list)
    defects: list[dict[str, object]] = field(default_factory=list)
    listed_text: list[str] = field(default_factory=list)

    def add(self, wave_S: Wave, speaker: str | None = None, text: str | None = None) -> float:
        """A passage; returns its start in s. Without a speaker nobody speaks in it."""
        start = sum(map(len, self.parts)) / ASR_RATE
        if speaker is not None:
            self.truth.append((speaker, round(start, 3), round(start + len(wave_S) / ASR_RATE, 3), text))
        self.parts += [wave_S, np.zeros(round(PAUSE_S * ASR_RATE), np.float32)]
        return start

    def plant(self, kind: str, start: float, span: Span) -> None:
        first, last = (round(start + edge / ASR_RATE, 3) for edge in span)
        self.defects.append({"recording": self.name, "kind": kind, "start_s": first, "end_s": last})

    def write(self, folder: Path, rng: np.random.Generator) -> None:
        wave_S = np.concatenate(self.parts)
        pause_S = np.concatenate([np.full(len(part), not part.any()) for part in self.parts])
        wave_S = np.where(pause_S, rng.normal(0, FLOOR, len(wave_S)), wave_S)
        sf.write(folder / f"{self.name}.flac", np.clip(wave_S, -1, 1), ASR_RATE, subtype="PCM_16")

    def listing(self) -> dict[str, object]:
        row: dict[str, object] = {"uri": f"{self.name}.flac", "speaker": self.speaker, "language": "en"}
        return row | ({"text": " ".join(self.listed_text)} if self.listed_text else {})


def read_audio(path: Path, start: float = 0.0, end: float | None = None) -> Wave:
    rate = sf.info(path).samplerate
    stop = None if end is None else round(end * rate)
    wave = sf.read(path, dtype="float32", start=round(start * rate), stop=stop)[0]
    return np.asarray(soxr.resample(wave, rate, ASR_RATE), np.float32)


def leveled(wave_S: Wave) -> Wave:
    """A phrase at the common level, faded at both ends into the noise of the pauses, which is the same every time."""
    out_S = wave_S * np.float32(LEVEL / np.sqrt(np.mean(np.square(wave_S, dtype=np.float64))))
    ramp = np.linspace(0, 1, 160, dtype=np.float32)
    out_S[:160] *= ramp
    out_S[-160:] *= ramp[::-1]
    return np.asarray(out_S + np.random.default_rng(len(out_S)).normal(0, FLOOR, len(out_S)), np.float32)


def split_phrases(wave_S: Wave) -> Iterator[Wave]:
    """Stretches of 2.5 to 6 s between pauses of 120 ms and more."""
    quiet = pause_mask(frame_levels_db(wave_S, ASR_RATE))
    for start, end in true_runs(quiet):
        quiet[start:end] = end - start >= 12
    runs, begin = true_runs(~quiet).tolist(), 0
    for number, (_, end) in enumerate(runs):
        first, last = runs[begin][0] * 160 - 160, end * 160 + 160
        following = runs[number + 1][1] * 160 if number + 1 < len(runs) else len(wave_S) * 2
        if last - first >= PHRASE_S[0] * ASR_RATE and (following - first > PHRASE_S[1] * ASR_RATE or last - first > 4 * ASR_RATE):
            if last - first <= PHRASE_S[1] * ASR_RATE:
                yield leveled(wave_S[max(0, first) : last])
            begin = number + 1


def read_readers(folder: Path) -> dict[str, list[Phrase]]:
    """Phrases of every second speaker, by number."""
    files = defaultdict[str, list[Path]](list)
    for path in sorted(folder.rglob("*.flac")):
        files[path.stem.split("-")[0]].append(path)
    readers: dict[str, list[Phrase]] = {}
    for speaker in sorted(files, key=int)[1::2]:
        phrases = [Phrase(wave_S) for path in files[speaker] for wave_S in split_phrases(read_audio(path))]
        if phrases:
            readers[f"ls{speaker}"] = phrases
    return readers


def read_texts(folder: Path) -> list[Phrase]:
    """LJSpeech's utterances of at most 8 s."""
    found = []
    for line in (folder / "texts.tsv").read_text(encoding="utf-8").splitlines():
        name, text = line.split("\t")[:2]
        path = folder / f"{name}.ogg"
        if 2.5 <= sf.info(path).duration <= 8:
            found.append(Phrase(leveled(read_audio(path)), text))
    return found


def read_synthetic(folder: Path) -> dict[str, list[Phrase]]:
    voices = defaultdict[str, list[Phrase]](list)
    for line in (folder / "segments.tsv").read_text(encoding="utf-8").splitlines():
        file, start, end, speaker, text = line.split("\t")
        if 2.5 <= float(end) - float(start) <= 7 and len(voices[speaker]) < 1:
            voices[speaker].append(Phrase(leveled(read_audio(folder / file, float(start), float(end))), text))
    return {speaker: phrases for speaker, phrases in voices.items() if phrases}


def spoil(kind: str, phrase: Phrase, rng: np.random.Generator, others: list[Wave]) -> tuple[Wave, Span]:
    """A phrase with a defect, and where it is heard."""
    if kind in OF_A_PHRASE:
        return OF_A_PHRASE[kind](phrase.wave_S, rng)
    if kind == "noise":
        return effects.noise(phrase.wave_S, rng, others)
    other_S = others[int(rng.integers(len(others)))]
    return getattr(effects, kind)(phrase.wave_S, rng, other_S)


def readings(
    readers: dict[str, list[Phrase]], queue: list[str], languages: OtherLanguages, rng: np.random.Generator
) -> Iterator[Scene]:
    """Each reader's phrases, every second of them clean, until nothing is left to plant."""
    everyone = {name: [p.wave_S for p in phrases] for name, phrases in readers.items()}
    for name, phrases in readers.items():
        scene = Scene(name, name)
        others = [wave_S for other, waves in everyone.items() if other != name for wave_S in waves]
        for number, phrase in enumerate(phrases[:16]):
            while queue and queue[-1] in ON_ITS_OWN:
                kind = queue.pop()
                speaker, wave_S = (None, effects.no_speech(rng, others)) if kind == "no_speech" else languages.say(rng)
                scene.plant(kind, scene.add(wave_S, speaker), (0, len(wave_S)))
            if number % 2 or not queue:
                scene.add(phrase.wave_S, name)
                continue
            kind = queue.pop()
            wave_S, span = spoil(kind, phrase, rng, others)
            start = scene.add(wave_S, name)
            scene.plant(kind, start, span)
            if kind in ("second_voice", "backchannel"):
                first, last = (round(start + edge / ASR_RATE, 3) for edge in span)
                scene.truth.append(("other", first, last, None))
        yield scene


def with_texts(phrases: list[Phrase], wrong: int, rng: np.random.Generator) -> Iterator[Scene]:
    """Recordings of five sentences with a listed text; in it every second sentence is another one, until `wrong` are planted."""
    spare = [phrase.text or "" for phrase in phrases[2 * wrong + 10 :]]
    for number in range(0, 2 * wrong + 5, 5):
        scene = Scene(f"lj{number // 5:02d}", "lj")
        for place, phrase in enumerate(phrases[number : number + 5]):
            start = scene.add(phrase.wave_S, "lj", phrase.text)
            if (number + place) % 2 and wrong:
                wrong -= 1
                scene.plant("wrong_text", start, (0, len(phrase.wave_S)))
                scene.listed_text.append(spare[int(rng.integers(len(spare)))])
            else:
                scene.listed_text.append(phrase.text or "")
        yield scene


def duplicates(readers: dict[str, list[Phrase]], count: int, rng: np.random.Generator) -> Iterator[Scene]:
    """Clean phrases of other recordings once more: another level, another rate on the way, another place in the file."""
    for number, (name, phrases) in enumerate([(n, p) for n, p in readers.items() if len(p) > 1][:count]):
        again_S = soxr.resample(soxr.resample(phrases[1].wave_S, ASR_RATE, 22_050), 22_050, ASR_RATE)
        scene = Scene(f"copy{number:02d}", name)
        scene.parts.append(np.zeros(int(rng.uniform(0.1, 1.0) * ASR_RATE), np.float32))
        wave_S = np.asarray(again_S * rng.uniform(0.5, 1.2), np.float32)
        scene.plant("duplicate", scene.add(wave_S, name), (0, len(wave_S)))
        yield scene


def synthetic(voices: dict[str, list[Phrase]], count: int) -> Iterator[Scene]:
    for speaker, phrases in list(voices.items())[:count]:
        scene = Scene(speaker, speaker)
        for phrase in phrases:
            scene.plant("synthetic", scene.add(phrase.wave_S, speaker, phrase.text), (0, len(phrase.wave_S)))
        yield scene


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name in ("librispeech", "ljspeech", "synthetic"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--kokoro", type=Path)
    parser.add_argument("--each", type=int, default=11, help="defects of each kind (default: %(default)s)")
    parser.add_argument("--more", nargs="*", default=["wrong_text", "second_voice"], help="kinds with one more")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    counts = {kind: args.each + (kind in args.more) for kind in KINDS}
    queue = [kind for kind in KINDS if kind not in OF_A_RECORDING for _ in range(counts[kind])]
    rng.shuffle(queue)
    readers, args.out = read_readers(args.librispeech), args.out
    args.out.mkdir(parents=True, exist_ok=True)
    scenes = [
        *readings(readers, queue, OtherLanguages(args.kokoro), rng),
        *with_texts(read_texts(args.ljspeech), counts["wrong_text"], rng),
        *duplicates(readers, counts["duplicate"], rng),
        *synthetic(read_synthetic(args.synthetic), counts["synthetic"]),
    ]
    if queue:
        raise SystemExit(f"{len(queue)} defects found no phrase; give more speech or a smaller --each")
    for scene in scenes:
        scene.write(args.out, rng)
    (args.out / "listing.jsonl").write_text("".join(json.dumps(scene.listing()) + "\n" for scene in scenes))
    (args.out / "truth.json").write_text(json.dumps({scene.name: scene.truth for scene in scenes}, indent=0))
    (args.out / "defects.jsonl").write_text("".join(json.dumps(row) + "\n" for scene in scenes for row in scene.defects))
    seconds = sum(len(part) for scene in scenes for part in scene.parts) / ASR_RATE
    print(
        f"{sum(len(s.defects) for s in scenes)} defects of {len(KINDS)} kinds, {len(scenes)} recordings, {seconds / 60:.1f} min"
    )


if __name__ == "__main__":
    main()
