"""Surgery on the bytes of audio files: sizes, counts, tags and chunks that recorders and careless tools leave behind."""

import struct


def patched(content: bytes, at: int, new: bytes) -> bytes:
    """The same with some bytes replaced."""
    return content[:at] + new + content[at + len(new) :]


def chunk(name: bytes, body: bytes) -> bytes:
    """A RIFF chunk."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def wav_sizes(content: bytes, *, data: int | None = None, riff: int | None = None) -> bytes:
    """A WAV file that states other sizes."""
    if data is not None:
        content = patched(content, content.index(b"data") + 4, struct.pack("<I", data))
    return content if riff is None else patched(content, 4, struct.pack("<I", riff))


def wav_with(content: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A WAV file with chunks before and behind its sound."""
    at = content.index(b"data")
    content = content[:at] + before + content[at:] + after
    return patched(content, 4, struct.pack("<I", len(content) - 8))


def rf64(content: bytes, data_size: int | None = None) -> bytes:
    """A WAV file as RF64, whose sizes stand in a chunk `ds64` (EBU Tech 3306)."""
    at = content.index(b"data")
    size = len(content) - at - 8
    sizes = struct.pack("<QQQI", len(content) + 28, size if data_size is None else data_size, size // 2, 0)
    unknown = b"\xff\xff\xff\xff"
    head = b"RF64" + unknown + b"WAVE" + chunk(b"ds64", sizes) + content[12:at]
    return head + b"data" + unknown + content[at + 8 :]


def aiff_size(content: bytes, size: int) -> bytes:
    """An AIFF file whose sound states another size."""
    return patched(content, content.index(b"SSND") + 4, struct.pack(">I", size))


def caf_size(content: bytes, size: int) -> bytes:
    """A CAF file whose sound states another size; −1 means up to the end."""
    return patched(content, content.index(b"data") + 4, struct.pack(">q", size))


def w64_size(content: bytes, size: int) -> bytes:
    """A Wave64 file whose sound states another size."""
    return patched(content, content.index(b"data\xf3\xac\xd3\x11") + 16, struct.pack("<Q", size))


def flac_total(content: bytes, samples: int) -> bytes:
    """A FLAC file whose STREAMINFO counts another number of samples; 0 means unknown."""
    at = content.index(b"fLaC") + 8 + 13  # the count's upper four bits share a byte with the sample size
    return patched(content, at, bytes([content[at] & 0xF0 | samples >> 32]) + struct.pack(">I", samples & 0xFFFFFFFF))


def flac_block(content: bytes, kind: int, body: bytes) -> bytes:
    """A FLAC file with a metadata block behind STREAMINFO."""
    if kind == 6:  # a picture states the lengths of its parts
        body = struct.pack(">IIIIIIII", 3, 0, 0, 1, 1, 24, 0, len(body)) + body
    at = 4 + 4 + 34
    streaminfo = patched(content[:at], 4, bytes([content[4] & 0x7F]))
    last = bytes([kind | content[4] & 0x80])
    return streaminfo + last + len(body).to_bytes(3, "big") + body + content[at:]


def id3(size: int) -> bytes:
    """An ID3v2 tag that holds a picture of `size` bytes."""
    picture = b"\0image/png\0\x03\0" + bytes(i * 7 & 0xFF for i in range(size))
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    return b"ID3\x03\0\0" + bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0)) + frame


def id3v1() -> bytes:
    """An ID3v1 tag."""
    return b"TAG" + b"a title".ljust(125, b"\0")


def ape_tag(size: int) -> bytes:
    """An APEv2 tag with one item of `size` bytes."""
    item = struct.pack("<II", size, 0) + b"Comment\0" + b"x" * size

    def frame(flags: int) -> bytes:
        return b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, flags) + bytes(8)

    return frame(0xA0000000) + item + frame(0x80000000)


_BITRATES = {3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)}
_BITRATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}


def mp3_frame_bytes(header: bytes) -> int:
    """Length of the MPEG layer III frame that begins with these four bytes (ISO 11172-3, 2.4.2.3)."""
    version, index, rate, padding = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    kbps = (_BITRATES[3] if version == 3 else _BITRATES_2)[index]
    return (144 if version == 3 else 72) * kbps * 1000 // _RATES[version][rate] + padding


def mp3_without_first(content: bytes) -> bytes:
    """An MP3 file without its first frame, which holds the Xing header."""
    if content[:3] == b"ID3":
        content = content[10 + sum((b & 0x7F) << s for b, s in zip(content[6:10], (21, 14, 7, 0), strict=True)) :]
    assert b"Xing" in content[:200] or b"Info" in content[:200]
    return content[mp3_frame_bytes(content[:4]) :]


def xing_count(content: bytes, frames: int) -> bytes:
    """An MP3 file whose Xing header counts another number of frames."""
    at = max(content.find(b"Xing", 0, 4096), content.find(b"Info", 0, 4096))
    assert at > 0 and content[at + 7] & 1
    return patched(content, at + 8, struct.pack(">I", frames))


def edit_list(content: bytes, edits: list[tuple[float, float | None]], rate: int) -> bytes:
    """An MP4 file of one stream, `moov` last, with another edit list: (seconds, where they begin in the media, None: silence)."""
    moov = content.rindex(b"moov") - 4
    scale = struct.unpack_from(">I", content, content.index(b"mvhd", moov) + 16)[0]
    body = b"".join(
        struct.pack(">IiHH", round(seconds * scale), -1 if begin_s is None else round(begin_s * rate), 1, 0)
        for seconds, begin_s in edits
    )
    box = struct.pack(">I4sII", 16 + len(body), b"elst", 0, len(edits)) + body
    at = content.index(b"elst", moov) - 4
    old = int.from_bytes(content[at : at + 4], "big")
    for name in (b"moov", b"trak", b"edts"):
        place = content.index(name, moov) - 4
        size = int.from_bytes(content[place : place + 4], "big") + len(box) - old
        content = patched(content, place, struct.pack(">I", size))
    return content[:at] + box + content[at + old :]
