"""Sound: where an export takes the audio of a sample from — the FLAC in the shard, the codes, or the recording itself.

Needs libraries beyond the core, which are imported when they are asked for: `voxbeam[train]` to decode codes, `voxbeam[pipeline]`
to cut recordings.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxbeam.corpus import Corpus
from voxbeam.schemas.errors import NotInCorpusError, StorageError, VoxbeamError
from voxbeam.schemas.formats import CODEC_RATE, CODEC_SAMPLES_PER_MS
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.storage.releases import read_rows

if TYPE_CHECKING:
    from voxbeam.exports.parts import Sample

SOUNDS = {
    "kept": "the FLAC that was kept in the shard",
    "codes": "decoded from the codec tokens",
    "sources": "cut from the recordings",
    "refer": "the recordings themselves, where they are",
    "none": "no audio",
}
"""where audio comes from, by the option's value"""
_CONTEXT_MS = 500
"""decoded before and after a segment, so that the resampler has what it had in the build"""

SoundOf = Callable[["Sample"], NDArray[np.float32]]
"""a sample's audio, float32 [S], mono at 24 kHz, of its exact duration"""


def choose_sound(asked: str | None, keeps_audio: bool, codec_name: str | None) -> str:
    """What was asked for; else the kept audio where every sample has it, and audio from the codes where not.

    Raises VoxbeamError where a further codec is named that would not be heard.
    """
    sound = asked or ("kept" if keeps_audio else "codes")
    if codec_name is not None and sound != "codes":
        raise VoxbeamError(
            f"a codec is named ({codec_name}), but the audio is {SOUNDS[sound]}",
            remedy="ask for audio from its codes (--audio codes), or name no codec",
        )
    return sound


def open_sound(kind: str, corpus: Corpus) -> SoundOf:
    """The function that gives a sample's audio. Raises ModelError when the codec cannot be loaded."""
    if kind == "kept":
        return _kept
    if kind == "codes":
        return _from_codes(corpus)
    if kind == "sources":
        return _from_sources(corpus)
    raise ValueError(f"no audio is made for {kind!r}")


def encode(wave_S: NDArray[np.float32], container: str = "FLAC") -> bytes:
    """Audio at 24 kHz as the bytes of a file, 16 bit."""
    import soundfile as sf

    sink = io.BytesIO()
    sf.write(sink, wave_S, CODEC_RATE, format=container, subtype="PCM_16")
    return sink.getvalue()


def _kept(sample: Sample) -> NDArray[np.float32]:
    import soundfile as sf

    wave_S, _ = sf.read(io.BytesIO(kept_flac(sample)), dtype="float32")
    return wave_S


def kept_flac(sample: Sample) -> bytes:
    """The FLAC that its shard has. Raises NotInCorpusError where it has none."""
    if sample.flac is None:
        raise NotInCorpusError(
            f"{sample.row['key']} has no audio in its shard",
            remedy="pack the release with pack.keep_audio: true, or take it from elsewhere: --audio codes, --audio sources",
        )
    return sample.flac


def _from_codes(corpus: Corpus) -> SoundOf:
    from voxbeam.models.threads import pin_threads

    pin_threads()

    def decode(sample: Sample) -> NDArray[np.float32]:
        codes_KT = np.load(io.BytesIO(sample.codes[corpus.codec_name]), allow_pickle=False)
        return _exactly(corpus.decode(codes_KT), sample.row["duration_ms"])

    return decode


def _from_sources(corpus: Corpus) -> SoundOf:
    from voxbeam.transforms.audio.source_cut import SourceCutter

    recordings = {row.recording: row for row in read_rows(corpus.store, corpus.release, RecordingRow)}
    cutter = SourceCutter()

    def cut(sample: Sample) -> NDArray[np.float32]:
        start_ms, end_ms = sample.row["start_ms"], sample.row["end_ms"]
        row = recordings[sample.row["recording"]]
        first_ms = max(0, start_ms - _CONTEXT_MS)
        last_ms = min(row.duration_ms or end_ms, end_ms + _CONTEXT_MS)
        try:
            wave_S = cutter.cut(row, first_ms, last_ms, sample.row["channel"])
        except StorageError as error:
            raise StorageError(
                f"no audio for {sample.row['key']}: {error.message}",
                remedy=f"{error.remedy}, or take the audio from elsewhere: --audio kept, --audio codes",
            ) from error
        offset = (start_ms - first_ms) * CODEC_SAMPLES_PER_MS
        return wave_S[offset : offset + (end_ms - start_ms) * CODEC_SAMPLES_PER_MS]

    return cut


def _exactly(wave_S: NDArray[np.float32], duration_ms: int) -> NDArray[np.float32]:
    """Audio of a duration: codes end with a whole frame."""
    samples = duration_ms * CODEC_SAMPLES_PER_MS
    return np.pad(wave_S[:samples], (0, max(0, samples - len(wave_S))))
