"""Speaks a script: many texts in many voices, decoded in batches, with a report; what is there already is not made again.

Every take of a batch is drawn by one generator, so a batch has one seed, and its lines depend on the script alone: a run that was
stopped and goes on makes the same sounds as one that was not.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import PurePosixPath

import numpy as np
import soundfile as sf

from voxbeam.models.load_valle import weights_hash
from voxbeam.safety.gate import ConsentGate, model_name
from voxbeam.safety.sounds import sound_hash
from voxbeam.schemas.errors import ConsentError, SynthesisError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.storage.store import Store
from voxbeam.synthesis.candidates import Candidate, attempt_seeds, best_of
from voxbeam.synthesis.generate import Request, generate
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.script import SHOWN, Line, Voice, raise_named
from voxbeam.synthesis.synthesizer import Synthesizer
from voxbeam.synthesis.text import left_out

REPORT = "report.jsonl"
"""in the output folder, one line per sound"""
BATCH = 8
"""sentences that are decoded at once"""


@dataclass(frozen=True)
class SpokenLine:
    """What became of a line: a line of the report."""

    out: str
    script_line: int
    text: str
    voice: str
    seed: int
    seconds: float
    sentences: int
    takes: int
    """of all sentences together; more than `sentences` where one was tried again"""
    finished: bool
    """the model ended every sentence"""
    errors: tuple[str, ...]
    """what is not as asked; empty for a line that succeeded"""
    warnings: tuple[str, ...]
    """what about its prompt costs words"""
    watermark_event: str
    """the event that allowed it, of which the watermark has the first 32 bits"""
    request: str
    """hash of all that the sound depends on: another one is another sound"""


Spoken = Callable[[SpokenLine, bool], None]
"""is told of every line, and whether it was there already"""


def read_voices(lines: Sequence[Line], seconds: float, consent: ConsentGate, run_uri: str) -> dict[Voice, Prompt]:
    """The prompts of a script, each of which may be used now.

    Raises SynthesisError for prompts that cannot be read, ConsentError for those that nobody allowed; both name the lines.
    """
    prompts: dict[Voice, Prompt] = {}
    wrong: list[str] = []
    refused: list[str] = []
    of_voice: dict[Voice, list[str]] = {}
    for line in lines:
        of_voice.setdefault(line.voice, []).append(line.where)
    for voice, places in of_voice.items():
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        where = ", ".join(places[:SHOWN]) + more
        try:
            prompts[voice] = Prompt.read(voice.path, voice.text, seconds)
            consent.require(prompts[voice].wave_S, run_uri)
        except SynthesisError as error:
            wrong.append(f"{where}: {error.message}")
        except ConsentError as error:
            refused.append(f"{where}: {voice.path}: {error.message}")
    raise_named(wrong, SynthesisError, "give a file with speech for each of these lines; nothing was spoken")
    raise_named(refused, ConsentError, "take these lines out, or ask for grants (docs/safety.md); nothing was spoken")
    return prompts


class ScriptRun:
    """A script on its way into a folder.

    A sound that is there counts as made if its line, its voice, the settings and the weights of the run are what they were.
    Raises SynthesisError for a sound that is in the folder and not in its report: it is somebody else's.
    """

    def __init__(
        self, lines: Sequence[Line], prompts: Mapping[Voice, Prompt], store: Store, run_uri: str, settings: Sequence[object]
    ) -> None:
        self.lines, self.prompts, self.store, self.run_uri = lines, prompts, store, run_uri
        self.weights = weights_hash(run_uri)
        hashes = {voice: sound_hash(prompt.wave_S) for voice, prompt in prompts.items()}
        model = model_name(run_uri), self.weights
        self.requests = {
            line.out: _digest(line.text, hashes[line.voice], line.voice.text, line.seed, *model, *settings) for line in lines
        }
        self.report = _read_report(store)
        there = {line.out for line in lines if store.exists(line.out)}
        raise_named(
            [f"{line.where}: {store.uri(line.out)} is there, and {REPORT} does not have it" for line in lines
             if line.out in there and line.out not in self.report],
            SynthesisError,
            "move these sounds away, or choose another --out; nothing was spoken",
        )  # fmt: skip
        self.done = {out for out in there if self.report[out].request == self.requests[out]}
        self.changed = sorted(there - self.done)
        """sounds of this report that are made again, since what they are made of has changed"""

    def speak(self, synthesizer: Synthesizer | None, on_line: Spoken) -> list[SpokenLine]:
        """Makes what is not there, in batches; every line of the script in its order. No synthesizer is needed if all is there.

        Raises SynthesisError that names lines whose words or prompts cannot be used, before anything is decoded, or for a
        run that has new weights meanwhile, and ConsentError once a voice may no longer be used; what was made until then stays.
        """
        if synthesizer is not None and weights_hash(self.run_uri) != self.weights:
            raise SynthesisError(
                f"{self.run_uri} has new weights since this command began", remedy="run it again, once the training has ended"
            )
        for line in self.lines:
            if line.out in self.done:
                on_line(self.report[line.out], True)
        if synthesizer is not None:
            voices = {voice: synthesizer.in_voice_of(prompt) for voice, prompt in self.prompts.items()}
            batches = [batch for batch in _batches(self.lines) if any(line.out not in self.done for line in batch)]
            requests = _all_requests([line for batch in batches for line in batch], voices)
            for batch in batches:
                self._finish(_speak_batch(batch, voices, requests, self.requests), on_line)
        return [self.report[line.out] for line in self.lines]

    def _finish(self, made: Iterable[tuple[SpokenLine, bytes]], on_line: Spoken) -> None:
        """The report first, then the sounds: a line of the report whose sound is not there counts for nothing."""
        new = [(spoken, content) for spoken, content in made if spoken.out not in self.done]
        self.store.delete([spoken.out for spoken, _ in new])
        self.report.update((spoken.out, spoken) for spoken, _ in new)
        rows = [json.dumps(asdict(spoken), ensure_ascii=False) + "\n" for spoken in self.report.values()]
        self.store.replace(REPORT, "".join(rows).encode(), durable=True)
        for spoken, content in new:
            self.store.replace(spoken.out, content, durable=True)
            on_line(spoken, False)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read_report(store: Store) -> dict[str, SpokenLine]:
    try:
        content = store.get(REPORT)
    except FileNotFoundError:
        return {}
    names = {field.name for field in fields(SpokenLine)}
    try:
        rows = [json.loads(row) for row in content.decode().splitlines()]
        if any(row.keys() != names for row in rows):
            raise ValueError("a line has other keys")
    except (ValueError, AttributeError) as error:
        raise SynthesisError(
            f"{store.uri(REPORT)} is no report of a script: {error}",
            remedy="move it away with its sounds, or choose another --out",
        ) from error
    return {row["out"]: SpokenLine(**{**row, "errors": tuple(row["errors"]), "warnings": tuple(row["warnings"])}) for row in rows}


def _batches(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines of one seed, sorted by voice, in batches of about `BATCH` sentences; a longer line is a batch of its own."""
    ordered = sorted(lines, key=lambda line: (line.seed, str(line.voice.path), line.voice.text or "", line.number))
    batches: list[list[Line]] = []
    for _, group in groupby(ordered, key=lambda line: line.seed):
        room = 0
        for line in group:
            if len(line.sentences) > room:
                batches.append([])
                room = BATCH
            batches[-1].append(line)
            room -= len(line.sentences)
    return batches


