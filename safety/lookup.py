"""From the 32 bits of a watermark to the event that they name."""

from __future__ import annotations

from voxbeam.safety.events import from_time
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.made_voices import MADE_VOICES
from voxbeam.safety.watermark import NO_EVENT
from voxbeam.schemas.errors import ConsentError


def describe_event(payload: int, ledger: Ledger) -> str:
    """What a payload names: a voice that ships, events of a ledger whose digest begins with it, or nothing that is known here."""
    if payload == NO_EVENT:
        return "no event: speech of an evaluation"
    begin = f"{payload:08x}"
    for made in MADE_VOICES.values():
        if made.digest.startswith(begin):
            return f"the made voice {made.name}, which ships with voxbeam"
    try:
        events = ledger.events() if ledger.exists() else None
    except ConsentError as error:
        return f"the event cannot be looked up: {error.message}"
    if events is None:
        return "there is no ledger here to look the event up in (--ledger)"
    found = [event for event in events if event.digest.startswith(begin)]
    if not found:
        return f"no event of the ledger {ledger.store.root}"
    return "; ".join(f"event {event.seq} ({event.kind}) of {from_time(event.at)}: {event.digest[:12]}" for event in found)
