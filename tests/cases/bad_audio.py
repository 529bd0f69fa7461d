"""The zoo of bad audio: cut, damaged, mislabeled and hostile files, most of them a few kilobytes."""

import gzip
import io
import os
import socket
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from tests.cases import surgery
from tests.cases.encode import by_ffmpeg, by_soundfile

Wave = NDArray[np.float32]
QUARANTINED, DONE, EITHER = "quarantined", "done", "either"


def write_bad_audio(folder: Path, sound: Wave, port: int) -> dict[str, str]:
    """Writes every file into a folder; names with their outcomes. `port` of this machine is where playlists point to."""
    outcomes: dict[str, str] = {}
    families = (_cut, _flipped, _mislabeled, _not_audio, _bombs)
    for name, content, outcome in (item for family in families for item in family(sound)):
        (folder / name).write_bytes(content)
        outcomes[name] = outcome
    sf.write(folder / "neighbor.wav", sound, 16_000)
    outcomes["neighbor.wav"] = DONE
    for name, content in _playlists(folder / "neighbor.wav", port):
        (folder / name).write_bytes(content)
        outcomes[name] = QUARANTINED
    for name in _special(folder):
        outcomes[name] = QUARANTINED
    return outcomes


def _formats(sound: Wave) -> dict[str, bytes]:
    return {
        "wav": by_soundfile(sound, "WAV", "PCM_16"),
        "aiff": by_soundfile(sound, "AIFF", "PCM_16"),
        "w64": by_soundfile(sound, "W64", "PCM_16"),
        "caf": by_soundfile(sound, "CAF", "PCM_16"),
        "au": by_soundfile(sound, "AU", "PCM_16"),
        "flac": by_soundfile(sound, "FLAC", "PCM_16"),
        "mp3": by_soundfile(sound, "MP3", "MPEG_LAYER_III"),
        "ogg": by_soundfile(sound, "OGG", "VORBIS"),
        "opus": by_soundfile(sound, "OGG", "OPUS"),
        "m4a": by_ffmpeg(sound, "ipod", "aac"),
        "webm": by_ffmpeg(sound, "webm", "libopus", 48_000),
        "wma": by_ffmpeg(sound, "asf", "wmav2", bit_rate=64_000),
        "avi": by_ffmpeg(sound, "avi", "pcm_s16le"),
        "flv": by_ffmpeg(sound, "flv", "aac", 44_100),
        "tta": by_ffmpeg(sound, "tta", "tta"),
    }


