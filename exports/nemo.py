"""NeMo: a manifest of JSON lines for each split, `<split>_manifest.json`, with the audio beside it or in the recordings."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from voxbeam.exports.lines import audio_path, local_recordings, one_line, rows_with_audio
from voxbeam.exports.request import ExportRequest
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.manifest import RecordingRow


class NeMo:
    """Writes NeMo's manifests."""

    name = "nemo"
    sounds = ("kept", "codes", "sources", "refer")

    def write(self, request: ExportRequest) -> None:
        recordings = local_recordings(request) if request.sound == "refer" else {}
        splits = sorted({part.split for part in request.parts})
        with TemporaryDirectory() as folder, ExitStack() as files:
            open_files = {split: files.enter_context((Path(folder) / split).open("wb")) for split in splits}
            for row in rows_with_audio(request, lambda row: audio_path(row, "flac"), request.flac):
                line = _line(row, recordings.get(row["recording"]))
                open_files[row["split"]].write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            files.close()
            for split in splits:
                request.target.write(f"{split}_manifest.json", (Path(folder) / split).rename)

    def metadata(self, request: ExportRequest) -> dict[str, Any]:
        return {}

    def loading(self, request: ExportRequest) -> str:
        text = "## How to load it\n\n`train_manifest.json` is a manifest for NeMo (`manifest_filepath`). "
        where = "Paths are absolute." if request.sound == "refer" else "Paths are relative to the manifest."
        return text + where + request.sound_sentence("Audio is ")


def _line(row: dict[str, Any], recording: RecordingRow | None) -> dict[str, Any]:
    place = {"audio_filepath": audio_path(row, "flac")}
    if recording is not None:
        if (recording.channels or 1) > 1:
            raise StorageError(
                f"{recording.uri} has {recording.channels} channels, and a NeMo manifest cannot say which one to read",
                remedy="export with the audio: --audio sources, --audio codes or --audio kept",
            )
        place = {"audio_filepath": recording.uri, "offset": row["start_ms"] / 1000}
    return {
        **place,
        "duration": row["duration_ms"] / 1000,
        "text": one_line(row["text"]),
        "lang": row["language"],
        "speaker": row["identity"],
        "speaker_name": row["speaker"],
        "key": row["key"],
    }
