"""`voxbeam evaluate leak` and `duplicates`: what of a corpus is in a test set, or in the corpus twice."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import click

from voxbeam.commands.command import Finite, json_option
from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.model_command import ModelCommand, pin_threads_on_cpu
from voxbeam.commands.output_files import require_new, require_outside

_SHOWN = 20


@click.command(
    cls=ModelCommand,
    short_help="Look for test sets in a corpus.",
    statuses=[WRONG],
    examples=["voxbeam evaluate leak /data/corpus --test /data/LibriSpeech/test-clean --test seed-tts.jsonl"],
)
@click.argument("output")
@click.option(
    "--test", "tests", multiple=True, required=True, help="Folder of .flac or .wav files, or listing with uri, speaker, text."
)
@click.option("--release", type=click.IntRange(1), metavar="N", help="Release to search.  [default: the latest]")
@click.option(
    "--recognizer",
    default="embedded",
    show_default=True,
    metavar="NAME",
    help="Whisper model for test utterances without a text.",
)
@click.option(
    "--same-voice", type=Finite(-1, 1), default=0.54, show_default=True, help="Cosine from which voices are one person."
)
@json_option
def leak(output: str, tests: tuple[str, ...], release: int | None, recognizer: str, same_voice: float, as_json: bool) -> int:
    """Look for the sentences, the recordings and the voices of test sets in OUTPUT.

    A sentence is in the corpus if a sample shares half of its runs of four words; the recording, if the sound is the same too; a
    voice, if its embedding is near one of the corpus. Exit status 1 if a recording or a voice is found.
    """
    from voxbeam.commands import terminal
    from voxbeam.corpus import Corpus
    from voxbeam.evaluation.leak import find_leaks

    pin_threads_on_cpu("cpu")
    found = find_leaks(Corpus(output, release), tests, recognizer=recognizer, same_voice=same_voice)
    console = terminal.results(as_json)
    console.print(
        f"{found.utterances} utterances of {found.speakers} speakers: {len({pair.one for pair in found.sounds})} are in the "
        f"corpus as sound, {len({pair.one for pair in found.texts})} as text, {len(found.voices)} speakers as voices"
    )
    if found.texts:
        table = terminal.new_table("test utterance", "sample", "shared words", "sound", left=("sample",))
        for pair in islice(sorted(found.texts, key=lambda pair: -(pair.sound or 0)), _SHOWN):
            table.add_row(pair.one, pair.other, f"{pair.shared:.0%}", f"{pair.sound:.2f}" if pair.sound is not None else "")
        terminal.print_table(console, "Texts", table)
    if found.voices:
        table = terminal.new_table("test speaker", "voice", "similarity", left=("voice",))
        for voice in found.voices[:_SHOWN]:
            table.add_row(voice.speaker, voice.voice, f"{voice.similarity:.2f}")
        terminal.print_table(console, "Voices", table)
    if as_json:
        terminal.print_json(found.document())
    return WRONG if found.sounds or found.voices else DONE


@click.command(
    cls=ModelCommand,
    short_help="Find samples that are in a corpus twice.",
    examples=[
        "voxbeam evaluate duplicates /data/corpus --json > twice.json",
        "voxbeam evaluate duplicates /data/corpus --overlay copies.jsonl",
    ],
)
@click.argument("output")
@click.option("--release", type=click.IntRange(1), metavar="N", help="Release to search.  [default: the latest]")
@click.option(
    "--overlay", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write an overlay that leaves copies out."
)
@json_option
def duplicates(output: str, release: int | None, overlay: Path | None, as_json: bool) -> int:
    """Find samples of OUTPUT whose texts share half of their runs of four words, and tell which are also the same sound.

    The sound is decoded from the codes of such samples only. --overlay writes the copies as exclusions, for `overlays` of a
    policy (docs/policy.md): of samples of the same sound, the one of the recording with the most accepted speech stays.
    """
    from voxbeam.commands import terminal
    from voxbeam.corpus import Corpus
    from voxbeam.evaluation.leak import longest_recordings_first, sample_words, sound_of
    from voxbeam.evaluation.near_duplicates import compare_sounds, copies, similar_texts

    if overlay is not None:
        require_new(overlay)
        require_outside(overlay, output)
    pin_threads_on_cpu("cpu")
    corpus = Corpus(output, release)
    words = sample_words(corpus)
    pairs = list(compare_sounds(similar_texts(words), *[lambda key: sound_of(corpus, key)] * 2))
    same = [pair for pair in pairs if pair.same_sound]
    console = terminal.results(as_json)
    console.print(f"{len(words)} samples: {len(pairs)} pairs of nearly the same text, {len(same)} of the same sound")
    table = terminal.new_table("sample", "other", "shared words", "sound", left=("other",))
    for pair in islice(sorted(pairs, key=lambda pair: -(pair.sound or 0)), _SHOWN):
        table.add_row(pair.one, pair.other, f"{pair.shared:.0%}", f"{pair.sound or 0:.2f}")
    if pairs:
        terminal.print_table(console, "Pairs", table)
    out = copies(pairs, longest_recordings_first(corpus))
    if overlay is not None:
        lines = [{"segment": key, "reason": f"the same sound as {kept}"} for key, kept in out.items()]
        overlay.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        console.print(f"Overlay: {overlay} leaves {len(lines)} copies out of the next release that names it")
    if as_json:
        terminal.print_json(
            {
                "output": corpus.uri,
                "release": corpus.release.number,
                "samples": len(words),
                "copies": sorted(out),
                "pairs": [vars(pair) | {"same_sound": pair.same_sound} for pair in pairs],
            }
        )
    return DONE
