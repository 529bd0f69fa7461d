"""The queries of docs/audit.md."""

import re
from pathlib import Path

import pytest

from voxbeam.corpus import Corpus

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"\n([^\n]+):\n\n```sql\n(.*?)```", PAGE, re.DOTALL)
EMPTY = ("People in more than one split",)
"""what a sound corpus answers with no row"""


def test_there_are_twenty() -> None:
    assert len(QUERIES) == 20


@pytest.mark.slow
@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title.split(",")[0][:40] for title, _ in QUERIES])
def test_a_query_of_the_documentation(corpus: Corpus, title: str, query: str) -> None:
    answer = corpus.sql(query)
    assert (answer.num_rows == 0) == title.startswith(EMPTY)


@pytest.mark.slow
def test_what_some_answers_are(corpus: Corpus) -> None:
    by_title = {title: corpus.sql(query).to_pylist() for title, query in QUERIES}

    def answer(words: str) -> list[dict[str, object]]:
        return next(rows for title, rows in by_title.items() if title.startswith(words))

    assert answer("That no time is lost") == [{"recordings": 4, "lost_ms": 0}]
    assert {row["reason"] for row in answer("Why segments")} == {"low_dnsmos", "low_snr", "overlap"}
    assert answer("Texts that occur again")[0]["plain"] == "the same words are said again"
    (limit,) = answer("What a limit would keep")
    assert limit["seconds"] == next(row["seconds"] for row in answer("The same for ten") if row["dnsmos"] == 3.0)
    assert answer("Recordings in quarantine")[0]["remedy"] == "copy it again from its source"


@pytest.mark.slow
def test_the_examples_of_the_page(corpus_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").symlink_to(corpus_uri)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/audit.md", "exec"), {})
    assert len(list(tmp_path.glob("*.wav"))) == 3
