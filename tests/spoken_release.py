"""A release of real speech, made by hand in a second: sources, codes by the shipped codec, and the FLAC that a build keeps."""

import io
from dataclasses import replace
from pathlib import Path

import soundfile as sf

from voxbeam.corpus import Corpus
from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.steps.probe import probe
from voxbeam.pipeline.steps.release_writer import commit, write_part
from voxbeam.pipeline.steps.shards import PackedSample, write_shards
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.formats import codec_stage
from voxbeam.schemas.manifest import RecordingRow, RejectedRow
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.release import ReleaseFile
from voxbeam.schemas.sample_keys import sample_key
from voxbeam.schemas.unit import Unit
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.store import Store
from voxbeam.transforms.decode import decode_sandboxed

from tests.audio_fixtures import sample
from tests.codecs import with_moved
from tests.pipeline.factories import PHONES, draft, member

SEGMENTS_MS = [(start, start + 1600) for start in range(1000, 25_000, 2500)]
TEXT = "héllo there,  |  number"


def spoken_release(folder: Path, *, keep_audio: bool = True, per_recording: int = 4, moved: bool = False) -> Corpus:
    """Two recordings, one of them with two channels; a speaker each, in two splits. `moved` adds a further codec of that name."""
    config = CorpusConfig().decode
    store = Store(str(folder / "corpus"))
    pin_threads()
    codec = load_codec(EMBEDDED_WEIGHTS)
    speech = sample()
    (folder / "in" / "a b").mkdir(parents=True)
    sf.write(folder / "in" / "a b" / "talk.wav", speech, 16_000)
    sf.write(folder / "in" / "two.flac", (speech[:, None] * [1.0, 0.4])[::-1], 16_000)
    files: list[ReleaseFile] = []
    recordings: list[RecordingRow] = []
    for split, name, path in (("train", "talk", "a b/talk.wav"), ("valid", "two", "two.flac")):
        recording = Recording(recording=name, uri=str(folder / "in" / path), license="CC-BY-4.0", consent_basis="consent")
        source = probe(recording, config).source
        assert source is not None
        window = Unit(
            recording=recording, source=source, index=0, start_ms=0, end_ms=source.duration_ms, margin_ms=0, fingerprint="f"
        )
        audio, _ = decode_sandboxed(Path(recording.uri), config, None, window)
        members: list[PackedSample] = []
        for number, (start, end) in enumerate(SEGMENTS_MS[:per_recording]):
            wave = audio.slice24k(start, end)
            sink = io.BytesIO()
            sf.write(sink, wave, 24_000, format="FLAC", subtype="PCM_16")
            (codes,) = codec.encode([wave])
            made = member(
                name, start, split, speaker=f"Speaker {name}", identity=f"i{name:0>16}", ms=end - start, codes=codes.tobytes(),
                codecs=("moved",) if moved else (),
                words=[{"text": "there", "start_ms": start, "end_ms": start + 300, "probability": 0.5}] if number else None,
                text=f"{TEXT} {number}", language="en", dnsmos_ovrl=2.0 + 0.1 * number, avg_logprob=-0.1 * number,
            )  # fmt: skip
            members.append(replace(made, flac=sink.getvalue() if keep_audio else None))
        for shard, rows in write_shards(store, split, 0, members, 1 << 30):
            files.append(ReleaseFile(path=shard.shard, kind="shard", sha256=shard.sha256, bytes=shard.bytes, rows=shard.samples))
            files.append(write_part(store, "samples", split, list(rows)))
        accepted = sum(end - start for start, end in SEGMENTS_MS[:per_recording])
        recordings.append(
            RecordingRow(
                **{**vars(recording), **vars(source)}, status="done", accepted_ms=accepted, samples=per_recording, units=["u0"],
                non_speech_ms=source.duration_ms - accepted,
            )
        )  # fmt: skip
    files.append(write_part(store, "recordings", "recordings", list(recordings)))
    rejected = RejectedRow(
        key=sample_key("talk", 28_000, 29_000), recording="talk", unit="u0", start_ms=28_000, end_ms=29_000, duration_ms=1000,
        speech_ratio=0.1, rejected_by="filter", reasons=["low_snr", "narrow_band"],
    )  # fmt: skip
    files.append(write_part(store, "rejected", "rejected", [rejected]))
    header = replace(draft(), models={"tokenize": sha256_of(EMBEDDED_WEIGHTS)})
    if moved:
        settings = with_moved(folder)
        header.models[codec_stage("moved")] = sha256_of(Path(settings["codecs"]["moved"]["codec"]))
        header = replace(header, config={**header.config, **settings})
    commit(store, header, files, {"samples": 2 * per_recording}, PHONES)
    return Corpus(store.root)
