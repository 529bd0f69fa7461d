"""The run on a GPU, on the CPU: every part measures something, even if another fails, and voxbeam need not be installed."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from voxbeam.models.load_valle import load_models
from voxbeam.pipeline.gpu_rates import GpuRates

from benchmarks.gpu_parts.rates import commit_rates, rates_of
from benchmarks.gpu_parts.results import FILE, PARTS, VERSION, Header, Results, ResultsError, Row

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
HEADER = Header(
    version=VERSION, card="NVIDIA H100 80GB HBM3", driver="580.0", torch="2.11.0", cuda="13.0", python="3.12.3",
    date="2026-12-01T10:00:00+00:00", commit="0" * 40, dry_run=False,
)  # fmt: skip
MEASURED = [
    Row(part="codec", name="product encode", settings={"codec": "encodec"}, value=2000.0, unit="× real time"),
    Row(part="transcribe", name="windows", settings={"model": "large-v3", "batch": 16}, value=80.0, unit="× real time"),
    Row(part="transcribe", name="windows", settings={"model": "large-v3", "batch": 64}, value=100.0, unit="× real time"),
    Row(part="transcribe", name="windows", settings={"model": "turbo", "batch": 64}, value=400.0, unit="× real time"),
    Row(part="diarize", name="window", error="needs pyannote.audio"),
]


class Bare(NamedTuple):
    """A Python that cannot import voxbeam."""

    python: str
    environment: dict[str, str]


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--dry-run", *options]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """The interpreter that this environment was made from, with the libraries of this environment, but without voxbeam."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "python3").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    # a path entry, unlike a site folder, does not install the editable voxbeam of this environment
    libraries = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    environment = {
        "PATH": os.pathsep.join([str(folder), "/usr/bin", "/bin"]),
        "PYTHONPATH": os.pathsep.join(libraries),
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    probe = subprocess.run(["python3", "-P", "-c", "import voxbeam"], env=environment, cwd=folder, capture_output=True, text=True)
    assert "No module named 'voxbeam'" in probe.stderr
    return Bare(str(folder / "python3"), environment)


@pytest.mark.slow
def test_every_part_measures_something_where_voxbeam_is_not_installed(bare: Bare, tmp_path: Path) -> None:
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), str(tmp_path), str(tmp_path / "no-wheels"), "--dry-run"]
    done = subprocess.run(
        command, env=bare.environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    results = Results.from_json((tmp_path / FILE).read_text())
    assert results.header.dry_run and results.header.card == "cpu"
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in results.rows:
        rows[row.part].append(row)
        assert row.line() in done.stdout
    for part in PARTS:
        needs = [row for row in rows[part] if row.error and "needs" in row.error]
        assert any(row.value for row in rows[part]) or (part in ("diarize", "transcribe") and needs), done.stdout
    names = [(row.part, row.name, json.dumps(row.settings)) for row in results.rows]
    assert len(set(names)) == len(names)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) <= 8 and all(path.stat().st_size <= 16 << 20 for path in files)
    assert all(len(path.relative_to(tmp_path).parts) <= 3 for path in files)
    assert "aten::" in (tmp_path / "train_profile.txt").read_text()
    ar, nar, config = load_models(str(tmp_path))
    assert ar.end_id == config.codebook_size and nar.n_codebooks == config.n_codebooks


@pytest.mark.slow
def test_a_killed_part_keeps_what_it_measured(tmp_path: Path) -> None:
    process = start("--out", str(tmp_path), "--parts", "codec,ceilings")
    while not (results_of(tmp_path) and results_of(tmp_path)[0].part == "codec"):
        assert process.poll() is None
        time.sleep(0.05)
    (worker,) = psutil.Process(process.pid).children()
    worker.send_signal(signal.SIGKILL)
    printed, _ = process.communicate()
    assert process.returncode == 1, printed
    rows = results_of(tmp_path)
    assert [row for row in rows if row.part == "codec" and row.value]
    assert [row.error for row in rows if row.name == "part"] == ["ended with status -9; the figures before this row are valid"]
    assert sum(row.part == "ceilings" and row.value is not None for row in rows) == 6
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.slow
def test_a_part_is_stopped_at_its_limit(tmp_path: Path) -> None:
    process = start("--out", str(tmp_path), "--parts", "ceilings", "--limit", "ceilings=0.1")
    process.communicate()
    (row,) = results_of(tmp_path)
    assert process.returncode == 1 and row.error == "stopped at its limit of 0.1 s; the figures before this row are valid"


