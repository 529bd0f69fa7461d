"""Sentences, voices and styles for `benchmarks/voice/speak.py`, prepared where espeak-ng is: one npz file.

    python -m benchmarks.voice.prepare HOME OUT.npz --lines LJSPEECH.tsv [--lines MORE.txt] [--words LIST] [--sentences 32000]

HOME has voices/*.bin (styles of Kokoro-82M) and vocab.json. A line's last column, after | or a tab, is its text. The sentences of
the list --hold-out are left out, and parts of them. Four named voices are held out. `identities.py` draws the voices.

The file: styles [V, R, 256] of each named voice at every `STYLE_STEP`-th length, identities, and sentences: Kokoro tokens, phone
ids, and for each token the phone that it belongs to.
"""

from __future__ import annotations

import argparse
import difflib
import json
import random
import re
from pathlib import Path

import numpy as np

from voxbeam.models.phones import load_phone_set, open_phonemizer
from voxbeam.models.spoken_form import spoken_form

from benchmarks.voice.data import STYLE_STEP
from benchmarks.voice.identities import draw_identities

MARKS = ",.;:!?"
NAMES = [
    "Anna",
    "Peter",
    "Maria",
    "James",
    "Olivia",
    "Henry",
    "Sarah",
    "Thomas",
    "Emily",
    "Robert",
    "Julia",
    "David",
    "Laura",
    "Martin",
    "Alice",
    "George",
    "Helen",
    "Daniel",
]
PLACES = [
    "London",
    "Boston",
    "Paris",
    "the station",
    "the market",
    "Chicago",
    "the river",
    "the library",
    "the office",
    "the garden",
]
TIMES = [
    "today",
    "tomorrow",
    "yesterday",
    "tonight",
    "on_Monday",
    "on_Friday",
    "next_week",
    "last_year",
    "this_morning",
    "in_the_evening",
    "at_noon",
    "in_March",
]
FRAMES = (
    "{N} went to {P} {T}.", "Where is the {n}?", "I think the {a} {n} is in {P}.", "Could you bring me the {a} {n}, please?",
    "We need {c} more {n}s before {T}.", "The {n} costs {c} dollars and {c} cents.", "Please {v} the {n} {T}.",
    "{N} said that the {n} was too {a}.", "What time does the {n} open {T}?", "It is {c} minutes past {c}.",
    "There are {c} {a} {n}s near {P}.", "My {n} does not {v} any more.", "Do you want to {v} with {N} {T}?",
    "Thank you for the {n}, {N}.", "The train to {P} leaves at {c} thirty.", "Don't {v} the {n}!", "Why did {N} {v} the {a} {n}?",
    "After the {n}, we will {v} together.", "Nobody knows how the {n} came to {P}.", "Good morning, {N}. How are you {T}?",
    "If the {n} is {a}, turn left at {P}.", "You can {v} it with a {n} or a {n}.", "{N} and {N} live near {P}.",
    "The weather in {P} will be {a} {T}.", "Call me back at {c}, {c}, {c}, {c}.", "I have never seen such a {a} {n} before.",
    "She bought a {n}, a {a} {n} and {c} {n}s.", "Open the {n} and {v} slowly.", "Is this your {n}, {N}?",
    "Yes, I would love to {v}.", "A {a} {n} lay on the {a} {n}.", "The {n} fell under the {a} {n}.",
    "He put the {n} beside the {n}.",
    "We saw {c} {n}s and a {n} on the way to {P}.", "They {v} the {n} before {T}.", "It was a {a}, {a} {n}.",
    "The {a} {n} and the {a} {n} were hard to {v}.", "My {n} likes to {v} every day.", "Let us {v} the {n}, and then go to {P}.",
    "Would you rather {v} or {v}?", "The {n} of the {n} is {a} {T}.", "{N}'s {n} is lighter and cheaper than mine.",
    "Press the {n} until the {n} turns {a}.", "You may {v} when the {n} is {a}.", "{N} has been to {P} {c} times.",
    "Take the {a} {n} from the {n} and {v} it.", "The meeting with {N} was moved to {c} o'clock.", "{c} and {c} make {c}.",
    "I was about to {v} when {N} came in.", "The old {n} stood near {P} for {c} years.", "Well, I don't know.", "No, not {T}.",
)  # fmt: skip
COUNTS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "fifteen",
    "sixteen",
    "twenty",
    "twenty-one",
    "thirty",
    "forty-five",
    "fifty",
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lines", type=Path, action="append", required=True)
    parser.add_argument("--words", type=Path, help="folder with nounlist.txt, verblist.txt and adjectivelist.txt")
    parser.add_argument("--hold-out", type=Path, help="texts that must not be used, one a line")
    parser.add_argument("--sentences", type=int, default=32_000)
    parser.add_argument("--identities", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    held_out = set(arguments.hold_out.read_text().splitlines()) if arguments.hold_out else set()
    whole = " | ".join(held_out)
    texts = [text for text in collect(arguments, rng) if text not in whole]
    rng.shuffle(texts)
    vocabulary = json.loads((arguments.home / "vocab.json").read_text())["vocab"]
    sentences = phonemize(texts[: arguments.sentences], vocabulary)
    names, styles = read_styles(arguments.home / "voices")
    arrays = {"voices": np.array(names), "styles": styles, **draw_identities(names, arguments.identities, arguments.seed)}
    arrays["token_counts"] = np.array([len(tokens) for tokens, _, _ in sentences], np.uint16)
    arrays["phone_counts"] = np.array([len(phones) for _, phones, _ in sentences], np.uint16)
    arrays["tokens"] = np.concatenate([tokens for tokens, _, _ in sentences]).astype(np.uint8)
    arrays["phones"] = np.concatenate([phones for _, phones, _ in sentences]).astype(np.uint8)
    arrays["steps"] = np.concatenate([np.diff(owner, prepend=0) for _, _, owner in sentences]).astype(np.uint8)
    np.savez_compressed(arguments.out, **arrays)  # type: ignore[arg-type]
    print(f"{len(sentences)} sentences, {len(arrays['tokens'])} tokens, {arguments.out.stat().st_size / 1e6:.1f} MB")


def collect(arguments: argparse.Namespace, rng: random.Random) -> list[str]:
    """Lines, clauses of lines, sentences from frames, and random words."""
    found: list[str] = []
    for path in arguments.lines:
        lines = [re.split(r"[|\t]", line)[-1].strip() for line in path.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if 8 <= len(line) <= 200]
        found += lines
        clauses = [part.strip() for line in lines for part in re.split(r"[,;:.]", line)]
        found += rng.sample([part for part in clauses if 4 <= len(part) <= 60], len(lines) // 3)
    words = sorted({word for line in found for word in re.findall(r"\b[a-z]{2,12}\b", line)})
    if arguments.words is not None:
        nouns, verbs, adjectives = (
            [word for word in (arguments.words / f"{kind}list.txt").read_text().split() if word.isalpha()]
            for kind in ("noun", "verb", "adjective")
        )
        slots = {
            "N": NAMES,
            "P": PLACES,
            "T": [t.replace("_", " ") for t in TIMES],
            "n": nouns,
            "v": verbs,
            "a": adjectives,
            "c": COUNTS,
        }
        for _ in range(9_000):
            text = re.sub(r"\{(\w)\}", lambda match: rng.choice(slots[match[1]]), rng.choice(FRAMES))
            found.append(text[0].upper() + text[1:])
        words += nouns + adjectives
    found += [" ".join(rng.sample(words, rng.randint(1, 10))) + rng.choice((".", ".", "?", "")) for _ in range(3_000)]
    return list(dict.fromkeys(found))


def phonemize(texts: list[str], vocabulary: dict[str, int]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Kokoro tokens, phone ids, and the phone of each token, of every text that both can say."""
    phonemizer, phone_set = open_phonemizer("en-us"), load_phone_set("en-us")
    spoken = [spoken_form(text).text for text in texts]
    whole = phonemizer.phonemize(spoken)
    pieces = [re.findall(rf"[^{MARKS}]+|[{MARKS}]+", text) for text in spoken]
    flat = phonemizer.phonemize([piece for row in pieces for piece in row])
    found, at = [], 0
    for row, phones in zip(pieces, whole, strict=True):
        parts = flat[at : at + len(row)]
        at += len(row)
        characters = ""
        for piece, part in zip(row, parts, strict=True):
            if part:
                characters += (" " if characters else "") + part.replace(" | ", "_").replace(" ", "").replace("_", " ")
            elif characters and piece.strip():
                characters += piece.strip()[0]
        try:
            ids = np.array(phone_set.encode(phones))
        except ValueError:
            continue
        tokens = [(vocabulary[c], c) for c in characters.replace("r", "ɹ") if c in vocabulary]
        if not phones or len(tokens) > 400:
            continue
        owner = owners([c for _, c in tokens], phones.split())
        found.append((np.array([0, *(number for number, _ in tokens), 0]), ids, np.array([0, *owner, len(ids)])))
    return found


def owners(characters: list[str], phones: list[str]) -> list[int]:
    """For each character the index of its phone, never falling; blanks and marks belong to the word boundary after them."""
    letters = [(c, index) for index, phone in enumerate(phones) if phone != "|" for c in phone.replace("r", "ɹ")]
    matcher = difflib.SequenceMatcher(
        None, [c for c, _ in letters], [c for c in characters if c not in MARKS + " "], autojunk=False
    )
    spoken = [i for i, c in enumerate(characters) if c not in MARKS + " "]
    owner = [-1] * len(characters)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            owner[spoken[block.b + offset]] = letters[block.a + offset][1]
    last = 0
    for i, c in enumerate(characters):
        if owner[i] < last:
            following = last + 1 if c in MARKS + " " else last
            at_boundary = following < len(phones) and phones[following] == "|"
            owner[i] = following if at_boundary or (c in MARKS + " " and following == len(phones)) else last
        last = owner[i]
    return owner


def read_styles(folder: Path) -> tuple[list[str], np.ndarray]:
    names = sorted(path.stem for path in folder.glob("*.bin") if path.stem[1] in "fm")
    rows = [np.fromfile(folder / f"{name}.bin", np.float32).reshape(-1, 256)[::STYLE_STEP] for name in names]
    return names, np.stack(rows).astype(np.float16)


if __name__ == "__main__":
    main()
