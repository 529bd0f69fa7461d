"""A script that calls `build` needs no `if __name__ == "__main__"`, whatever the number of workers."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.test_build import copy_speakers

pytestmark = pytest.mark.build

SCRIPT = """\
import sys
from pathlib import Path

from voxbeam.pipeline.build import build

with Path("runs.txt").open("a") as file:
    file.write("run\\n")
result = build("in", "out", runner_args=["--direct_num_workers=" + sys.argv[1]])
print("samples:", result.release.counts["samples"])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_script_without_a_guard(workers: int, tmp_path: Path) -> None:
    copy_speakers(tmp_path / "in", "kennedy")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py", str(workers)], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "samples: 1\n"
    assert (tmp_path / "runs.txt").read_text() == "run\n", "a worker ran the script again"
