"""A segment as a card: who and when, the text, its scores, and why it was rejected."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from voxbeam.commands.terminal import printable
from voxbeam.schemas.reasons import REASONS

_SCORES = (
    ("dnsmos_ovrl", "DNSMOS", "{:.2f}"),
    ("snr_db", "SNR", "{:.0f} dB"),
    ("bandwidth_hz", "bandwidth", "{:.0f} Hz"),
    ("loudness_lufs", "loudness", "{:.0f} LUFS"),
    ("avg_logprob", "log-prob", "{:.2f}"),
    ("no_speech_prob", "no speech", "{:.2f}"),
    ("chars_per_second", "letters/s", "{:.1f}"),
    ("compression_ratio", "compression", "{:.2f}"),
    ("reference_wer", "WER to listed text", "{:.2f}"),
    ("second_wer", "second recognizer differs", "{:.2f}"),
    ("speech_ratio", "speech", "{:.2f}"),
    ("voice_distance", "voice distance", "{:.2f}"),
    ("second_voice", "second voice", "{:.2f}"),
    ("clipping", "clipping", "{:.4f}"),
    ("dropouts", "dropouts", "{:.4f}"),
    ("background_tonality", "tonality", "{:.2f}"),
    ("edge_jump", "jump at an edge", "{:.2f}"),
    ("spectral_pace", "pace", "{:.2f}"),
    ("codec_trace", "codec trace", "{:.1f}"),
)


def print_card(segment: dict[str, Any], console: Console) -> None:
    """Prints a segment that `Corpus.find` returned. Names and texts are shown as they are, whatever they contain."""
    start, end = segment["start_ms"] / 1000, segment["end_ms"] / 1000
    state = f"accepted, {segment['split']}" if segment["accepted"] else f"rejected by {segment['rejected_by']}"
    _print(console, f"\n{segment['key']}", "bold")
    _print(
        console, f"  {segment['speaker'] or 'no single speaker'}, {start:.2f} to {end:.2f} s of {segment['recording']}: {state}"
    )
    _print(console, f"  {segment['text'] or '(no text)'}")
    if segment["phones"]:
        _print(console, f"  {segment['phones']}", "dim")
    scores = [f"{name} {form.format(segment[column])}" for column, name, form in _SCORES if segment[column] is not None]
    _print(console, f"  {'  '.join(scores)}")
    if segment["accepted"]:
        license, basis = segment["license"] or "no license listed", segment["consent_basis"] or "no consent basis listed"
        confidence = segment["identity_confidence"]
        sure = f" ({confidence:.0%} sure)" if confidence is not None else ""
        _print(console, f"  identity {segment['identity']}{sure}  {_codes(segment)}  {license}  {basis}")
    for reason in segment["reasons"]:
        _print(console, f"  {reason}: {REASONS.get(reason, 'a reason that this voxbeam does not know')}", "red")


def _codes(segment: dict[str, Any]) -> str:
    """The codes of a sample, and the further codecs of which it has some too."""
    names = ", ".join(one["codec"] for one in segment.get("further_codes") or ())
    return f"{segment['frames']} frames × 8 codes{f', and of {names}' if names else ''}"


def _print(console: Console, line: str, style: str = "") -> None:
    """One line; what a terminal would act on is shown as an escape."""
    head, rest = line[: len(line) - len(line.lstrip("\n"))], line.lstrip("\n")
    console.print(head, Text(printable(rest).replace("\n", "\\n"), style=style), sep="", soft_wrap=not console.is_terminal)
