"""Fuzzes one reader: `python -m tests.fuzz.fuzz TARGET [RUNS] [atheris options]`; `python -m tests.fuzz.targets` names them.

Findings are written to `tests/fuzz/findings/TARGET/`, where `test_findings.py` replays them. A run that takes more than 10 s or
more than 1 GB at once is one, and ends the process. Needs requirements/fuzz.txt.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

import atheris

from tests.fuzz.targets import TARGETS, replay

FINDINGS = Path(__file__).parent / "findings"


def main() -> None:
    """Runs a target."""
    name, runs = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "1000000"
    corpus = Path(tempfile.gettempdir(), "voxbeam-fuzz", name)
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["voxbeam", "yaml"]):  # what is imported here is searched by its branches
        for number, seed in enumerate(TARGETS[name].seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
            replay(name, seed)
    seen: set[str] = set()

    def run(content: bytes) -> None:
        try:
            replay(name, content)
        except Exception as error:  # the search goes on: a finding for every kind of error and place
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = f"{type(error).__name__} {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
            if place not in seen:
                seen.add(place)
                path = FINDINGS / name / hashlib.sha256(content).hexdigest()[:16]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                print(f"{name}: {place}: {str(error)[:200]!r} -> {path.name}", file=sys.stderr, flush=True)

    options = [f"-runs={runs}", "-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=1024", "-max_len=16384", *sys.argv[3:]]
    atheris.Setup([sys.argv[0], str(corpus), *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
