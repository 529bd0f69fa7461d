"""`voxbeam generate --script`: the lines of a file, in batches, with a report and a table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxbeam.commands import terminal
from voxbeam.commands.display import plural
from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.model_command import pin_threads_on_cpu
from voxbeam.commands.voice_options import open_voice
from voxbeam.synthesis.script import Voice, read_script
from voxbeam.synthesis.script_speech import REPORT, ScriptRun, SpokenLine, read_voices

if TYPE_CHECKING:
    from voxbeam.safety.gate import ConsentGate

_SHOWN = 40
"""lines of a table; of a longer script only those that failed are shown"""


def speak_script(
    run: str,
    script: Path,
    out: Path,
    prompt: Path | None,
    prompt_text: str | None,
    prompt_seconds: float,
    consent: ConsentGate,
    seed: int,
    models: dict[str, Any],
) -> int:
    """Speaks a script into a folder; returns the exit status."""
    from voxbeam.storage.store import Store

    if out.exists() and not out.is_dir():
        raise click.UsageError(f"--out {out} is a file; with --script it is a folder")
    pin_threads_on_cpu(models["device"])
    lines = read_script(script, voice=Voice(prompt, prompt_text) if prompt else None, seed=seed)
    prompts = read_voices(lines, prompt_seconds, consent, run)  # before models are loaded
    console, progress = terminal.stdout(), terminal.stderr()
    for named, prompt_of in prompts.items():
        for warning in prompt_of.warnings:
            progress.print(f"warning: {named.path}: {warning}")
    settings = [models[name] for name in ("codec", "recognizer", "top_p", "language")]
    work = ScriptRun(lines, prompts, Store(str(out.absolute())), run, settings)
    for changed in work.changed:
        progress.print(f"{changed}: made again, since its line or a setting has changed")
    started, made_s, count = time.monotonic(), 0.0, 0

    def tell(spoken: SpokenLine, was_there: bool) -> None:
        nonlocal made_s, count
        if not was_there:
            made_s, count = made_s + spoken.seconds, count + 1
            progress.print(f"{count} of {len(lines) - len(work.done)}: {spoken.out}, {spoken.seconds:.2f} s")

    everything = len(work.done) == len(lines)
    voice = None if everything else open_voice(run, next(iter(prompts.values())), consent, **models)
    rows = work.speak(voice, tell)
    failed = [row for row in rows if row.errors]
    table = terminal.new_table("out", "seconds", "takes", "finished", "made", "errors", left=("errors",))
    for row in rows if len(rows) <= _SHOWN else failed:
        made = "before" if row.out in work.done else "now"
        table.add_row(
            row.out,
            f"{row.seconds:.2f}",
            f"{row.takes} of {plural(row.sentences, 'sentence')}",
            "yes" if row.finished else "no",
            made,
            "; ".join(row.errors),
        )
    if table.row_count:
        console.print(table)
    console.print(
        f"{out}: {plural(len(rows), 'line')} in {plural(len(prompts), 'voice')}; {count} made now ({made_s:.2f} s of speech in "
        f"{time.monotonic() - started:.2f} s), {len(work.done)} there before, {len(failed)} not as asked; "
        f"{REPORT} has the details"
    )
    if failed:
        progress.print("A line that failed is made again once its text, voice or seed is another.")
    return WRONG if failed else DONE
