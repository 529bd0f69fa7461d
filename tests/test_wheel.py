"""The wheel: what is in it, and that it works installed elsewhere, beside a user's files with the names of our folders."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.build
NOT_SOURCES = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "lib", "demo-corpus"
)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that must succeed, without this environment's PYTHONPATH."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=clean, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def build(sources: Path, out: Path, *what: str) -> None:
    uv = (sys.executable, "-m", "uv", "build", "--quiet", "--offline", "--no-build-isolation", "--python", sys.executable)
    run(*uv, *what, "--out-dir", out, sources, cwd=sources)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, directly."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "voxbeam", ignore=NOT_SOURCES)
    build(folder / "voxbeam", folder / "dist", "--wheel")
    build(folder / "voxbeam", folder / "sdist", "--sdist")
    return next((folder / "dist").glob("*.whl"))


def content(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = content(wheel)
    assert {name.split("/")[0] for name in names} == {"voxbeam", "voxbeam-0.1.0.dist-info"}
    assert not [name for name in names if name.split("/")[1] in ("tests", "benchmarks", "tools", "docs", "deploy")]
    assets = {f"voxbeam/{path.relative_to(ROOT)}" for path in (ROOT / "assets").rglob("*") if path.is_file()}
    assert {name for name in assets if "__pycache__" not in name} <= names
    assert {"voxbeam/py.typed", "voxbeam-0.1.0.dist-info/licenses/LICENSE"} <= names


def test_a_wheel_from_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(next((wheel.parents[1] / "sdist").glob("*.tar.gz"))) as sdist:
        sdist.extractall(tmp_path, filter="data")
    build(next(tmp_path.iterdir()), tmp_path / "dist", "--wheel")
    assert content(next((tmp_path / "dist").glob("*.whl"))) == content(wheel)


def test_an_installed_wheel_works_beside_a_users_own_files(wheel: Path, tmp_path: Path) -> None:
    environment, folder = tmp_path / "environment", tmp_path / "work"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    run(
        sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel, cwd=tmp_path
    )
    # The libraries are those of the test environment; the .pth files in it, and so voxbeam's own clone, do not count.
    libraries = next((environment / "lib").glob("python*")) / "site-packages" / "libraries.pth"
    libraries.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    (folder / "trainer").mkdir(parents=True)
    (folder / "trainer" / "__init__.py").write_text("mine = True\n", encoding="utf-8")
    (folder / "schemas.py").write_text("mine = True\n", encoding="utf-8")

    voxbeam = environment / "bin" / "voxbeam"
    assert "train" in run(voxbeam, "train", "--help", cwd=folder).stdout
    run(voxbeam, "demo", cwd=folder)
    code = (
        "import schemas, trainer, voxbeam; assert schemas.mine and trainer.mine; "
        "corpus = voxbeam.Corpus('demo-corpus'); "
        "keys = [key.as_py() for batch in corpus.samples(columns=['key']) for key in batch['key']]; "
        "print(voxbeam.__file__, len(keys), corpus.codes(keys[0]).shape[0])"
    )
    where, samples, codebooks = run(python, "-c", code, cwd=folder).stdout.split()
    assert Path(where).is_relative_to(environment)
    assert int(samples) > 10
    assert int(codebooks) == 8
