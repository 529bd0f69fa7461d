"""What `voxbeam verify` prints."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from voxbeam.commands.report import print_problems

from tests.pipeline.factories import small_release


def test_a_release_without_samples_is_verified_too(tmp_path: Path) -> None:
    """One that was committed with --allow-empty has no count of samples."""
    _, release = small_release(tmp_path)
    counts = {name: count for name, count in release.counts.items() if name != "samples"}
    sink = StringIO()
    print_problems(replace(release, counts=counts), [], Console(file=sink, width=200))
    assert f"{len(release.files)} files, 0 samples, no problems" in sink.getvalue()