def _all_requests(lines: Sequence[Line], voices: Mapping[Voice, Synthesizer]) -> dict[str, list[Request]]:
    """The requests of every line, one per sentence."""
    requests: dict[str, list[Request]] = {}
    wrong: list[str] = []
    for line in lines:
        try:
            requests[line.out] = [voices[line.voice].request(sentence.text) for sentence in line.sentences]
        except SynthesisError as error:
            wrong.append(f"{line.where}: {error}")
    raise_named(wrong, SynthesisError, "correct these lines; nothing was spoken")
    return requests


def _speak_batch(
    batch: Sequence[Line],
    voices: Mapping[Voice, Synthesizer],
    requests: Mapping[str, Sequence[Request]],
    hashes: Mapping[str, str],
) -> list[tuple[SpokenLine, bytes]]:
    """The sounds of a batch as files, with what to report of each."""
    for named in {line.voice for line in batch}:
        voices[named].require_consent()
    pieces = [
        (voices[line.voice], sentence.text, request)
        for line in batch
        for sentence, request in zip(line.sentences, requests[line.out], strict=True)
    ]
    parts = [pieces[start : start + BATCH] for start in range(0, len(pieces), BATCH)]
    takes = [take for part in parts for take in _takes(part, batch[0].seed)]
    spoken = []
    for line in batch:
        voice, mine = voices[line.voice], takes[: len(line.sentences)]
        takes = takes[len(mine) :]
        sounds = []
        for sentence, (take, _) in zip(line.sentences, mine, strict=True):
            sounds += [take.wave_S, np.zeros(round(sentence.pause_s * CODEC_RATE), np.float32)]
        wave_S = voice.mark(np.concatenate(sounds))
        problems = [
            f"{sentence.text!r}: {take.problem}" for sentence, (take, _) in zip(line.sentences, mine, strict=True) if take.problem
        ]
        file = io.BytesIO()
        sf.write(file, wave_S, CODEC_RATE, format=PurePosixPath(line.out).suffix[1:].upper())
        row = SpokenLine(
            out=line.out,
            script_line=line.number,
            text=line.text,
            voice=str(line.voice.path),
            seed=line.seed,
            seconds=round(len(wave_S) / CODEC_RATE, 3),
            sentences=len(mine),
            takes=sum(count for _, count in mine),
            finished=all(take.finished for take, _ in mine),
            errors=(*left_out(line.text), *problems),
            warnings=voice.prompt.warnings,
            watermark_event=voice.require_consent().event,
            request=hashes[line.out],
        )
        spoken.append((row, file.getvalue()))
    return spoken


def _takes(pieces: Sequence[tuple[Synthesizer, str, Request]], seed: int) -> list[tuple[Candidate, int]]:
    """The best take of every sentence, and how many were made of it; those that fail are made again."""
    takes: list[list[Candidate]] = [[] for _ in pieces]
    pending = list(range(len(pieces)))
    voice = pieces[0][0]  # all of them have the same models
    for attempt_seed in attempt_seeds(seed):
        made = generate(voice.ar, voice.nar, [pieces[at][2] for at in pending], voice.sampling, seed=attempt_seed)
        for at, generated in zip(pending, made, strict=True):
            takes[at].append(pieces[at][0].measure(pieces[at][1], generated))
        pending = [at for at in pending if takes[at][-1].problem]
        if not pending:
            break
    return [(best_of(mine), len(mine)) for mine in takes]
