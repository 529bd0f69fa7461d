"""Why recordings may be used: by a grant in the ledger, by an open licence, by what their listing says, or not at all.

A listing names a grant in `consent_basis` as `grant:<digest>`, whole or its first 8 characters or more. Its `license` counts if
it is open or public domain. Any other text in `consent_basis` is what somebody states: it is reported, and nothing can check it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from voxbeam.safety.keys import KeyRing
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.state import Grant, State, Use, refusal
from voxbeam.schemas.errors import ConsentError
from voxbeam.schemas.recording import Recording

Kind = Literal["grant", "licence", "stated", "refused", "missing"]
ENOUGH: tuple[Kind, ...] = ("grant", "licence")
"""what `--require-consent` asks for"""
_GRANT = re.compile(r"grant:([0-9a-f]{8,64})")
_OPEN = re.compile(
    r"CC0-1\.0|CC-PDDC|PDM-1\.0|Unlicense|0BSD|MIT|Apache-2\.0|CC-BY(-SA)?-[1-4]\.[05]|CDLA-Permissive-[12]\.0|ODC-By-1\.0"
    r"|LicenseRef-(scancode-)?public-domain",
    re.IGNORECASE,
)
"""licences that allow anybody to train and to redistribute; others may, but for a person to decide"""
_SHOWN = 5


@dataclass(frozen=True)
class Basis:
    """Why one recording may be used to train."""

    kind: Kind
    why: str
    """the grant or the licence; or why there is none"""


@dataclass(frozen=True)
class BasisReport:
    """How many recordings have which basis, and the first of those without."""

    counts: dict[Kind, int]
    without: tuple[tuple[str, str], ...]
    """recording and reason, of at most five that have neither a grant nor an open licence"""

    @property
    def lacking(self) -> int:
        return sum(count for kind, count in self.counts.items() if kind not in ENOUGH)

    def message(self) -> str:
        """In one sentence."""
        names = {
            "grant": "by a grant", "licence": "by an open licence", "stated": "by what the listing states",
            "refused": "by a grant that does not hold", "missing": "without any basis",
        }  # fmt: skip
        parts = ", ".join(f"{count} {names[kind]}" for kind, count in self.counts.items())
        examples = "; ".join(f"{recording}: {why}" for recording, why in self.without)
        return f"May be trained on: {parts}" + (f" ({examples})" if examples else "")


def is_open(license: str | None) -> bool:
    """Whether a licence, by its SPDX identifier, allows anybody to train on a recording and to pass it on."""
    return license is not None and bool(_OPEN.fullmatch(license.strip()))


def basis_of(recording: Recording, state: State | None, at: datetime, keys: KeyRing) -> Basis:
    """The basis of one recording for training; `state` is None where there is no ledger.

    Raises ConsentError where a takedown names recordings by pseudonyms, and the key of these is not here.
    """
    text = (recording.consent_basis or "").strip()
    if state is not None and (event := _takedown_of(recording.recording, state, keys)):
        return Basis("refused", f"it was taken down (event {event[:12]})")
    if match := _GRANT.fullmatch(text):
        return _by_grant(match[1], state, at)
    if is_open(recording.license):
        return Basis("licence", str(recording.license))
    for licence in state.licences.values() if state else ():
        if recording.recording in licence.recordings and "train" in licence.scopes:
            return Basis("licence", licence.licence)
    if text:
        return Basis("stated", f"{text!r} is a statement that nothing can check")
    stated = f"its licence {recording.license!r} is not an open one" if recording.license else "neither licence nor consent"
    return Basis("missing", stated)


def _takedown_of(recording: str, state: State, keys: KeyRing) -> str | None:
    """The event that took a recording down; None if none did."""
    hidden = state.tombstones.get(keys.recording_pseudonym(recording)) if state.tombstones else None
    return hidden or state.clear_tombstones.get(recording)


def _by_grant(digest: str, state: State | None, at: datetime) -> Basis:
    found: list[Grant] = [grant for name, grant in (state.grants if state else {}).items() if name.startswith(digest)]
    if state is None or len(found) != 1:
        return Basis("refused", f"grant {digest[:12]} is not in the ledger")
    uses = [Use("train", purpose, model) for purpose in sorted(found[0].purposes) for model in sorted(found[0].models)]
    refusals = [refusal(state, found[0], use, at) for use in uses]
    return Basis("grant", digest) if "" in refusals else Basis("refused", f"grant {digest[:12]}: {refusals[0]}")


def report_basis(recordings: Iterable[Recording], state: State | None, at: datetime, keys: KeyRing) -> BasisReport:
    """The bases of recordings, counted."""
    counts: Counter[Kind] = Counter()
    without: list[tuple[str, str]] = []
    for recording in recordings:
        basis = basis_of(recording, state, at, keys)
        counts[basis.kind] += 1
        if basis.kind not in ENOUGH and len(without) < _SHOWN:
            without.append((recording.recording, basis.why))
    kinds: tuple[Kind, ...] = ("grant", "licence", "stated", "refused", "missing")
    return BasisReport({kind: counts[kind] for kind in kinds if counts[kind]}, tuple(without))


def check_basis(recordings: Iterable[Recording], ledger: Ledger, *, required: bool) -> BasisReport:
    """The bases of recordings by a ledger, or by their listing alone where there is none.

    Raises LedgerError for a ledger that cannot be used. If `required`, raises ConsentError unless every recording has a grant or
    an open licence.
    """
    state, now = ledger.state_and_time() if ledger.exists() else (None, ledger.clock())
    report = report_basis(recordings, state, now, ledger.keys)
    if required:
        _require_basis(report)
    return report


def _require_basis(report: BasisReport) -> None:
    """Raises ConsentError unless every recording has a grant or an open licence that allows training."""
    if report.lacking:
        raise ConsentError(
            f"{report.lacking} recordings may not be trained on, as far as the ledger and the listing show. {report.message()}",
            remedy="name a grant (consent_basis: grant:DIGEST) or an open licence (license) in the listing, or leave them out",
        )
