"""Kaldi: a data directory for each split, with wav.scp, reco2dur, segments, text, utt2spk, spk2utt, sorted by bytes.

An utterance is `<identity>-<key>`, so that utterances sort as their speakers do. With audio of its own, each utterance is a
recording too. Otherwise wav.scp names the recordings; what is no mono WAV file is read through a pipe of ffmpeg, at 16 kHz.
All lines of a split are sorted in memory: about 1 GB for a million utterances.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

from voxbeam.exports.lines import audio_path, local_recordings, one_line, rows_with_audio
from voxbeam.exports.parts import Sample
from voxbeam.exports.request import ExportRequest
from voxbeam.exports.sound import encode
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.schemas.manifest import RecordingRow

FILES = ("wav.scp", "reco2dur", "segments", "text", "utt2spk", "spk2utt")


class Kaldi:
    """Writes Kaldi's data directories."""

    name = "kaldi"
    sounds = ("kept", "codes", "sources", "refer")

    def write(self, request: ExportRequest) -> None:
        recordings = local_recordings(request) if request.sound == "refer" else {}
        lines: dict[str, dict[str, dict[str, str]]] = {}
        speakers: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))

        def wav(sample: Sample) -> bytes:
            return encode(request.sound_of(sample), "WAV")

        for row in rows_with_audio(request, lambda row: audio_path(row, "wav"), wav):
            tables = lines.setdefault(row["split"], {name: {} for name in FILES})
            utterance, seconds = f"{row['identity']}-{row['key']}", row["duration_ms"] / 1000
            if request.sound == "refer":
                recording, start = _track(row), row["start_ms"] / 1000
                source = recordings[row["recording"]]
                tables["wav.scp"][recording] = _pipe(source, row["channel"])
                tables["reco2dur"][recording] = f"{(source.duration_ms or 0) / 1000:.3f}"
            else:
                recording, start = row["key"], 0.0
                tables["wav.scp"][recording] = _path(request.target.store.uri(audio_path(row, "wav")))
                tables["reco2dur"][recording] = f"{seconds:.3f}"
            tables["segments"][utterance] = f"{recording} {start:.3f} {start + seconds:.3f}"
            tables["text"][utterance] = one_line(row["text"])
            tables["utt2spk"][utterance] = row["identity"]
            speakers[row["split"]][row["identity"]].append(utterance)
        for split, tables in lines.items():
            tables["spk2utt"] = {speaker: " ".join(sorted(names)) for speaker, names in speakers[split].items()}
            for name in FILES:
                request.target.put(f"{split}/{name}", _sorted(tables[name]))

    def metadata(self, request: ExportRequest) -> dict[str, Any]:
        return {}

    def loading(self, request: ExportRequest) -> str:
        text = (
            "## How to load it\n\n`train`, `valid` and `test` are data directories of Kaldi. A speaker is an identity; paths are "
        )
        return text + "absolute, of the place that the export was written to." + request.sound_sentence("Audio is ")


def _track(row: dict[str, Any]) -> str:
    """The recording of a segment; each track is one of its own."""
    return row["recording"] if row["channel"] is None else f"{row['recording']}_c{row['channel']}"


def _pipe(row: RecordingRow, track: int | None) -> str:
    """How Kaldi reads a recording: its path, or a command that writes mono WAV."""
    channels = row.channels or 1
    if (row.format or "").lower() == "wav" and channels == 1:
        return _path(row.uri)
    channel = track if track is not None else row.channel
    mix = f"c{channel}" if channel is not None else "+".join(f"{1 / channels:.6f}*c{n}" for n in range(channels))
    pan = f" -af 'pan=mono|c0={mix}'" if channels > 1 else ""
    return f"ffmpeg -nostdin -v error -i {shlex.quote(row.uri)}{pan} -ar {ASR_RATE} -f wav - |"


def _path(uri: str) -> str:
    """A path for wav.scp. Raises StorageError for one with a space at its end or a line break, which Kaldi cannot read."""
    if uri != uri.strip() or len(uri.splitlines()) != 1 or uri.endswith("|"):
        raise StorageError(
            f"{uri!r} cannot stand in wav.scp", remedy="export to another folder, or with the audio: --audio codes"
        )
    return str(Path(uri)) if "://" not in uri else uri


def _sorted(table: dict[str, str]) -> bytes:
    """Lines in the order of their bytes, which is that of `LC_ALL=C sort`."""
    return b"".join(sorted(f"{name} {value}\n".encode() for name, value in table.items()))