def results_of(folder: Path) -> list[Row]:
    return Results.from_json((folder / FILE).read_text()).rows if (folder / FILE).exists() else []


BLOCKED = """
import sys, torch
from importlib.abc import MetaPathFinder
from pathlib import Path

ABSENT = {
    "apache_beam", "av", "click", "ctranslate2", "encodec", "espeakng_loader", "faster_whisper", "num2words", "phonemizer",
    "psutil", "pyannote", "pydantic", "rich", "soundfile", "soxr", "webdataset", "yaml",
}

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
torch.set_num_threads(1)
from importlib import import_module

out, root = map(Path, sys.argv[1:3])
sys.path.append(str(root))
from benchmarks.gpu import import_folder, read_header
from benchmarks.gpu_parts.measure import Bench
from benchmarks.gpu_parts.results import ResultsFile

file = ResultsFile(out)
file.begin(read_header(True))
with import_folder() as folder:
    sys.path.insert(0, str(folder))
    for part in sys.argv[3:]:
        bench = Bench(part=part, out=out, file=file, device=torch.device("cpu"), dry_run=True, minutes=0.4)
        import_module(f"benchmarks.gpu_parts.{part}").measure(bench)
"""


@pytest.mark.slow
def test_parts_need_no_package_that_a_gpu_machine_lacks(bare: Bare, tmp_path: Path) -> None:
    command = [bare.python, "-P", "-c", BLOCKED, str(tmp_path), str(ROOT), *PARTS]
    done = subprocess.run(command, env=bare.environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = results_of(tmp_path)
    for part in ("ceilings", "codec", "train", "speak", "learn"):
        assert any(row.part == part and row.value for row in rows), done.stdout
        for row in rows:
            assert row.part != part or not row.error or "No module" not in row.error, row.line()
    assert [row.name for row in rows if row.part == "codec" and row.error and "needs" in row.error] == ["encodec"]
    assert {row.name for row in rows if row.part == "diarize" and row.error} == {"segmentation network", "window"}


def test_results_survive_writing_and_reading() -> None:
    results = Results(header=HEADER, rows=MEASURED)
    assert Results.from_json(results.to_json()) == results


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"value": "fast"}, "rows[0].value"),
        ({"part": "sing"}, "rows[0].part"),
        ({"error": "it failed"}, "a value or an error"),
        ({"settings": {"batch": [1, 2]}}, "rows[0].settings"),
        ({"color": "red"}, "rows[0]"),
    ],
)
def test_other_files_are_refused(wrong: dict[str, object], words: str) -> None:
    tree = json.loads(Results(header=HEADER, rows=MEASURED[:1]).to_json())
    tree["rows"][0] |= wrong
    with pytest.raises(ResultsError, match=words.replace("[", r"\[")):
        Results.from_json(json.dumps(tree))


def test_rates_come_from_the_fastest_rows(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(Results(header=HEADER, rows=MEASURED).to_json())
    commit_rates(tmp_path / FILE, tmp_path / "rates.json")
    rates = GpuRates.from_json((tmp_path / "rates.json").read_text())
    assert rates.card == HEADER.card
    assert {stage: rate.times_real_time for stage, rate in rates.rates.items()} == {"transcribe": 100.0, "tokenize": 2000.0}
    assert "64" in rates.rates["transcribe"].measured_on


def test_results_without_a_gpu_give_no_rates() -> None:
    for header, words in ((replace(HEADER, dry_run=True), "dry run"), (replace(HEADER, card="cpu"), "without a GPU")):
        with pytest.raises(ResultsError, match=words):
            rates_of(Results(header=header, rows=MEASURED))
    with pytest.raises(ResultsError, match="no stage"):
        rates_of(Results(header=HEADER, rows=MEASURED[-1:]))