def _cut(sound: Wave) -> Iterator[tuple[str, bytes, str]]:
    """A cut file is quarantined; Matroska of unknown length cannot be told from a shorter one."""
    for suffix, content in _formats(sound).items():
        for percent in (1, 10, 50, 97):
            yield f"cut_{percent}.{suffix}", content[: len(content) * percent // 100], QUARANTINED


def _flipped(sound: Wave) -> Iterator[tuple[str, bytes, str]]:
    rng = np.random.default_rng(13)
    for suffix, content in _formats(sound).items():
        for number, flips in enumerate((3, 300)):
            damaged = bytearray(content)
            for at in rng.integers(0, len(content), flips):
                damaged[at] ^= 1 << int(rng.integers(8))
            yield f"flipped_{number}.{suffix}", bytes(damaged), EITHER
        zeroed = bytearray(content)
        zeroed[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
        yield f"zeroed.{suffix}", bytes(zeroed), EITHER


def _mislabeled(sound: Wave) -> Iterator[tuple[str, bytes, str]]:
    formats = _formats(sound)
    for true, suffix in (("wav", "mp3"), ("mp3", "wav"), ("flac", "m4a"), ("m4a", "flac"), ("opus", "wav"), ("webm", "ogg")):
        yield f"{true}_named.{suffix}", formats[true], DONE


def _not_audio(sound: Wave) -> Iterator[tuple[str, bytes, str]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("a.wav", bytes(5_000_000))
    nothing = {
        "text.wav": b"this is no audio\n" * 500,
        "page.mp3": b"<!doctype html><html><body>404 not found</body></html>" * 20,
        "pointer.flac": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
        "table.ogg": b"uri,speaker\na.wav,1\n" * 100,
        "tree.m4a": b'{"a": [' * 3000,
        "zip.wav": archive.getvalue(),
        "gzip.flac": gzip.compress(by_soundfile(sound, "WAV", "PCM_16")),
        "png.mp3": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 9, 9, 8, 2, 0, 0, 0) + bytes(3000),
        "elf.wav": b"\x7fELF\x02\x01\x01" + bytes(5000),
        "pdf.ogg": b"%PDF-1.7\n" + b"1 0 obj\n" * 300,
        "empty.wav": b"",
        "empty.opus": b"",
        "zeros.wav": bytes(50_000),
        "zeros.mp3": bytes(50_000),
        "ones.flac": b"\xff" * 50_000,
        "one_byte.ogg": b"O",
        "riff_only.wav": b"RIFF",
        "header_only.wav": by_soundfile(sound[:0], "WAV", "PCM_16"),
        "header_only.flac": by_soundfile(sound[:0], "FLAC", "PCM_16"),
        "header_only.au": by_soundfile(sound[:0], "AU", "PCM_16"),
        "id3_only.mp3": surgery.id3(5000),
        "movie_only.mov": struct.pack(">I4s4sI", 16, b"ftyp", b"qt  ", 0) + struct.pack(">I4s", 8, b"moov"),
        "midi.wav": b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + bytes(40),
        "subtitles.mka": b"1\n00:00:01,000 --> 00:00:02,000\nhello\n" * 50,
    }
    yield from ((name, content, QUARANTINED) for name, content in nothing.items())
    noise = np.random.default_rng(3).bytes(60_000)
    for suffix in ("wav", "flac", "ogg", "m4a"):
        yield f"noise.{suffix}", noise, QUARANTINED
    for value in (np.nan, np.inf):
        bad = sound.copy()
        bad[2000] = value
        yield f"{value}.wav", by_soundfile(bad, "WAV", "FLOAT"), QUARANTINED


def _bombs(sound: Wave) -> Iterator[tuple[str, bytes, str]]:
    plain, flac = by_soundfile(sound, "WAV", "PCM_16"), by_soundfile(sound, "FLAC", "PCM_16")

    def wav(at: int, value: bytes) -> bytes:
        return surgery.patched(plain, at, value)

    yield "rate_4_ghz.wav", wav(24, b"\xff\xff\xff\xff"), QUARANTINED
    yield "rate_2_ghz.wav", wav(24, b"\xff\xff\xff\x7f"), QUARANTINED
    yield "rate_0.wav", wav(24, bytes(4)), QUARANTINED
    yield "channels_65535.wav", wav(22, b"\xff\xff"), QUARANTINED
    yield "channels_0.wav", wav(22, bytes(2)), QUARANTINED
    yield "channels_64.wav", by_soundfile(sound[:1600], "WAV", "PCM_16", channels=64), QUARANTINED
    yield "block_0.wav", wav(32, bytes(2)), EITHER
    yield "bits_0.wav", wav(34, bytes(2)), EITHER
    yield "codec_unknown.wav", wav(20, b"\x77\x77"), QUARANTINED
    yield "length_huge.wav", surgery.wav_sizes(plain, data=0x70000000), QUARANTINED
    yield "length_huge.flac", surgery.flac_total(flac, (1 << 36) - 1), QUARANTINED
    yield "length_huge.aiff", surgery.aiff_size(by_soundfile(sound, "AIFF", "PCM_16"), 0x70000000), QUARANTINED
    yield "length_huge.caf", surgery.caf_size(by_soundfile(sound, "CAF", "PCM_16"), 1 << 60), QUARANTINED
    yield "length_huge.w64", surgery.w64_size(by_soundfile(sound, "W64", "PCM_16"), 1 << 60), QUARANTINED
    yield "length_huge.rf64", surgery.rf64(plain, 1 << 60), QUARANTINED
    yield "chunk_huge.wav", surgery.wav_with(plain, before=b"LIST" + struct.pack("<I", 0xFFFFFFF0) + bytes(8)), QUARANTINED
    yield "chunks_empty.wav", surgery.wav_with(plain, before=surgery.chunk(b"junk", b"") * 20_000), EITHER
    yield "id3_huge.mp3", b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + by_soundfile(sound, "MP3", "MPEG_LAYER_III"), QUARANTINED
    yield "picture_huge.flac", flac[:42] + b"\x06\xff\xff\xff" + flac[42:], QUARANTINED
    yield "boxes_deep.m4a", _deep_boxes(8000), QUARANTINED
    yield "sound_of_1_hz.wav", surgery.patched(plain, 24, struct.pack("<II", 1, 2)), QUARANTINED
    yield "pages_empty.ogg", by_soundfile(sound, "OGG", "VORBIS")[:58] + _empty_pages(5000), QUARANTINED


def _deep_boxes(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = struct.pack(">I4s", len(content) + 8, b"moov") + content
    return struct.pack(">I4s4sI", 16, b"ftyp", b"M4A ", 0) + content


def _empty_pages(count: int) -> bytes:
    return b"".join(b"OggS\0\0" + struct.pack("<QIII", 0, 1, number, 0) + b"\0" for number in range(count))


def _playlists(neighbor: Path, port: int) -> Iterator[tuple[str, bytes]]:
    """Files that name other files or addresses, under names of audio."""
    for kind, target in (("file", str(neighbor)), ("relative", neighbor.name), ("http", f"http://127.0.0.1:{port}/a.wav")):
        texts = {
            "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
            "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
            "m3u": f"#EXTM3U\n{target}\n",
            "pls": f"[playlist]\nFile1={target}\nNumberOfEntries=1\n",
            "asx": f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
            "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
            f'<Representation id="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
            "smil": f'<smil><body><audio src="{target}"/></body></smil>',
        }
        for name, text in texts.items():
            suffix = {"ffconcat": "m4a", "hls": "ts", "dash": "mp4"}.get(name, "wav")
            yield f"{name}_{kind}.{suffix}", text.encode()
    yield "session.wav", f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n".encode()
    yield "redirect.mov", _redirect(f"http://127.0.0.1:{port}/a.mov".encode())


def _redirect(address: bytes) -> bytes:
    """A QuickTime reference movie."""

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", len(body) + 8, name) + body

    reference = box(b"rdrf", struct.pack(">I4sI", 0, b"url ", len(address)) + address)
    return box(b"ftyp", b"qt  \0\0\0\0") + box(b"moov", box(b"rmra", box(b"rmda", reference)))


def _special(folder: Path) -> Iterator[str]:
    os.mkfifo(folder / "fifo.wav")
    (folder / "folder.wav").mkdir()
    targets = {
        "zero.wav": "/dev/zero",
        "null.flac": "/dev/null",
        "random.mp3": "/dev/urandom",
        "dangling.wav": "nowhere",
        "self.ogg": "self.ogg",
    }
    for name, target in targets.items():
        (folder / name).symlink_to(target)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.wav"))
    with (folder / "sparse.wav").open("wb") as content:
        content.truncate(1 << 30)
    with (folder / "sparse.mp3").open("wb") as content:
        content.truncate(1 << 30)
    yield from ("fifo.wav", "folder.wav", "socket.wav", "sparse.wav", "sparse.mp3", *targets)
