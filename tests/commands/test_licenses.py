"""The licenses of what is installed and shipped."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from voxbeam.assets import WEIGHTS
from voxbeam.commands.licenses import KINDS, fetched, kind_of, licenses, print_licenses


@pytest.mark.parametrize(
    ("license", "kind"),
    [
        ("MIT", "permissive"),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", "permissive"),
        ("Apache-2.0 WITH LLVM-exception", "permissive"),
        ("MPL-2.0 AND MIT", "weak copyleft"),
        ("LGPL-2.1-or-later", "weak copyleft"),
        ("GPL-3.0-or-later", "copyleft"),
        ("AGPL-3.0-only", "copyleft"),
        ("GPL-2.0-only OR MIT", "permissive"),
        ("CC-BY-NC-4.0", "non-commercial"),
        ("NVIDIA Proprietary Software", "proprietary"),
        ("", "unclear"),
    ],
)
def test_kind_of_a_license(license: str, kind: str) -> None:
    assert kind_of(license) == kind


def test_metadata_that_is_wrong_or_silent_is_corrected() -> None:
    kinds = {row.what.lower(): row.kind for row in licenses()}
    assert kinds["phonemizer"] == kinds["espeakng-loader"] == kinds["av"] == "copyleft"
    assert kinds["soxr"] == kinds["num2words"] == kinds["soundfile"] == "weak copyleft"
    assert kinds["encodec"] == "non-commercial"
    assert kinds["torch"] == kinds["apache-beam"] == kinds["pyannote-audio"] == "permissive"


def test_no_installed_package_is_unclear() -> None:
    assert not [row.what for row in licenses() if row.kind == "unclear" or not row.license]


def test_every_file_of_weights_is_listed() -> None:
    assert {row.what for row in licenses() if row.type == "weights"} == {path.name for path in WEIGHTS.glob("*.safetensors")}


def test_a_package_behind_another_is_listed_if_it_is_not_permissive() -> None:
    behind = [row for row in licenses() if row.where == "behind others"]
    assert {row.what for row in behind} >= {"tqdm", "certifi"}
    assert "permissive" not in {row.kind for row in behind}


def test_the_table_names_every_kind_and_what_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    print_licenses(Console(width=400))
    printed = capsys.readouterr().out
    assert all(re.search(rf"{kind}: {re.escape(meaning)}", printed) for kind, meaning in KINDS.items())
    assert all(row.what in printed for row in fetched())


def test_the_page_lists_every_direct_requirement_and_all_that_is_shipped() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = [row for row in (*licenses(), *fetched()) if row.where != "behind others"]
    assert not [row.what for row in rows if not re.search(rf"(?m)^\| {re.escape(row.what)} \| .*{re.escape(row.license)}", page)]
