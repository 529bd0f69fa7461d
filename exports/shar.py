"""Lhotse Shar: cuts as JSON lines, and tars of their codes and audio in the same order, which `CutSet.from_shar` reads.

Each split is a folder of its own, since lhotse takes every file of a folder for a field:
`<split>/cuts.000000.jsonl.gz`, `<split>/codes.000000.tar`, `<split>/recording.000000.tar`. The custom field `codes` of a cut is a
TemporalArray int16 [8, T]: `cut.load_codes()`. Those of a further codec are the field `codes_<name>`: `cut.load_codes_<name>()`.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxbeam.exports.parts import Part, Sample, read_samples
from voxbeam.exports.request import ExportRequest
from voxbeam.schemas.formats import CODEC_RATE, CODEC_SAMPLES_PER_MS, FRAME_RATE, N_CODEBOOKS

_IN_SUPERVISION = ("text", "language")
_TAKEN = {*_IN_SUPERVISION, "key", "speaker", "identity", "words", "duration_ms"}
"""columns that lhotse has a place for; `speaker` is the identity there, and the listed name is kept as `speaker_name`"""


class Shar:
    """Writes parts as shards of lhotse's Shar format."""

    name = "shar"
    sounds = ("kept", "codes", "sources", "none")

    def write(self, request: ExportRequest) -> None:
        codes_fields = {codec: "codes" if codec is None else f"codes_{codec}" for codec in (None, *request.corpus.release.codecs)}
        fields = (*codes_fields.values(), *(("recording",) if request.sound != "none" else ()))

        def complete(part: Part) -> bool:
            return all(request.target.has(_path(part, name)) for name in (*fields, "cuts"))

        for part, table in request.tables([part for part in request.parts if not complete(part)]):
            cuts: list[bytes] = []
            tars = {name: _Tar() for name in fields}
            for samples in read_samples(request.corpus.store, request.corpus.release, table, kept=request.sound == "kept"):
                for sample in samples:
                    cuts.append(json.dumps(_cut(sample, fields), ensure_ascii=False).encode() + b"\n")
                    key = sample.row["key"]
                    for codec, name in codes_fields.items():
                        tars[name].add(f"{key}.npy", sample.codes[codec], f"{key}.json", _array(sample))
                    if "recording" in tars:
                        tars["recording"].add(f"{key}.flac", request.flac(sample), f"{key}.json", _recording(sample))
            for name, tar in tars.items():
                request.target.write(_path(part, name), tar.save)
            request.target.put(_path(part, "cuts"), gzip.compress(b"".join(cuts), mtime=0))
            request.done(part)

    def metadata(self, request: ExportRequest) -> dict[str, Any]:
        return {}

    def loading(self, request: ExportRequest) -> str:
        text = "## How to load it\n\n```python\nfrom lhotse import CutSet\n\n"
        text += 'cuts = CutSet.from_shar(in_dir="path/of/this/folder/train")\n'
        text += "for cut in cuts:\n    codes = cut.load_codes()  # int16 [8, T], 75 frames a second\n```\n\n"
        if further := request.corpus.release.codecs:
            calls = ", ".join(f"`cut.load_codes_{name}()`" for name in further)
            text += f"The codes of the further codecs: {calls}.\n\n"
        text += "The speaker of a supervision is the identity; the listed name is `custom['speaker_name']`."
        return text + request.sound_sentence("The recording of a cut is ")


class _Tar:
    """A tar under construction, without time and owner."""

    def __init__(self) -> None:
        self._sink = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._sink, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 (closed by `save`)

    def add(self, name: str, content: bytes, json_name: str, manifest: dict[str, Any]) -> None:
        """Data and then its manifest: the order that lhotse reads."""
        for member, data in ((name, content), (json_name, json.dumps(manifest).encode() + b"\n")):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))

    def save(self, local: Path) -> None:
        self._tar.close()
        local.write_bytes(self._sink.getbuffer())


def _path(part: Part, field: str) -> str:
    return f"{part.split}/{field}.{part.number:06d}.{'jsonl.gz' if field == 'cuts' else 'tar'}"


def _cut(sample: Sample, fields: Sequence[str]) -> dict[str, Any]:
    """A cut whose data are in the tars of these fields."""
    row = sample.row
    key, seconds = row["key"], row["duration_ms"] / 1000
    supervision = {
        "id": key,
        "recording_id": key,
        "start": 0.0,
        "duration": seconds,
        "channel": 0,
        **{name: row[name] for name in _IN_SUPERVISION if row[name] is not None},
        "speaker": row["identity"],
        "custom": {
            **{name: value for name, value in row.items() if name not in _TAKEN and value is not None},
            "speaker_name": row["speaker"],
        },
    }
    return {
        "id": key,
        "start": 0.0,
        "duration": seconds,
        "channel": 0,
        "supervisions": [supervision],
        **({"recording": _recording(sample)} if "recording" in fields else {}),
        "custom": {name: _array(sample) for name in fields if name != "recording"},
        "type": "MonoCut",
    }


def _recording(sample: Sample) -> dict[str, Any]:
    milliseconds = sample.row["duration_ms"]
    return {
        "id": sample.row["key"],
        "sources": [{"type": "shar", "channels": [0], "source": ""}],
        "sampling_rate": CODEC_RATE,
        "num_samples": milliseconds * CODEC_SAMPLES_PER_MS,
        "duration": milliseconds / 1000,
        "channel_ids": [0],
    }


def _array(sample: Sample) -> dict[str, Any]:
    shape = [N_CODEBOOKS, sample.row["frames"]]
    stored = {"storage_type": "shar", "storage_path": "", "storage_key": "", "shape": shape}
    return {"array": stored, "temporal_dim": 1, "frame_shift": 1 / FRAME_RATE, "start": 0}
