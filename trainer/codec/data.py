"""Audio for training a codec: utterances of a folder, a listing or a release, split by speaker, in batches of random crops.

Audio is not kept in memory: each crop is read from its file or shard, so memory grows only with the list of utterances.

Shapes: B batch, S samples at 24 kHz.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import soundfile as sf
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE
from voxbeam.storage.address import resolve_address
from voxbeam.storage.listing import Listing, is_listing
from voxbeam.storage.releases import latest_release, sample_columns
from voxbeam.storage.store import Store, is_bucket, local_path


@dataclass(frozen=True)
class AudioUtterance:
    """Speech of one speaker, in a file or in a shard."""

    name: str
    speaker: str
    rate: int
    """Hz"""
    samples: int
    """at that rate"""
    path: Path | None
    """the file; None for a member of a shard"""
    member: tuple[Store, str, int, int] | None = None
    """corpus, shard, first byte, bytes"""
    text: str | None = None
    """transcript, if the corpus has one"""

    def open(self) -> sf.SoundFile:
        source: Path | IO[bytes] | None = self.path
        if self.member is not None:
            store, shard, first, size = self.member
            source = io.BytesIO(store.get_range(shard, first, size))
        return sf.SoundFile(source)


def find_utterances(source: str) -> list[AudioUtterance]:
    """The utterances of a folder of .flac and .wav files, of a listing (columns `uri`, optionally `speaker` and `text`), or of
    the split `train` of a corpus whose latest release keeps audio.

    In a folder, the speaker is the file name up to its first dash. Raises ValueError, naming the remedy, if there are none.
    """
    if is_listing(source):
        found = list(_from_listing(source))
    elif is_bucket(source) or (local_path(source) / "releases").is_dir():
        found = _from_release(Store(source))
    else:
        found = list(_from_folder(local_path(source)))
    if not found:
        raise ValueError(f"no .flac or .wav file in {source}: name a folder, a listing or a corpus with speech")
    return found


def _from_file(path: Path, speaker: str | None = None, text: str | None = None) -> AudioUtterance:
    try:
        info = sf.info(path)
    except sf.LibsndfileError as error:
        raise ValueError(f"cannot read {path} ({error}): fix or remove it") from error
    return AudioUtterance(path.stem, speaker or path.stem.split("-")[0], info.samplerate, info.frames, path, text=text)


def _from_folder(folder: Path) -> Iterator[AudioUtterance]:
    texts: dict[str, str] = {}
    for path in folder.rglob("*.trans.txt"):  # LibriSpeech: per utterance a line with its name and transcript
        texts |= dict(line.split(" ", 1) for line in path.read_text().splitlines() if " " in line)
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".flac", ".wav"}):
        yield _from_file(path, text=texts.get(path.stem))


def _from_listing(listing: str) -> Iterator[AudioUtterance]:
    for row in Listing(uri=resolve_address(listing)):
        if is_bucket(row.uri):
            raise ValueError(
                f"{listing}, {row.place}: {row.address!r} is not a local file; copy the audio to this machine, or train on a "
                "release built with `pack.keep_audio: true`, which is read from the bucket in ranges"
            )
        yield _from_file(local_path(row.uri), row.columns.get("speaker"), row.columns.get("text"))


def _from_release(store: Store) -> list[AudioUtterance]:
    release = latest_release(store)
    if release is None:
        raise ValueError(f"{store.root} has no release: build one, or name a folder or a listing of speech")
    columns = ("key", "speaker", "duration_ms", "text", "shard", "flac_offset", "flac_bytes")
    rows = list(sample_columns(store, release, "train", columns))
    if any(row["flac_offset"] is None for row in rows):
        raise ValueError(
            f"release {release.name} of {store.root} keeps no audio: pack it with `pack.keep_audio: true`, "
            "or train on the folder or listing from which it was built"
        )
    return [
        AudioUtterance(
            name=row["key"],
            speaker=row["speaker"],
            rate=CODEC_RATE,
            samples=row["duration_ms"] * CODEC_RATE // 1000,
            path=None,
            member=(store, row["shard"], row["flac_offset"], row["flac_bytes"]),
            text=row["text"],
        )
        for row in rows
    ]


def split_speakers(utterances: Sequence[AudioUtterance], held_out: int) -> tuple[list[AudioUtterance], list[AudioUtterance]]:
    """Training and held-out utterances. The held-out speakers are the first by hash: stable when other speakers are added."""
    order = sorted({each.speaker for each in utterances}, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    if not 0 < held_out < len(order):
        raise ValueError(f"cannot hold out {held_out} of {len(order)} speakers: lower --held-out-speakers")
    held = set(order[:held_out])
    return [u for u in utterances if u.speaker not in held], [u for u in utterances if u.speaker in held]


def read(utterance: AudioUtterance, start: int = 0, samples: int = -1) -> NDArray[np.float32]:
    """Mono audio at the utterance's own rate, from sample `start` on; at most `samples`, or all of it."""
    with utterance.open() as file:
        file.seek(start)
        return file.read(samples, dtype="float32", always_2d=True).mean(axis=1)


def read_at(utterance: AudioUtterance, rate: int) -> NDArray[np.float32]:
    """The whole utterance, float32 at a rate in Hz."""
    return soxr.resample(read(utterance), utterance.rate, rate)


def draw_batch(utterances: Sequence[AudioUtterance], batch: int, crop_seconds: float, seed: int, step: int) -> Tensor:
    """The batch of one step, [B, 1, S]: a pure function of seed and step, so a resumed run gets the same batches.

    Augmentation of each crop: speed (±10 %, with pitch), gain (±6 dB) and, for half of them, low white noise.
    """
    rng = np.random.default_rng([seed, step])
    size = round(crop_seconds * CODEC_RATE) // CODEC_HOP * CODEC_HOP
    seconds = np.array([each.samples / each.rate for each in utterances])
    crops = []
    for index in rng.choice(len(utterances), size=batch, p=seconds / seconds.sum()):
        each, speed = utterances[index], rng.uniform(0.9, 1.1)
        span = math.ceil(size / CODEC_RATE * each.rate * speed) + 16
        crop = read(each, int(rng.integers(max(1, each.samples - span))), span)
        crop = soxr.resample(crop, each.rate * speed, CODEC_RATE, quality="LQ")[:size]
        varied = np.pad(crop, (0, size - len(crop))) * 10 ** rng.uniform(-0.3, 0.3)
        if rng.random() < 0.5:
            varied = varied + rng.standard_normal(size) * 10 ** rng.uniform(-4.5, -3.3)
        crops.append(np.clip(varied, -1, 1).astype(np.float32))
    return torch.from_numpy(np.stack(crops))[:, None]
