"""Fuzzes one reader: `python -m tests.fuzz.fuzz TARGET [RUNS] [atheris options]`; `python -m tests.fuzz.targets` names them.

Findings are written to `tests/fuzz/findings/TARGET/`, where `test_findings.py` replays them. A run that takes more than 10 s or
more than 1 GB at once is one, and ends the process. Needs requirements/fuzz.txt.

Half of the executions are libFuzzer's own search, guided by the branches of Python code. It forgets a file that takes no new
branch, and what Arrow or safetensors do is no branch of Python. So the other half begin at a whole file each time, with a few
changes; where the target knows the checksums of its format, some of these get right ones.
"""

import hashlib
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import pyarrow as pa

from tests.fuzz.targets import TARGETS, replay

FINDINGS = Path(__file__).parent / "findings"
_MAX_BYTES = 32_768
_NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 62,
    (1 << 63) - 1,
    (1 << 64) - 1,
)


def main() -> None:
    """Runs a target."""
    name, runs = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "1000000"
    target = TARGETS[name]
    pa.set_cpu_count(1)  # handing work to threads takes longer than the work
    corpus = Path(tempfile.gettempdir(), "voxbeam-fuzz", name)
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["voxbeam", "yaml"]):  # what is imported here is searched by its branches
        seeds = target.seeds()
        for number, seed in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
            replay(name, seed)
    if (longest := max(map(len, seeds))) > _MAX_BYTES:
        sys.exit(f"a file to start from has {longest} bytes; it would be cut at {_MAX_BYTES}")
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

    def mutate(content: bytes, most: int, number: int) -> bytes:
        """Atheris calls it with a number that differs each time."""
        chance = random.Random(number)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(content, most))
        return changed(chance.choice(seeds), chance, target.seal)[:most]

    (FINDINGS / name).mkdir(exist_ok=True)
    options = [
        f"-runs={runs}", "-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=1024", f"-max_len={_MAX_BYTES}",
        f"-artifact_prefix={FINDINGS / name}/",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], str(corpus), *options, *sys.argv[3:]], run, custom_mutator=mutate)
    atheris.Fuzz()


def changed(content: bytes, chance: random.Random, seal: Callable[[bytes], bytes] | None) -> bytes:
    """A file with one to four changes: bits, numbers, stretches that are cut, doubled, moved or overwritten; or its beginning."""
    made = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place, way = chance.randrange(len(made) + 1), chance.randrange(7)
        length = min(len(made) - place, chance.choice((1, 2, 4, 8, 16, 64, 512)))
        if way == 0 and length:
            made[place] ^= 1 << chance.randrange(8)
        elif way == 1 and length in (1, 2, 4, 8):
            number = chance.choice(_NUMBERS) & ((1 << 8 * length) - 1)
            made[place : place + length] = number.to_bytes(length, chance.choice(("little", "big")))
        elif way == 2:
            made[place : place + length] = chance.randbytes(length)
        elif way == 3:
            del made[place : place + length]
        elif way == 4:
            made[place:place] = made[place : place + length]
        elif way == 5:
            start = chance.randrange(len(made) + 1)
            made[place : place + length] = made[start : start + length]
        elif way == 6 and chance.random() < 0.2:
            del made[place:]
    return seal(bytes(made)) if seal and chance.random() < 0.7 else bytes(made)


if __name__ == "__main__":
    main()
