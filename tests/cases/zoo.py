"""The zoo of lengths: audio files of every container, whole, joined, cut, and with headers that are wrong, each with its outcome.

All are made here, from a few seconds of real speech, by soundfile, PyAV and surgery on bytes.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tests.cases import surgery, times
from tests.cases.encode import RATE, Wave, by_ffmpeg, by_soundfile


@dataclass(frozen=True, kw_only=True)
class Animal:
    """A file of the zoo and its outcome: its sound, or the reasons for which it may be quarantined."""

    name: str
    content: bytes
    sound: Wave | None = None
    """mono, 16 kHz"""
    padding_s: float = 0.0
    """how much silence the coder adds where its container cannot say so"""
    reasons: tuple[str, ...] = ()


def animals(speech: Wave) -> Iterator[Animal]:
    """Every file of the zoo, from seven seconds of speech at 16 kHz."""
    for family in (_wave, _other_pcm, _flac, _mp3, _ogg, _movies, _streams, _times):
        yield from family(speech[: 4 * RATE], speech[4 * RATE : 7 * RATE])


def _whole(name: str, content: bytes, sound: Wave, padding_s: float = 0.0) -> Animal:
    return Animal(name=name, content=content, sound=sound, padding_s=padding_s)


def _refused(name: str, content: bytes, *reasons: str) -> Animal:
    return Animal(name=name, content=content, reasons=reasons)


def _wave(a: Wave, b: Wave) -> Iterator[Animal]:
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"):
        yield _whole(f"wav_{subtype}.wav", by_soundfile(a, "WAV", subtype), a)
    for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610"):  # whole blocks only
        yield _whole(f"wav_{subtype}.wav", by_soundfile(a, "WAV", subtype), a, 0.1)
    for channels in (1, 2):
        yield _whole(f"wavex_{channels}.wav", by_soundfile(a, "WAVEX", "PCM_16", channels=channels), a)
    plain, second, rf64 = (by_soundfile(x, c, "PCM_16") for x, c in ((a, "WAV"), (b, "WAV"), (a, "RF64")))
    long_rf64 = surgery.rf64(plain)
    yield _whole("rf64_soundfile.wav", rf64, a)
    yield _whole("rf64.rf64", long_rf64, a)
    yield _whole("bw64.wav", long_rf64.replace(b"RF64", b"BW64", 1), a)
    yield _refused("rf64_no_size.wav", surgery.rf64(plain, data_size=0), "no_length")
    yield _refused("rf64_unknown_size.wav", surgery.rf64(plain, data_size=(1 << 64) - 1), "no_length")
    yield _refused("rf64_cut.wav", long_rf64[: len(long_rf64) * 2 // 3], "truncated")
    yield _refused("rf64_joined.wav", long_rf64 + long_rf64, "trailing_data")
    for size in (0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB):
        yield _whole(f"wav_size_{size:08x}.wav", surgery.wav_sizes(plain, data=size), a)
        yield _whole(f"wav_sizes_{size:08x}.wav", surgery.wav_sizes(plain, data=size, riff=size), a)
    yield _whole("wav_riff_36.wav", surgery.wav_sizes(plain, data=0, riff=36), a)
    yield _whole("wav_riff_0.wav", surgery.wav_sizes(plain, riff=0), a)
    notes = surgery.chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 8) + b"recorder")
    yield _whole("wav_list_before.wav", surgery.wav_with(plain, before=notes), a)
    yield _whole("wav_list_after.wav", surgery.wav_with(plain, after=notes * 200), a)
    yield _whole("wav_odd_chunk.wav", surgery.wav_with(plain, before=surgery.chunk(b"junk", b"odd")), a)
    yield _whole("wav_zeros_after.wav", plain + bytes(5000), a)
    yield _whole("wav_id3_after.wav", surgery.wav_with(plain, after=surgery.chunk(b"id3 ", surgery.id3(9000))), a)
    yield _refused("wav_stale.wav", surgery.wav_sizes(plain, data=50_000), "trailing_data")
    yield _refused("wav_stale_both.wav", surgery.wav_sizes(plain, data=50_000, riff=50_036), "trailing_data")
    yield _refused("wav_joined.wav", plain + second, "trailing_data")
    yield _refused("wav_two_parts.wav", surgery.wav_with(plain, after=surgery.chunk(b"data", second[44:])), "trailing_data")
    yield _refused("wav_too_large.wav", surgery.wav_sizes(plain, data=len(plain) * 2), "truncated")
    yield _refused("wav_cut.wav", plain[: len(plain) // 2], "truncated")
    odd = by_soundfile(a[:-1], "WAV", "PCM_U8")
    yield _whole("wav_u8_odd.wav", odd, a[:-1])
    yield _whole("wav_u8_odd_unpadded.wav", odd.removesuffix(b"\0"), a[:-1])


def _other_pcm(a: Wave, b: Wave) -> Iterator[Animal]:
    for subtype in ("PCM_S8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW"):
        yield _whole(f"aiff_{subtype}.aiff", by_soundfile(a, "AIFF", subtype), a)
    yield _whole("aiff_sowt.aifc", by_soundfile(a, "AIFF", "PCM_16", endian="LITTLE"), a)
    for container, suffix in (("AIFF", "aif"), ("AU", "au"), ("CAF", "caf"), ("W64", "w64")):
        plain, second = (by_soundfile(x, container, "PCM_16") for x in (a, b))
        yield _whole(f"{suffix}_16.{suffix}", plain, a)
        yield _whole(f"{suffix}_stereo.{suffix}", by_soundfile(a, container, "PCM_24", channels=2), a)
        yield _refused(f"{suffix}_cut.{suffix}", plain[: len(plain) * 2 // 3], "truncated")
        yield _refused(f"{suffix}_joined.{suffix}", plain + second, "trailing_data")
    yield _whole("aiff_no_size.aiff", surgery.aiff_size(by_soundfile(a, "AIFF", "PCM_16"), 0), a)
    yield _whole("aiff_unknown_size.aiff", surgery.aiff_size(by_soundfile(a, "AIFF", "PCM_16"), 0xFFFFFFFF), a)
    yield _refused("aiff_stale.aiff", surgery.aiff_size(by_soundfile(a, "AIFF", "PCM_16"), 60_000), "trailing_data")
    yield _whole("au_ulaw.snd", by_soundfile(a, "AU", "ULAW", rate=8000), a)
    yield _whole("au_unknown.au", surgery.patched(by_soundfile(a, "AU", "PCM_16"), 8, b"\xff\xff\xff\xff"), a)
    yield _refused("au_stale.au", surgery.patched(by_soundfile(a, "AU", "PCM_16"), 8, struct.pack(">I", 60_000)), "trailing_data")
    yield _whole("caf_unknown.caf", surgery.caf_size(by_soundfile(a, "CAF", "PCM_16"), -1), a)
    yield _whole("caf_alac.caf", by_soundfile(a, "CAF", "ALAC_16"), a)
    yield _whole("sphere.sph", by_soundfile(a, "NIST", "PCM_16"), a)
    yield _refused("sphere_cut.sph", by_soundfile(a, "NIST", "PCM_16")[:60_000], "truncated")
    yield _whole("voc.voc", by_soundfile(a, "VOC", "PCM_16"), a)
    yield _whole("w64_unknown.w64", surgery.w64_size(by_soundfile(a, "W64", "PCM_16"), 0), a)


def _flac(a: Wave, b: Wave) -> Iterator[Animal]:
    plain, second = (by_soundfile(x, "FLAC", "PCM_16") for x in (a, b))
    yield _whole("flac_16.flac", plain, a)
    yield _whole("flac_24.flac", by_soundfile(a, "FLAC", "PCM_24", rate=48_000, channels=2), a)
    yield _whole("flac_8.flac", by_soundfile(a, "FLAC", "PCM_S8"), a)
    yield _whole("flac_pipe.flac", surgery.flac_total(plain, 0), a)
    yield _whole("flac_pipe_stereo.flac", by_ffmpeg(a, "flac", "flac", 44_100, 2, pipe=True), a)
    yield _whole("flac_count_small.flac", surgery.flac_total(plain, len(a) // 3), a)
    yield _refused("flac_count_large.flac", surgery.flac_total(plain, len(a) * 3), "truncated")
    yield _whole("flac_joined.flac", plain + second, np.concatenate([a, b]))
    for name, rate, channels in (("rates", 44_100, 1), ("channels", 16_000, 2)):
        other = by_soundfile(b, "FLAC", "PCM_16", rate, channels)
        yield _whole(f"flac_joined_{name}.flac", plain + other, np.concatenate([a, b]))
        yield _whole(f"flac_joined_{name}_back.flac", other + plain, np.concatenate([b, a]))
    yield _whole("flac_joined_pipe.flac", surgery.flac_total(plain, 0) + surgery.flac_total(second, 0), np.concatenate([a, b]))
    yield _whole("flac_id3.flac", surgery.id3(4000) + plain, a)
    yield _whole("flac_id3v1.flac", plain + surgery.id3v1(), a)
    yield _whole("flac_picture.flac", surgery.flac_block(plain, 6, bytes(40_000)), a)
    yield _whole("flac_padding.flac", surgery.flac_block(plain, 1, bytes(100_000)), a)
    yield _whole("flac_zeros_after.flac", plain + bytes(3000), a)
    yield _refused("flac_cut.flac", plain[: len(plain) * 2 // 3], "truncated", "corrupt")
    yield _whole("flac_cut_pipe.flac", surgery.flac_total(plain, 0), a)
    yield _whole("flac.oga", by_ffmpeg(a, "ogg", "flac"), a)
    yield _whole("flac.mka", by_ffmpeg(a, "matroska", "flac"), a)


_MP3_PAD = 0.2
"""delay of coder and decoder, and whole frames, at 16 kHz"""


def _mp3(a: Wave, b: Wave) -> Iterator[Animal]:
    both = np.concatenate([a, b])
    for rate, channels in ((8000, 1), (11_025, 1), (16_000, 1), (22_050, 2), (24_000, 1), (32_000, 1), (44_100, 2), (48_000, 2)):
        yield _whole(f"mp3_{rate}_{channels}.mp3", by_soundfile(a, "MP3", "MPEG_LAYER_III", rate, channels), a)
        bare = by_ffmpeg(a, "mp3", "libmp3lame", rate, channels, options={"write_xing": "0", "id3v2_version": "0"})
        yield _whole(f"mp3_bare_{rate}_{channels}.mp3", bare, a, 3 * _MP3_PAD)
    quiet = np.concatenate([np.zeros(2 * RATE, np.float32), a, np.zeros(RATE, np.float32)])  # so that VBR varies
    vbr, vbr_44 = (by_soundfile(quiet, "MP3", "MPEG_LAYER_III", rate) for rate in (16_000, 44_100))
    abr = by_ffmpeg(quiet, "mp3", "libmp3lame", options={"write_xing": "0"}, abr="1", bit_rate=40_000)
    cbr = by_ffmpeg(a, "mp3", "libmp3lame", options={"write_xing": "0", "id3v2_version": "0"}, bit_rate=48_000)
    xing, second = (by_ffmpeg(x, "mp3", "libmp3lame", bit_rate=48_000) for x in (a, b))
    yield _whole("mp3_vbr.mp3", vbr, quiet)
    yield _whole("mp3_vbr_no_xing.mp3", surgery.mp3_without_first(vbr), quiet, _MP3_PAD)
    yield _whole("mp3_vbr_no_xing_44.mp3", surgery.mp3_without_first(vbr_44), quiet, _MP3_PAD)
    yield _whole("mp3_abr_no_xing.mp3", abr, quiet, _MP3_PAD)
    yield _whole("mp3_joint_stereo.mp3", by_ffmpeg(a, "mp3", "libmp3lame", 44_100, 2, joint_stereo="1"), a)
    yield _whole("mp3_true_stereo.mp3", by_ffmpeg(a, "mp3", "libmp3lame", 44_100, 2, joint_stereo="0"), a)
    yield _whole("mp3_xing.mp3", xing, a)
    yield _whole("mp3_xing_small.mp3", surgery.xing_count(xing, 20), a, _MP3_PAD)
    yield _refused("mp3_xing_large.mp3", surgery.xing_count(xing, 5000), "truncated")
    yield _refused("mp3_xing_cut.mp3", xing[: len(xing) * 2 // 3], "truncated", "corrupt")
    yield _whole("mp3_joined_cbr.mp3", cbr + cbr, np.concatenate([a, a]), 2 * _MP3_PAD)
    yield _whole("mp3_joined_xing.mp3", xing + second, both, 2 * _MP3_PAD)
    yield _whole("mp3_joined_rates.mp3", xing + by_soundfile(b, "MP3", "MPEG_LAYER_III", 44_100, 1), both, 2 * _MP3_PAD)
    faster = by_soundfile(b, "MP3", "MPEG_LAYER_III", 44_100, 1)
    yield _whole("mp3_joined_rates_back.mp3", faster + xing, np.concatenate([b, a]), 2 * _MP3_PAD)
    yield _whole("mp3_joined_channels.mp3", cbr + by_ffmpeg(b, "mp3", "libmp3lame", 16_000, 2), both, 3 * _MP3_PAD)
    yield _whole("mp3_id3_picture.mp3", surgery.id3(150_000) + xing, a)
    yield _whole("mp3_id3_twice.mp3", surgery.id3(3000) + surgery.id3(3000) + cbr, a, _MP3_PAD)
    yield _whole("mp3_id3v1.mp3", cbr + surgery.id3v1(), a, _MP3_PAD)
    yield _whole("mp3_ape.mp3", cbr + surgery.ape_tag(3000), a, _MP3_PAD)
    yield _whole("mp3_ape_id3v1.mp3", cbr + surgery.ape_tag(3000) + surgery.id3v1(), a, _MP3_PAD)
    yield _whole("mp3_mid_frame.mp3", cbr[50:], a, _MP3_PAD)
    yield _whole("mp3_zeros_after.mp3", cbr + bytes(5000), a, _MP3_PAD)
    yield _whole("mp3_zeros_before.mp3", bytes(5000) + cbr, a, _MP3_PAD)
    yield _whole("mp2.mp2", by_ffmpeg(a, "mp2", "mp2"), a, _MP3_PAD)
    yield _whole("mp2_joined.mpga", by_ffmpeg(a, "mp2", "mp2") + by_ffmpeg(b, "mp2", "mp2"), both, 2 * _MP3_PAD)
    yield _whole("mp3_in_wav.wav", by_ffmpeg(a, "wav", "libmp3lame"), a, _MP3_PAD)


def _ogg(a: Wave, b: Wave) -> Iterator[Animal]:
    both = np.concatenate([a, b])
    vorbis, second = (by_soundfile(x, "OGG", "VORBIS") for x in (a, b))
    opus, opus_b = (by_soundfile(x, "OGG", "OPUS") for x in (a, b))
    yield _whole("vorbis.ogg", vorbis, a)
    yield _whole("vorbis_44_stereo.ogg", by_soundfile(a, "OGG", "VORBIS", 44_100, 2), a)
    yield _whole("opus.opus", opus, a)
    yield _whole("opus_48_stereo.opus", by_soundfile(a, "OGG", "OPUS", 48_000, 2), a)
    yield _whole("opus_ffmpeg.opus", by_ffmpeg(a, "opus", "libopus", 48_000), a)
    yield _whole("vorbis_chained.ogg", vorbis + second, both)
    yield _whole("opus_chained.opus", opus + opus_b, both)
    yield _whole("opus_chained_three.opus", opus + opus_b + opus, np.concatenate([a, b, a]))
    faster, stereo = by_soundfile(b, "OGG", "VORBIS", 44_100, 1), by_soundfile(b, "OGG", "VORBIS", 16_000, 2)
    yield _whole("vorbis_chained_rates.ogg", vorbis + faster, both)
    yield _whole("vorbis_chained_rates_back.ogg", faster + vorbis, np.concatenate([b, a]))
    yield _whole("vorbis_chained_three_rates.ogg", vorbis + faster + vorbis, np.concatenate([a, b, a]))
    yield _whole("vorbis_chained_channels.ogg", vorbis + stereo, both)
    yield _whole("vorbis_chained_channels_back.ogg", stereo + vorbis, np.concatenate([b, a]))
    yield _whole("opus_chained_channels.opus", opus + by_soundfile(b, "OGG", "OPUS", 16_000, 2), both)
    yield _whole("vorbis_then_opus.ogg", vorbis + opus_b, both)
    yield _whole("flac_chained_rates.oga", by_ffmpeg(a, "ogg", "flac") + by_ffmpeg(b, "ogg", "flac", 44_100), both)
    yield _refused("vorbis_chained_cut_early.ogg", vorbis + second[:4000], "truncated")
    unknown = second.replace(b"vorbis", b"unheard")
    yield _refused("vorbis_chained_unknown.ogg", vorbis + unknown, "corrupt")
    for name, content in (("vorbis_cut.ogg", vorbis), ("opus_cut.opus", opus)):
        yield _refused(name, content[: len(content) * 2 // 3], "truncated")
    for name, content in (("vorbis_chained_cut.ogg", vorbis + second), ("opus_chained_cut.opus", opus + opus_b)):
        yield _refused(name, content[: len(content) * 5 // 6], "truncated")
    yield _whole("opus.webm", by_ffmpeg(a, "webm", "libopus", 48_000), a)
    yield _whole("opus_live.webm", by_ffmpeg(a, "webm", "libopus", 48_000, pipe=True, options={"live": "1"}), a, 0.03)
    yield _whole("vorbis_pipe.mka", by_ffmpeg(a, "matroska", "vorbis", 16_000, 2, pipe=True, strict="-2"), a, 0.1)


def _movies(a: Wave, b: Wave) -> Iterator[Animal]:
    aac, front, second = (by_ffmpeg(x, "ipod", "aac", options=o) for x, o in ((a, {}), (a, {"movflags": "faststart"}), (b, {})))
    yield _whole("aac.m4a", aac, a, 0.07)
    yield _whole("aac_faststart.m4a", front, a, 0.07)
    yield _whole("aac.m4b", by_ffmpeg(a, "ipod", "aac", 44_100, 2), a, 0.07)
    yield _whole("aac.mp4", by_ffmpeg(a, "mp4", "aac", 48_000, 2), a, 0.07)
    yield _whole("aac_no_edit_list.mp4", by_ffmpeg(a, "mp4", "aac", options={"use_editlist": "0"}), a, 0.2)
    fragments = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
    yield _whole("aac_fragments.mp4", by_ffmpeg(a, "mp4", "aac", options=fragments), a, 0.2)
    yield _whole("alac.m4a", by_ffmpeg(a, "ipod", "alac"), a)
    yield _whole("pcm.mov", by_ffmpeg(a, "mov", "pcm_s16le"), a)
    yield _whole("mp3.mp4", by_ffmpeg(a, "mp4", "libmp3lame", 44_100), a, _MP3_PAD)
    yield _refused("aac_cut.m4a", aac[: len(aac) // 2], "truncated")
    yield _refused("aac_faststart_cut.m4a", front[: len(front) // 2], "truncated", "corrupt")
    yield _refused("aac_joined.m4a", aac + second, "trailing_data")
    yield _refused("aac_faststart_joined.m4a", front + front, "trailing_data")
    fragmented = by_ffmpeg(a, "mp4", "aac", options=fragments)
    yield _refused("aac_fragments_cut.mp4", fragmented[: len(fragmented) * 2 // 3], "truncated", "corrupt")
    yield _whole("amr.3gp", by_ffmpeg(a, "3gp", "libopencore_amrnb", 8000, bit_rate=12_200), a, 0.05)


def _streams(a: Wave, b: Wave) -> Iterator[Animal]:
    both = np.concatenate([a, b])
    makers: dict[str, tuple[Callable[[Wave], bytes], float]] = {
        "adts.aac": (lambda x: by_ffmpeg(x, "adts", "aac"), 0.25),
        "adts_44.aac": (lambda x: by_ffmpeg(x, "adts", "aac", 44_100, 2), 0.1),
        "ac3.ac3": (lambda x: by_ffmpeg(x, "ac3", "ac3", 48_000, 2), 0.1),
        "eac3.eac3": (lambda x: by_ffmpeg(x, "eac3", "eac3", 48_000, 2), 0.1),
        "amr.amr": (lambda x: by_ffmpeg(x, "amr", "libopencore_amrnb", 8000, bit_rate=12_200), 0.05),
        "aac.ts": (lambda x: by_ffmpeg(x, "mpegts", "aac"), 0.25),
        "mp2.mpg": (lambda x: by_ffmpeg(x, "mpeg", "mp2"), 0.2),
    }
    for name, (make, padding) in makers.items():
        stem, suffix = name.split(".")
        yield _whole(name, make(a), a, padding)
        joined = Animal(
            name=f"{stem}_{suffix}_joined.{suffix}",
            content=make(a) + make(b),
            sound=both,
            padding_s=2 * padding,
            reasons=("trailing_data", "corrupt", "format_change"),
        )
        yield joined
    adts = by_ffmpeg(a, "adts", "aac")
    for name, rate, channels in (("rates", 44_100, 1), ("channels", 16_000, 2)):
        yield _whole(f"adts_joined_{name}.aac", adts + by_ffmpeg(b, "adts", "aac", rate, channels), both, 0.5)
        yield _whole(
            f"adts_joined_{name}_back.aac", by_ffmpeg(b, "adts", "aac", rate, channels) + adts, np.concatenate([b, a]), 0.5
        )
    yield _whole("wma.wma", by_ffmpeg(a, "asf", "wmav2", bit_rate=64_000), a, 0.2)
    yield _whole("wma_1.asf", by_ffmpeg(a, "asf", "wmav1", 44_100, 2, bit_rate=128_000), a, 0.2)
    yield _whole("aac.flv", by_ffmpeg(a, "flv", "aac", 44_100), a, 0.1)
    yield _whole("pcm.avi", by_ffmpeg(a, "avi", "pcm_s16le"), a)
    yield _whole("mp3.avi", by_ffmpeg(a, "avi", "libmp3lame"), a, _MP3_PAD)
    yield _whole("tta.tta", by_ffmpeg(a, "tta", "tta"), a)
    yield _whole("wavpack.wv", by_ffmpeg(a, "wv", "wavpack"), a)
    yield _whole("aac.mka", by_ffmpeg(a, "matroska", "aac"), a, 0.2)
    joinable = {
        "wma_joined.wma": ("asf", "wmav2"),
        "aac_joined.mka": ("matroska", "aac"),
        "pcm_joined.avi": ("avi", "pcm_s16le"),
        "tta_joined.tta": ("tta", "tta"),
        "wavpack_joined.wv": ("wv", "wavpack"),
        "aac_joined.flv": ("flv", "aac"),
    }
    for name, (container, codec) in joinable.items():
        rate = 44_100 if container == "flv" else RATE
        parts = [by_ffmpeg(x, container, codec, rate, bit_rate=64_000) for x in (a, b)]
        yield Animal(
            name=name, content=b"".join(parts), sound=both, padding_s=0.4, reasons=("trailing_data", "corrupt", "truncated")
        )
        cut = parts[0][: len(parts[0]) * 2 // 3]
        yield Animal(name=name.replace("joined", "cut"), content=cut, reasons=("truncated", "corrupt", "not_audio"))


def _times(a: Wave, b: Wave) -> Iterator[Animal]:
    for name, content, sound, padding_s in (*times.files(a), *times.edited(a)):
        reasons = () if sound is not None else ("edit_list",)
        yield Animal(name=name, content=content, sound=sound, padding_s=padding_s, reasons=reasons)
