"""The README and the docs: links lead somewhere, commands exist, the configuration loads."""

import re
from pathlib import Path

import pytest

from voxbeam.commands.main import VERBS
from voxbeam.schemas.config import CorpusConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("assets/**/*.md")]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert not [page.name for page in ROOT.glob("docs/*.md") if page.name != "index.md" and f"({page.name})" not in index]


def test_the_readmes_commands_exist() -> None:
    used = set(re.findall(r"(?m)^voxbeam (\w+) +[-/\w]", README)) | set(re.findall(r"`voxbeam (\w+)`", README))
    assert used >= {"plan", "build", "verify", "train", "generate", "config", "licenses"}
    assert used <= set(VERBS)


def test_the_readmes_configuration_loads(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "corpus.yaml"
    path.write_text(block, encoding="utf-8")
    assert CorpusConfig.from_yaml(path).filter.min_dnsmos_ovrl == 2.8


def test_the_readmes_map_names_every_folder() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    named = set(re.findall(r"(\w+)/", README))
    assert folders - {"build", "lib", "requirements", "docs"} <= named | {"demo-corpus"}
