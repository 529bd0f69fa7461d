"""What fuzzing found stays a test: every file of `findings/TARGET/`, and the first files of every target."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, replay

FINDINGS = sorted((Path(__file__).parent / "findings").glob("*/*"))


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_finding_is_an_error_for_users(path: Path) -> None:
    replay(path.parent.name, path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_cut_and_flipped_files_are_errors_for_users(name: str) -> None:
    for seed in TARGETS[name].seeds():
        replay(name, seed)
        for place in range(0, len(seed), max(1, len(seed) // 40)):
            replay(name, seed[:place])
            replay(name, seed[:place] + bytes([seed[place] ^ 0x81]) + seed[place + 1 :])
