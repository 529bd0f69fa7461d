"""Builds a corpus of one recording of many hours and reports the peak memory of every process.

    python benchmarks/long_recording.py --hours 3 [--input FOLDER] [--workers 1]

The recording is the input's utterances, folder by folder, repeated. Memory is resident size, sampled four times a second.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import soundfile as sf

SHARED = Path("../shared/data/librispeech/test-other")
RATE = 16_000


def write_recording(source: Path, target: Path, hours: float) -> None:
    """One FLAC of at least `hours`, in blocks of one folder's utterances in order, folders in a seeded order."""
    chapters = [
        [sf.read(file, dtype="int16")[0] for file in sorted(folder.glob("*.flac"))]
        for folder in sorted(source.iterdir())
        if folder.is_dir()
    ]
    order = np.random.default_rng(0)
    written = 0
    with sf.SoundFile(target, "w", RATE, 1, subtype="PCM_16") as file:
        while written < hours * 3600 * RATE:
            for utterance in chapters[order.integers(len(chapters))]:
                file.write(utterance)
                written += len(utterance)


def peak_memory(command: list[str]) -> tuple[dict[str, float], int]:
    """Peak resident GB of every process of a command, largest first, and its exit status."""
    process = subprocess.Popen(command)
    peaks: dict[str, float] = {}
    while process.poll() is None:
        try:
            root = psutil.Process(process.pid)
            for child in [root, *root.children(recursive=True)]:
                name = f"{child.pid} {' '.join(child.cmdline()[1:3])[:60]}"
                peaks[name] = max(peaks.get(name, 0.0), child.memory_info().rss / 1e9)
        except psutil.Error:
            pass  # it ended between two looks
        time.sleep(0.25)
    return dict(sorted(peaks.items(), key=lambda item: -item[1])), process.returncode


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--input", type=Path, default=SHARED, help="folder of folders of utterances (default: %(default)s)")
    arguments.add_argument("--hours", type=float, default=3.0)
    arguments.add_argument("--workers", type=int, default=1)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        write_recording(options.input, source / "long.flac", options.hours)
        started = time.perf_counter()
        command = [sys.executable, "beam_runner.py", "build", "--input", str(source), "--output", str(output)]
        peaks, status = peak_memory([*command, f"--direct_num_workers={options.workers}"])
        wall_s = time.perf_counter() - started
        speed = options.hours * 3600 / wall_s
        print(f"{options.hours:g} hours in {wall_s / 60:.1f} min ({speed:.1f}× real time), exit status {status}")
        for name, peak in list(peaks.items())[:6]:
            print(f"{peak:6.2f} GB  {name}")
        return status or subprocess.run([sys.executable, "beam_runner.py", "verify", "--output", str(output)]).returncode


if __name__ == "__main__":
    sys.exit(main())
