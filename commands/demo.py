"""`voxbeam demo`: a small corpus from the speech that ships with voxbeam, and a look at it."""

from __future__ import annotations

import io
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voxbeam.commands.command import VoxbeamCommand
from voxbeam.commands.exit_status import DONE, WORKER_LOST, WRONG

if TYPE_CHECKING:
    from rich.console import Console

    from voxbeam.schemas.config import CorpusConfig
    from voxbeam.schemas.release import Release
    from voxbeam.storage.store import Store

_N_SHOWN = 4
_SAID = "Please remember to bring your own cup, and a good book to read."
_TAKES = 3


@click.command(
    cls=VoxbeamCommand,
    short_help="Build a small corpus from speech that ships with voxbeam.",
    examples=["voxbeam demo", "voxbeam demo --output /tmp/corpus"],
    statuses=[WRONG, WORKER_LOST],
)
@click.option("--output", default="demo-corpus", show_default=True, metavar="FOLDER", help="Folder of the corpus.")
def demo(output: str) -> int:
    """Build a small corpus from the speech that ships with voxbeam, verify it and show it.

    Writes listen.wav into the folder: one sample, decoded from its codes. And spoken.wav: a sentence that nobody recorded, by the
    voice that ships with voxbeam, like a speaker whom it heard for three seconds.
    """
    from voxbeam.pipeline.runners import fork_server
    from voxbeam.pipeline.runners.options import RunnerOptions

    if RunnerOptions([]).local_workers() > 1:
        fork_server.start()  # imports in the background what the workers will need

    from voxbeam import assets
    from voxbeam.commands import terminal
    from voxbeam.commands.display import plural, showing_build
    from voxbeam.commands.report import print_result
    from voxbeam.pipeline.build import build
    from voxbeam.pipeline.verify import verify_release
    from voxbeam.schemas.config import CorpusConfig
    from voxbeam.storage.store import Store

    config, console = CorpusConfig(), terminal.stdout()
    with showing_build(output, terminal.stderr()) as show:
        result = build(str(assets.DEMO), output, config, on_progress=show)
    store, release = Store(output), result.release
    assert release is not None
    print_result(result, store, console)
    problems = list(verify_release(store, release))
    for problem in problems:
        console.print(f"{problem.where} {problem.what}", style="red")
    console.print(f"Verified: {plural(len(release.files), 'file')}, {plural(len(problems), 'problem')}")
    _show_samples(store, release, console)
    _show_rejections(store, release, console)
    _write_wav(store, release, config, console)
    _speak(store, console)
    return WRONG if problems else DONE


def _show_samples(store: Store, release: Release, console: Console) -> None:
    """The first sample of each recording."""
    from voxbeam.schemas.manifest import SampleRow
    from voxbeam.storage.releases import read_rows

    seen: set[str] = set()
    for row in read_rows(store, release, SampleRow):
        if row.recording in seen:
            continue
        seen.add(row.recording)
        console.print(f"\n{row.speaker}  {row.start_ms / 1000:.2f}–{row.end_ms / 1000:.2f} s of {row.recording}", style="bold")
        console.print(f"  {row.text}")
        console.print(f"  {row.phones}", style="dim")
        console.print(
            f"  DNSMOS {row.dnsmos_ovrl:.2f}  SNR {row.snr_db:.0f} dB  bandwidth {(row.bandwidth_hz or 0) / 1000:.1f} kHz  "
            f"log-prob {row.avg_logprob:.2f}  {row.frames} frames × 8 codes"
        )


def _show_rejections(store: Store, release: Release, console: Console) -> None:
    from voxbeam.schemas.manifest import RejectedRow
    from voxbeam.schemas.reasons import REASONS
    from voxbeam.storage.releases import read_rows

    console.print()
    for row in islice(read_rows(store, release, RejectedRow), _N_SHOWN):
        why = "; ".join(f"{reason}: {REASONS[reason]}" for reason in row.reasons)
        times = f"{row.start_ms / 1000:.2f}–{row.end_ms / 1000:.2f} s"
        console.print(f"rejected: {row.recording} {times}  {why}  {row.text or ''}")


def _write_wav(store: Store, release: Release, config: CorpusConfig, console: Console) -> None:
    """The first sample's codes, fetched with one ranged read and decoded, as a file to listen to."""
    import numpy as np
    import soundfile as sf

    from voxbeam.commands.display import hours
    from voxbeam.schemas.manifest import SampleRow
    from voxbeam.storage.releases import read_rows
    from voxbeam.transforms.tokenize import load_tokenizer

    row = next(read_rows(store, release, SampleRow), None)
    if row is None:
        return
    codes = np.load(io.BytesIO(store.get_range(row.shard, row.codes_offset, row.codes_bytes)), allow_pickle=False)
    tree = json.loads(store.get_range(row.shard, row.json_offset, row.json_bytes))
    codec = load_tokenizer(config.tokenize, config.device)
    path = Path(store.root) / "listen.wav"
    sf.write(path, codec.decode([codes])[0], codec.sample_rate)
    console.print(f"Sample: {path} ({hours(row.duration_ms)} of {tree['speaker']}, decoded from {codes.size} codes)")


def _speak(store: Store, console: Console) -> None:
    """A sentence in a voice of which three seconds are known, as a file to listen to."""
    import time

    import soundfile as sf

    from voxbeam import assets
    from voxbeam.commands.model_command import pin_threads_on_cpu
    from voxbeam.schemas.formats import CODEC_RATE
    from voxbeam.synthesis.synthesizer import Synthesizer

    pin_threads_on_cpu("cpu")
    started = time.monotonic()
    voice = Synthesizer.load(prompt=assets.PROMPT, prompt_text=assets.PROMPT_TEXT)
    best = voice.best_candidate(_SAID, candidates=_TAKES)
    path = Path(store.root) / "spoken.wav"
    sf.write(path, best.wave_S, CODEC_RATE)
    heard = voice.transcriber.transcribe(best.wave_S)
    console.print(
        f"Spoken: {path} ({len(best.wave_S) / CODEC_RATE:.1f} s in the voice of {assets.PROMPT.name}, of which the model heard "
        f"{len(voice.prompt.wave_S) / CODEC_RATE:.1f} s; the best of {_TAKES} takes, made in {time.monotonic() - started:.0f} s)"
    )
    console.print(f"  text:  {_SAID}\n  heard: {heard}", style="dim", highlight=False)
