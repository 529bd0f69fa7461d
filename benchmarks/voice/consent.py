"""Consent for measuring: a ledger for the time of one program, in which whoever runs it vouches for the prompts.

The product has no way around its gate, and this is none: it is a grant, for the purpose `measuring` alone, whose "speaker" is a
key made here. Run it on made voices, and on readers whose speech may be used so; the sounds are not for publishing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxbeam.safety.enrol import Terms, put_grant, vouch
from voxbeam.safety.gate import ConsentGate
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.sounds import sound_hash
from voxbeam.synthesis.prompt import Prompt

PURPOSE = "measuring"


def measuring_gate(prompts: Iterable[Path]) -> ConsentGate:
    """A gate that lets the first three seconds of these files through."""
    return gate_of_sounds(Prompt.read(path).wave_S for path in prompts)


def gate_of_sounds(waves: Iterable[NDArray[np.float32]]) -> ConsentGate:
    """A gate that lets these prompts [S] at 24 kHz through."""
    folder = Path(tempfile.mkdtemp(prefix="voxbeam-measuring-"))
    ledger = Ledger(str(folder / "ledger"), KeyRing(folder / "keys"))
    ledger.create("measuring")
    hashes = [sound_hash(wave_S) for wave_S in waves]
    vouch(ledger, put_grant(ledger, "prompts", Terms(purposes=(PURPOSE,)), sounds=hashes))
    return ConsentGate(ledger, PURPOSE)
