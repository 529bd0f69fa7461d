"""Features of windows of 4 s for the classifier of models/codec_trace.py: recorded, through the codec, and made otherwise.

    python -m benchmarks.codec_trace.prepare OUT DATA [--made FOLDER] [--only librispeech,ami]

DATA has the folders of `SOURCES`; FOLDER has made speech, as <program>/<voice>.<anything>.flac or .wav, never trained on.
Recorded windows are copied by the embedded codec, by Griffin-Lim and, for tests only, by Lyra (from DATA/lyra; without
ai-edge-litert it is left out, and said). Every window goes through a chain drawn at random (chain.py). Writes OUT/<source>.npz.

A voice is in one part only, by a hash of its name: 60 % train, 15 % calibrate, 25 % test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from voxbeam.models.codec_trace import features
from voxbeam.safety.codec_trace import WINDOW_S, speech_windows
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.synthesis.recording import Recording

from benchmarks.codec_trace.chain import SPAN, pass_through
from benchmarks.codec_trace.copies import Copy, Lyra, embedded, griffin_lim


@dataclass(frozen=True)
class Source:
    """Files of one kind of speech."""

    name: str
    pattern: str
    clips: int
    """at most so many windows of a file"""
    only: str | None = None
    """the part that all of it is in"""
    is_copied: bool = True
    step: int = 1
    """every so many files"""


SOURCES = (
    Source("librispeech", "librispeech/train-clean-100/*.flac", 2),
    Source("test-other", "librispeech/test-other/*/*.flac", 1, only="test"),
    Source("ami", "ami/*.wav", 8),
    Source("orders", "commands/*.ogg", 1, only="train", step=3),
    Source("ljspeech", "ljspeech/*.ogg", 1, only="test", is_copied=False),
    Source("kokoro", "kokoro/kokoro_*.ogg", 5, is_copied=False),
)


def voice_of(path: Path) -> str:
    """The speaker of a file, by its name."""
    name = path.name.split(".")[0]
    return name.split("-")[0] if path.suffix == ".flac" else name


def part_of(voice: str) -> str:
    share = int(hashlib.sha256(voice.encode()).hexdigest()[:8], 16) / 2**32
    return "train" if share < 0.6 else "calibrate" if share < 0.75 else "test"


def sources(made: Path | None) -> Iterator[Source]:
    yield from SOURCES
    for folder in sorted(made.iterdir()) if made else ():
        yield Source(folder.name, str(folder / "*.[fw][la][av]*"), 2, only="test", is_copied=False)


def files_of(source: Source, data: Path) -> list[Path]:
    pattern = Path(source.pattern)
    root = Path(pattern.anchor) if pattern.is_absolute() else data
    return sorted(root.glob(str(pattern.relative_to(pattern.anchor))))[:: source.step]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--made", type=Path)
    parser.add_argument("--only", help="sources, with commas between; several processes can share the work")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    made = arguments.made.resolve() if arguments.made else None
    copies: dict[str, tuple[Copy, tuple[str, ...]]] = {
        "codec": (embedded, ("train", "calibrate", "test")),
        "griffin-lim": (griffin_lim, ("train", "test")),
    }
    try:
        copies["lyra"] = (Lyra(arguments.data / "lyra"), ("test",))
    except ImportError as error:
        print(f"without Lyra: {error}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for source in sources(made):
        if arguments.only is None or source.name in arguments.only.split(","):
            prepare(source, files_of(source, arguments.data), copies, arguments.out)


def prepare(source: Source, files: list[Path], copies: dict[str, tuple[Copy, tuple[str, ...]]], out: Path) -> None:
    """Writes the features of a source and of its copies."""
    found, rows = [], []
    for path in files:
        rng = np.random.default_rng(zlib.crc32(path.name.encode()))
        voice = voice_of(path)
        part = source.only or part_of(voice)
        for wave_S in speech_windows(Recording.read(path).wave_S, CODEC_RATE, source.clips):
            kinds = [(source.name, "", wave_S)]
            for name, (copy, parts) in copies.items():
                if source.is_copied and part in parts:
                    copied_S, how = copy(wave_S, rng)
                    kinds.append((name, how, copied_S))
            for kind, how, one_S in kinds:
                passed_S, chain = pass_through(np.resize(one_S, SPAN), rng)
                found.append(features(passed_S[None, : round(WINDOW_S * ASR_RATE)])[0])
                rows.append({"kind": kind, "of": source.name, "how": how, "chain": chain})
                rows[-1] |= {"voice": voice, "part": part, "file": path.name}
    with (partial := out / f"{source.name}.part").open("wb") as file:
        np.savez(file, features_ND=np.stack(found), rows=np.array([json.dumps(row) for row in rows]))
    partial.rename(out / f"{source.name}.npz")
    print(source.name, dict(Counter((row["part"], row["kind"]) for row in rows)), flush=True)


if __name__ == "__main__":
    main()
