"""Measures everything that a GPU is for, part by part, each in its own process with its own time limit.

    python benchmarks/gpu.py --out FOLDER [--parts ceilings,train] [--limit train=200] [--corpus URI --minutes 5]
    python benchmarks/gpu.py --out FOLDER --dry-run       tiny sizes on the CPU: does the program work?
    python benchmarks/gpu.py --commit FOLDER/gpu.json     writes the rates of `voxbeam plan --device cuda`, assets/gpu_rates.json

Every measurement is printed, and written to FOLDER/gpu.json, as soon as it is known. A part that fails, or that is stopped at its
limit, keeps what it measured and adds a row that says so; then the next part runs. docs/gpu.md says what is measured.

voxbeam need not be installed: the parts import it, and `benchmarks`, from this clone.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # for `benchmarks`; last, since other folders of the clone have common names such as `models`

from benchmarks.gpu_parts.results import PARTS, VERSION, Header, ResultsError, ResultsFile, Row  # noqa: E402

LIMITS = {"ceilings": 25, "codec": 85, "diarize": 20, "transcribe": 45, "train": 185, "speak": 45, "learn": 45}
"""seconds; 450 in all, so that everything, with the installation of wheels, takes at most eight minutes"""
DRY_RUN_LIMIT = 1800
"""seconds of any part of a dry run: far more than it takes, so that a busy machine does not fail it"""
LEARN_MINUTES = 0.4


def main(argv: list[str] | None = None) -> int:
    """Runs the parts. 0 if every part completed, 1 if one did not, 2 if the arguments cannot be used."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.commit is None and arguments.out is None:
        parser.error("give --out FOLDER, or --commit FILE")
    with import_folder() as folder:
        return commit(arguments.commit, folder) if arguments.commit is not None else run_parts(arguments, folder)


def commit(results: Path, folder: Path) -> int:
    """Writes the rates of a results file to the clone."""
    sys.path.insert(0, str(folder))
    from voxbeam.assets import GPU_RATES

    from benchmarks.gpu_parts.rates import commit_rates

    try:
        commit_rates(results, GPU_RATES)
    except (ResultsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {GPU_RATES.resolve()}; `python -m voxbeam.pipeline.gpu_rates` updates docs/projection.md")
    return 0


def run_parts(arguments: argparse.Namespace, folder: Path) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running part is stopped too
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = ResultsFile(arguments.out)
    file.begin(read_header(arguments.dry_run))
    print(f"{file.read().header}", flush=True)
    limits = (dict.fromkeys(PARTS, DRY_RUN_LIMIT) if arguments.dry_run else LIMITS) | dict(arguments.limit)
    completed = [run_part(part, limits[part], arguments, file, folder) for part in arguments.parts]
    print(f"{sum(completed)} of {len(completed)} parts completed; the figures are in {file.path}", flush=True)
    return 0 if all(completed) else 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures voxbeam on one GPU, part by part.")
    parser.add_argument("--out", type=Path, help="folder for gpu.json and the other files")
    parser.add_argument(
        "--parts", type=parse_parts, default=PARTS, metavar="A,B", help=f"some of {','.join(PARTS)} (default: all)"
    )
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU, under two minutes on an idle machine")
    parser.add_argument(
        "--limit", type=parse_limit, action="append", default=[], metavar="PART=SECONDS", help="another time limit"
    )
    parser.add_argument("--corpus", default="", help="folder or bucket that the part learn trains on")
    parser.add_argument(
        "--minutes", type=float, default=LEARN_MINUTES, help="how long learn trains; raise its limit too (default: %(default)s)"
    )
    parser.add_argument("--commit", type=Path, metavar="FILE", help="turn measured results into assets/gpu_rates.json")
    return parser


def parse_parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if unknown := [part for part in parts if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    return parts


def parse_limit(text: str) -> tuple[str, float]:
    part, _, seconds = text.partition("=")
    if part not in PARTS:
        raise argparse.ArgumentTypeError(f"{text!r} must be PART=SECONDS, with a part of {', '.join(PARTS)}")
    return part, float(seconds)


@contextmanager
def import_folder() -> Iterator[Path]:
    """A temporary folder from which `voxbeam` and `benchmarks` can be imported, whether voxbeam is installed or not.

    The root of the clone is the package voxbeam, under whatever name it was cloned: hence the link.
    """
    with tempfile.TemporaryDirectory(prefix="voxbeam-") as name:
        folder = Path(name)
        (folder / "voxbeam").symlink_to(ROOT)
        # a regular package, so that no installed package of this common name takes precedence
        (folder / "benchmarks").mkdir()
        (folder / "benchmarks" / "__init__.py").touch()
        (folder / "benchmarks" / "gpu_parts").symlink_to(ROOT / "benchmarks" / "gpu_parts")
        yield folder


def run_part(part: str, limit_s: float, arguments: argparse.Namespace, file: ResultsFile, folder: Path) -> bool:
    """Runs one part to its end or its limit. True if it completed; otherwise a row says how it ended."""
    print(f"— {part}, at most {limit_s:g} s", flush=True)
    command = [sys.executable, "-P", "-m", "benchmarks.gpu_parts.worker", part, str(arguments.out.resolve())]
    command += [f"--minutes={arguments.minutes}", f"--corpus={arguments.corpus}", *(["--dry-run"] if arguments.dry_run else [])]
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path} | ({"CUDA_VISIBLE_DEVICES": ""} if arguments.dry_run else {})
    rows_before, began = len(file.read().rows), time.monotonic()
    # its own process group, so that compilers that a part starts end with it
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        status: int | None = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        _kill(process)
    (arguments.out / "gpu.tmp").unlink(missing_ok=True)
    seconds = time.monotonic() - began
    print(f"— {part} took {seconds:.0f} s", flush=True)
    if status == 0:
        if len(file.read().rows) == rows_before:
            file.add(Row(part=part, name="part", error="it added no row: this is a bug in the part"))
        return True
    how = f"stopped at its limit of {limit_s:g} s" if status is None else f"ended with status {status}"
    file.add(Row(part=part, name="part", error=f"{how}; the figures before this row are valid", seconds=seconds))
    return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a part and every process that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_header(dry_run: bool) -> Header:
    """What is known of this machine and this clone."""
    import torch  # takes seconds, so only where it is needed

    card = "cpu" if dry_run or not torch.cuda.is_available() else torch.cuda.get_device_name()
    return Header(
        version=VERSION,
        card=card,
        driver="" if card == "cpu" else _first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        torch=torch.__version__,
        cuda=torch.version.cuda or "",
        python=platform.python_version(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_first_line("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        dry_run=dry_run,
    )


def _first_line(*command: str) -> str:
    """The first line that a program prints; "" if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout.splitlines() or [""])[0].strip()


if __name__ == "__main__":
    raise SystemExit(main())
