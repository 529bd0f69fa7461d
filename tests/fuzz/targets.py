"""What is fuzzed: a function of bytes for every reader of files from outside and of our own, and small files to start from.

A target may raise nothing but the errors that a user is meant to see. `fuzz.py` runs one with atheris; `test_findings.py` replays
what was found. Libraries in C (Arrow, safetensors, libsndfile, FFmpeg) are not instrumented: coverage guides the search in Python
code only. Imports are inside of the targets, so that each starts with what it needs.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from voxbeam.schemas.errors import VoxbeamError

EXPECTED: tuple[type[Exception], ...] = (VoxbeamError, FileNotFoundError)


@dataclass(frozen=True)
class Target:
    """A reader, files to start from, and the errors beside `EXPECTED` that its docstring names and its callers handle."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    documented: tuple[type[Exception], ...] = ()
    seal: Callable[[bytes], bytes] | None = None
    """makes checksums inside of a changed file right, so that what is behind them is read"""


_MEMORY = Path("/dev/shm")


@cache
def _folder() -> Path:
    """In memory where there is such a folder: writing a file again on a disk takes longer than most targets."""
    return Path(tempfile.mkdtemp(prefix="voxbeam-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))


def _file(content: bytes, name: str) -> Path:
    path = _folder() / name
    path.write_bytes(content)
    return path


def _config(content: bytes) -> object:
    from voxbeam.schemas.config import CorpusConfig

    return CorpusConfig.from_yaml(_file(content, "config.yaml"))


def _unit(content: bytes) -> object:
    from voxbeam.pipeline.steps.unit_file import read_result, read_seconds, read_unit_rows

    from tests.pipeline.test_unit_file import POLICY, RESULT

    rows = list(read_unit_rows(content, POLICY, None, whole=True))
    return [read_result(content, RESULT.unit, POLICY), rows, read_seconds(content)]


def _release(content: bytes) -> object:
    """A release whose checksum is right, so that what is behind it is read."""
    from voxbeam.schemas.release import Release, _checksum

    try:
        tree = json.loads(content)
        tree.pop("sha256", None)
        content = json.dumps({**tree, "sha256": _checksum(tree)}).encode()
    except Exception:  # as it is
        pass
    return Release.from_json(content)


def _manifest(content: bytes) -> object:
    from voxbeam.schemas.manifest import SampleRow
    from voxbeam.storage.releases import read_part
    from voxbeam.storage.store import Store

    path = _file(content, "part.parquet")
    return [row.check() for row in read_part(Store(str(path.parent)), SampleRow, path.name)]


def _seal_tar(content: bytes) -> bytes:
    """A tar in which every block that looks like a header has the right checksum."""
    made = bytearray(content)
    for start in range(0, len(made) - 511, 512):
        if made[start + 257 : start + 262] == b"ustar":
            total = sum(made[start : start + 148]) + 8 * 0x20 + sum(made[start + 156 : start + 512])
            made[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(made)


def _tars(content: bytes) -> object:
    from voxbeam.storage.store import Store
    from voxbeam.trainer.data.webdataset_tars import tar_batches

    path = _file(content, "x.tar")
    return list(tar_batches(Store(str(path.parent)), [path.name], 5))


def _members(content: bytes) -> object:
    from voxbeam.storage.tar_members import tar_members

    return list(tar_members(io.BytesIO(content)))


def _codes(content: bytes) -> object:
    from voxbeam.storage.npy_codes import parse_codes

    return parse_codes(content)


def _messages(content: bytes) -> object:
    from voxbeam.transforms.audio.sandbox_ipc import receive

    return receive(io.BytesIO(content), 1 << 20)


def _header(content: bytes) -> object:
    from voxbeam.transforms.audio.containers import ogg_is_complete, ogg_links, xing_frames
    from voxbeam.transforms.audio.header import stated_bytes, unexplained_bytes

    path = _file(content, "a.wav")
    return stated_bytes(path), unexplained_bytes(path), ogg_links(path), ogg_is_complete(path), xing_frames(path)


def _speak(content: bytes) -> object:
    from voxbeam.models.spoken_form import spoken_form

    return spoken_form(content.decode("utf-8", "replace"))


def _checkpoint(content: bytes) -> object:
    from voxbeam.models import checkpoint
    from voxbeam.storage.store import Store

    return checkpoint.read(Store(str(_file(content, "step-000000001.safetensors").parent)), 1)


def _codec(content: bytes) -> object:
    from voxbeam.models.codec import codec_layers

    return codec_layers(_file(content, "codec.safetensors"))


def _phones(content: bytes) -> object:
    from voxbeam.trainer.data.index import parse_phones

    return parse_phones(content, "phones.json")


def _listing(suffix: str) -> Callable[[bytes], object]:
    def read(content: bytes) -> object:
        from voxbeam.storage.listing import Listing

        return list(Listing(uri=str(_file(content, f"listing{suffix}")), max_rows=10_000))

    return read


def _sidecar(content: bytes) -> object:
    from voxbeam.pipeline.steps.discover import discover
    from voxbeam.schemas.config import ListingConfig

    folder = _folder() / "in"
    folder.mkdir(exist_ok=True)
    (folder / "a.flac").touch()
    (folder / "a.json").write_bytes(content)
    return discover(str(folder), ListingConfig())


def _released(kind: str) -> list[bytes]:
    from tests.pipeline.factories import small_release

    store, release = small_release(Path(tempfile.mkdtemp(prefix="voxbeam-fuzz-corpus-")))
    if kind == "release":
        return [release.to_json()]
    return [store.get(release.files_of_kind(kind)[0].path)]


def _manifest_seed() -> list[bytes]:
    """Two samples, without the statistics of columns, which are two thirds of a small file."""
    import pyarrow.parquet as pq

    table, sink = pq.read_table(io.BytesIO(_released("samples")[0])).slice(0, 2), io.BytesIO()
    pq.write_table(table, sink, write_statistics=False, use_dictionary=False)
    return [sink.getvalue()]


def _tar_seeds() -> list[bytes]:
    """Two samples; and a member with a long name, a folder and a link."""
    import tarfile

    codes = _npy_seed()[0]
    ids = json.dumps({"phone_ids": [1, 2], "text": "a b", "speaker": "s", "start_ms": 0}).encode()
    kinds = {
        tarfile.PAX_FORMAT: [("k0", tarfile.REGTYPE), ("k1", tarfile.REGTYPE)],
        tarfile.GNU_FORMAT: [("k" * 120, tarfile.REGTYPE), ("folder", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE)],
    }
    found = []
    for form, entries in kinds.items():
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
            for name, kind in entries:
                for suffix, content in ((".codes.npy", codes), (".json", ids)):
                    info = tarfile.TarInfo(name + suffix)
                    info.type, info.size = kind, len(content) if kind == tarfile.REGTYPE else 0
                    tar.addfile(info, io.BytesIO(content))
        found.append(sink.getvalue()[: tar.offset])
    return found


def _unit_seed() -> list[bytes]:
    from tests.pipeline.test_unit_file import CONTENT

    return [CONTENT]


def _seal(content: bytes) -> bytes:
    """A unit file whose checksum is right."""
    return b"voxbeam unit 1\n\0" + hashlib.sha256(content).digest() + content


def _npy_seed() -> list[bytes]:
    import numpy as np

    sink = io.BytesIO()
    np.save(sink, np.ones((8, 3), np.int16))
    return [sink.getvalue()]


def _message_seed() -> list[bytes]:
    from voxbeam.transforms.audio.sandbox_ipc import send

    sink = io.BytesIO()
    send(sink, {"done": {"a": 1}}, [b"abcd", b""])
    return [sink.getvalue()]


def _header_seeds() -> list[bytes]:
    import numpy as np
    import soundfile as sf

    found = [
        b"caff\0\1\0\0" + bytes(40), b"NIST_1A\n   1024\nsample_count -i 5\n", b"ID3\4\0\0\0\0\0\0\xff\xfb", b"TTA1" + bytes(30),
        b"\0\0\0\x18ftypM4A " + bytes(40), b"\x1aE\xdf\xa3" + bytes(40), b"FLV\1\5\0\0\0\x09" + bytes(20),
    ]  # fmt: skip
    for kind in ("WAV", "AIFF", "W64", "RF64", "AU", "CAF", "OGG", "FLAC", "MP3"):
        sink = io.BytesIO()
        sf.write(sink, np.zeros(100), 16_000, format=kind)
        found.append(sink.getvalue()[:4000])
    return found


def _packed(name: str) -> list[bytes]:
    from torch import ones

    from voxbeam.storage.safetensors_io import pack

    return [pack({"a": ones(2)}, name, {"step": 1, "config": {"layers": "frame"}})]


_ROW = {"audio_filepath": "a.wav", "duration": 1.5, "text": "x", "speaker": 7}
TARGETS: dict[str, Target] = {
    "config": Target(
        _config, lambda: [b"device: cpu\nsegment: {min_s: 2.0}\n", b"a: &a [*a]\n", b"decode: {memory_mb: 1:2:3}\n"]
    ),
    "release": Target(_release, lambda: _released("release")),
    "unit": Target(_unit, _unit_seed),
    "unit_sealed": Target(lambda content: _unit(_seal(content)), lambda: [seed[48:] for seed in _unit_seed()]),
    "manifest": Target(_manifest, _manifest_seed),
    "tar_stream": Target(_tars, _tar_seeds, seal=_seal_tar),
    "tar_members": Target(_members, _tar_seeds, (ValueError,), seal=_seal_tar),
    "npy_codes": Target(_codes, _npy_seed, (ValueError,)),
    "sandbox_ipc": Target(_messages, _message_seed, (ValueError, EOFError)),
    "header": Target(_header, _header_seeds),
    "spoken_form": Target(_speak, lambda: ["Dr. Smith paid $5M on 1/2/2003, v1.2 — XIV %".encode()]),
    "checkpoint": Target(_checkpoint, lambda: _packed("training")),
    "codec": Target(_codec, lambda: _packed("codec")),
    "phones": Target(_phones, lambda: [b'{"phones": ["a", "b"], "voice": "en-us"}']),
    "sidecar": Target(_sidecar, lambda: [b'{"speaker": "7", "snr": 7.5, "book_meta": {"title": "t"}}']),
    "listing_csv": Target(
        _listing(".csv"), lambda: [b'uri,speaker\na.wav,1\n"b\nc.wav",2\n', "\ufeffpath;text\na.wav;x\n".encode()]
    ),
    "listing_jsonl": Target(_listing(".jsonl"), lambda: [json.dumps(_ROW).encode() + b"\n"]),
    "listing_json": Target(_listing(".json"), lambda: [json.dumps([_ROW]).encode()]),
}


def replay(name: str, content: bytes) -> None:
    """Runs a target; errors that it may raise are fine."""
    target = TARGETS[name]
    try:
        target.read(content)
    except EXPECTED + target.documented:
        pass


if __name__ == "__main__":
    print(*TARGETS)
