"""Demo: the main job on the speech that ships with voxbeam, and a look at what came out."""

import io
import json
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile as sf
from rich.console import Console
from rich.panel import Panel

from voxbeam import assets
from voxbeam.commands.display import hours, showing_progress
from voxbeam.commands.report import print_result
from voxbeam.pipeline.build import build
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.manifest import RejectedRow, SampleRow
from voxbeam.schemas.reasons import REASONS
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.tokenize import load_tokenizer

INPUT = assets.DEMO
_SHOWN = 4


def run_demo(output: str, console: Console) -> bool:
    """Builds, verifies and shows the demo corpus; whether every law held."""
    config = CorpusConfig()
    with showing_progress(output, console) as show:
        result = build(str(INPUT), output, config, on_progress=show)
    store, release = Store(output), result.release
    assert release is not None
    print_result(result, store, console)
    problems = list(verify_release(store, release))
    for problem in problems:
        console.print(f"[red]{problem.where}[/red] {problem.what}")
    console.print(f"Verified: {len(release.files)} files" if not problems else f"{len(problems)} problems")
    _show_samples(store, release, console)
    _show_rejections(store, release, console)
    _write_wav(store, release, config, console)
    return not problems


def _show_samples(store: Store, release: Release, console: Console) -> None:
    seen: set[str] = set()
    for row in read_rows(store, release, SampleRow):
        if row.recording in seen:
            continue
        seen.add(row.recording)
        console.print(
            Panel(
                f"{row.text}\n[dim]{row.phones}[/dim]\n"
                f"DNSMOS {row.dnsmos_ovrl:.2f}  SNR {row.snr_db:.0f} dB  bandwidth {(row.bandwidth_hz or 0) / 1000:.1f} kHz  "
                f"log-prob {row.avg_logprob:.2f}  {row.frames} frames × 8 codes",
                title=f"{row.speaker}  {row.start_ms / 1000:.2f}–{row.end_ms / 1000:.2f} s of {row.recording}",
                title_align="left",
            )
        )


def _show_rejections(store: Store, release: Release, console: Console) -> None:
    for row in islice(read_rows(store, release, RejectedRow), _SHOWN):
        why = "; ".join(f"{reason}: {REASONS[reason]}" for reason in row.reasons)
        times = f"{row.start_ms / 1000:.2f}–{row.end_ms / 1000:.2f} s"
        console.print(f"not taken: {row.recording} {times}  [yellow]{why}[/yellow]  {row.text or ''}")


def _write_wav(store: Store, release: Release, config: CorpusConfig, console: Console) -> None:
    """The first sample's codes, fetched by one ranged read and decoded, as a file to listen to."""
    row = next(read_rows(store, release, SampleRow), None)
    if row is None:
        return

    codes = np.load(io.BytesIO(store.get_range(row.shard, row.codes_offset, row.codes_bytes)), allow_pickle=False)
    tree = json.loads(store.get_range(row.shard, row.json_offset, row.json_bytes))
    codec = load_tokenizer(config.tokenize, config.device)
    path = Path(store.root) / "listen.wav"
    sf.write(path, codec.decode([codes])[0], codec.sample_rate)
    console.print(f"To listen to: {path} ({hours(row.duration_ms)} of {tree['speaker']}, decoded from {codes.size} codes)")
