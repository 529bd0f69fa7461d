"""One window of a long recording in a bucket: traffic and time, with a full download and with ranges.

    PYTHONPATH=. python benchmarks/bucket_window.py --bucket s3://corpora/long --hours 10 --kind flac

Noise and a tone, mono at 16 kHz, written once to the bucket; a window of 20 minutes in the middle, as a build decodes it.
Both must give the same samples. Requests are those for the object itself: one HEAD and the ranges, or one GET. Credentials and
endpoint come from the usual environment.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.pipeline.steps.probe import probe
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.unit import Unit
from voxbeam.storage.local_copies import open_local, open_sparse
from voxbeam.storage.store import Store
from voxbeam.transforms.decode import decode_sandboxed

RATE = 16_000
CONFIG = DecodeConfig(timeout_s=600)
MINUTES, MARGIN_MS = 20, 15_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--hours", type=int, default=10)
    parser.add_argument("--kind", default="flac", help="flac, wav, ogg or mp3")
    options = parser.parse_args()
    store, name = Store(options.bucket), f"{options.hours}_hours.{options.kind}"
    if not store.exists(name):
        with tempfile.TemporaryDirectory() as folder:
            store.put_file(name, _write(Path(folder) / name, options.hours))
    start = options.hours * 3_600_000 // 2
    recording = Recording(recording="long", uri=store.uri(name))
    source = probe(recording, CONFIG).source
    if source is None:
        raise SystemExit(f"{store.uri(name)} cannot be decoded")
    unit = Unit(
        recording=recording,
        source=source,
        index=0,
        start_ms=start,
        end_ms=start + MINUTES * 60_000,
        margin_ms=MARGIN_MS,
        fingerprint="",
    )
    whole = _timed("whole", lambda: _whole(unit))
    parts = _timed("by ranges", lambda: _by_ranges(unit))
    np.testing.assert_array_equal(whole, parts)


def _write(path: Path, hours: int) -> Path:
    seconds = np.arange(RATE * 60) / RATE
    noise = np.random.default_rng(0).integers(-300, 300, RATE * 60)
    tone = 3000 * np.sin(2 * np.pi * 220 * seconds)
    minute = ((noise + tone) * (1 + np.sin(2 * np.pi * seconds / 7)) / 2).astype(np.int16)
    with sf.SoundFile(path, "w", RATE, 1, compression_level=0.0) as file:
        for number in range(hours * 60):
            file.write(np.roll(minute, number * 7919))
    return path


def _whole(unit: Unit) -> tuple[NDArray[np.float32], int, int]:
    with open_local(unit.recording.uri) as path:
        audio, _ = decode_sandboxed(path, CONFIG, None, unit)
        return audio.pcm16k, 1, path.stat().st_size


def _by_ranges(unit: Unit) -> tuple[NDArray[np.float32], int, int]:
    asked = [0]  # HEAD
    with open_sparse(unit.recording.uri) as (path, fill):
        if fill is None:
            raise SystemExit(f"{unit.recording.uri} is not in a bucket")
        fetch = fill

        def counted(start: int, length: int) -> None:
            asked.append(length)
            fetch(start, length)

        audio, _ = decode_sandboxed(path, CONFIG, counted, unit)
    return audio.pcm16k, len(asked), sum(asked)


def _timed(what: str, run: Callable[[], tuple[NDArray[np.float32], int, int]]) -> NDArray[np.float32]:
    started, cpu = time.perf_counter(), _cpu()
    samples, requests, size = run()
    print(
        f"{what}: {size / 1e6:.1f} MB in {requests} requests, {time.perf_counter() - started:.1f} s, "
        f"{_cpu() - cpu:.1f} s of CPU on this side without the decoder"
    )
    return samples


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
