"""Card: what a release is, as the README.md of a dataset, with the metadata in YAML that the Hugging Face Hub reads."""

from collections.abc import Sequence
from typing import Any

import yaml

from voxbeam.exports.facts import UNKNOWN, ReleaseFacts
from voxbeam.schemas.columns import arrow_schema
from voxbeam.schemas.manifest import SampleRow
from voxbeam.schemas.reasons import REASONS
from voxbeam.schemas.release import Release

_HUB_LICENSES = {
    "Apache-2.0", "MIT", "CC0-1.0", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "CC-BY-ND-4.0", "PDDL",
}  # fmt: skip
"""SPDX identifiers that the Hub knows, there in lower case"""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))

MAX_VALUES = 20
"""of a license, a consent basis or a language that a card lists"""


def write_card(facts: ReleaseFacts, *, loading: str = "", metadata: dict[str, Any] | None = None, later: str = "") -> str:
    """The text of a card: a pure function of the facts. It contains no time, host or path.

    `loading` is a paragraph in Markdown on how to read the files beside the card, `metadata` further keys for the YAML, `later`
    a sentence on where the label error is found once people have listened.
    """
    front = yaml.safe_dump({**hub_metadata(facts), **(metadata or {})}, sort_keys=False, allow_unicode=True, width=100)
    sections = [
        f"# {facts.name}, release {facts.release.name}",
        f"{hours(facts.ms)} of speech in {facts.samples:,} samples, each the words of one person, with text, phones, scores and "
        f"codec tokens. Made by voxbeam (code {facts.release.code_version}); its labels are found by models, not by people.",
        loading,
        _splits(facts),
        _origin(facts),
        _made(facts),
        _codecs(facts.release),
        _quality(facts, later),
        _use(facts),
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def hub_metadata(facts: ReleaseFacts) -> dict[str, Any]:
    """The metadata of a card that do not depend on the files beside it."""
    licenses = [name for name in facts.ms_by["license"] if name != UNKNOWN]
    one = len(facts.ms_by["license"]) == 1 and licenses and licenses[0] in _HUB_LICENSES
    size = next((name for limit, name in _SIZES if facts.samples < limit), "n>10M")
    return {
        "pretty_name": f"{facts.name}, release {facts.release.name}",
        "license": licenses[0].lower() if one else "other",
        **({} if one else {"license_name": "see-card"}),
        "language": facts.languages,
        "task_categories": ["text-to-speech", "automatic-speech-recognition"],
        "size_categories": [size],
        "annotations_creators": ["machine-generated"],
        "tags": ["audio", "speech", "codec", "voxbeam"],
    }


def hours(ms: int) -> str:
    """A duration for a reader."""
    return f"{ms / 3.6e6:,.1f} hours" if ms >= 3_600_000 else f"{ms / 6e4:.1f} minutes"


def _splits(facts: ReleaseFacts) -> str:
    rows = [(name, f"{s.samples:,}", hours(s.ms), f"{s.identities:,}") for name, s in facts.splits.items()]
    return "## Splits\n\nAll speech of a person is in one split.\n\n" + _table(("split", "samples", "time", "persons"), rows)


def _origin(facts: ReleaseFacts) -> str:
    text = "## Where it is from\n\n"
    text += ", ".join(f"{n:,} recordings {status}" for status, n in facts.recordings.items()) + ".\n\n"
    rows = [row for name, values in facts.ms_by.items() for row in _groups(name.replace("_", " "), values)]
    text += _table(("", "value", "time"), rows)
    return text + "\n\nLicense and consent are those that the listing of the recordings states; each sample carries its own."


def _groups(name: str, values: dict[str, int]) -> list[tuple[str, str, str]]:
    """The values with the most time, a row for each; the others together."""
    shown, others = list(values.items())[:MAX_VALUES], list(values.values())[MAX_VALUES:]
    rows = [(name, value, hours(ms)) for value, ms in shown]
    return [*rows, (name, f"{len(others):,} others", hours(sum(others)))] if others else rows


def _made(facts: ReleaseFacts) -> str:
    config, models = facts.release.config, facts.release.models
    rules = {name: value for name, value in config.get("filter", {}).items() if isinstance(value, int | float)}
    text = "## How it was made\n\nDiarization, cuts at pauses, a proof that a segment holds one voice, transcription, scores, "
    text += "rules, phones and codec tokens, each by a model or a rule; speakers are linked across recordings.\n\n"
    text += _table(("rule", "threshold"), [(f"`{name}`", str(value)) for name, value in sorted(rules.items())])
    text += "\n\n" + _table(("model", "hash"), [(f"`{name}`", f"`{value[:16]}`") for name, value in sorted(models.items())])
    if facts.rejected:
        text += "\n\nSegments that were left out, by reason:\n\n"
        text += _table(("reason", "meaning", "segments"), [(f"`{r}`", _meaning(r), f"{n:,}") for r, n in facts.rejected.items()])
    return text


def _codecs(release: Release) -> str:
    """Every codec of a release that has further ones; else nothing: its only one is among the models."""
    if not release.codecs:
        return ""
    rows = []
    for name in (None, *release.codecs):
        weights, sha256 = release.codec(name)
        shown = weights.rstrip("/").rsplit("/", 1)[-1]
        member = "<key>.codes.npy" if name is None else f"<key>.codes.{name}.npy"
        rows.append((f"`{name}`" if name is not None else "the first", f"`{shown}`", f"`{sha256[:16]}`", f"`{member}`"))
    text = "## Codecs\n\nEach sample has codec tokens of several codecs, 8 lists of 75 a second each.\n\n"
    return text + _table(("name", "weights", "hash", "in the shards"), rows)


def _quality(facts: ReleaseFacts, later: str) -> str:
    error = facts.label_error or "Nobody has listened to a sample of it yet (`voxbeam audit`): the label error is not known."
    error = f"{error} {later}".rstrip()
    rows = [(f"`{name}`", *(f"{value:.3g}" for value in values)) for name, values in facts.quantiles.items()]
    return f"## How good it is\n\n{error}\n\n" + _table(("column", "5 %", "50 %", "95 %"), rows)


def _use(facts: ReleaseFacts) -> str:
    schema = arrow_schema(SampleRow, extras=bool(facts.release.codecs))
    columns = [(f"`{f.name}`", (f.metadata or {}).get(b"doc", b"").decode()) for f in schema]
    return (
        "## Use and limits\n\nMade to train and test speech models. Texts are a recognizer's, not a person's; scores are "
        "predictions. A speaker's name is what the listing says, an identity is found by voice and can be wrong. Voices are "
        "personal data: keep to the license and the consent of each sample, and make nobody say "
        "what they did not say without their consent.\n\n"
        "## Columns\n\n" + _table(("column", "meaning"), columns)
    )


def _meaning(reason: str) -> str:
    return REASONS.get(reason, "")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)
