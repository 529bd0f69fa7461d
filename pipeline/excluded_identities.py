"""Excluded identities: whose voices a policy leaves out when it names persons.

An identity is known by a release only, so the voices that the latest one gives it are excluded. A voice that a new recording adds
to it is found at the next build or release.
"""

import re

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.identity import IdentityRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store

_DERIVED = re.compile(r"identity (\S+): ")
"""how the reason of a voice begins that is left out with its identity"""


def resolve_identities(store: Store, release: Release | None, config: CorpusConfig) -> CorpusConfig:
    """The configuration with the voices of its excluded identities, by the latest release, among its excluded voices.

    Voices that the release leaves out for the same identity stay left out. Raises ConfigError for one that it has not.
    """
    wanted = config.exclude.identities
    before = release.config.get("exclude", {}) if release is not None else {}
    voices = {voice: reason for voice, reason in config.exclude.voices.items() if not _DERIVED.match(reason)}
    for voice, reason in before.get("voices", {}).items():
        if (match := _DERIVED.match(reason)) and match[1] in wanted:
            voices[voice] = _derived(match[1], wanted)
    unknown, joined = wanted.keys() - before.get("identities", {}).keys(), dict[str, str]()
    for row in read_rows(store, release, IdentityRow) if release is not None and wanted else ():
        if row.identity in wanted:
            unknown -= {row.identity}
            voices |= dict.fromkeys(row.voices, _derived(row.identity, wanted))
        joined |= {old: row.identity for old in row.former if old in wanted}
    for identity in sorted(unknown):
        now = f"; it was joined into {joined[identity]}" if identity in joined else ""
        raise ConfigError(
            f"exclude.identities names {identity}, which {f'release {release.name}' if release else 'no release'} has not{now}",
            remedy="take the name from the identities table of the latest release, or exclude its speakers or voices",
        )
    return config.model_copy(update={"exclude": config.exclude.model_copy(update={"voices": voices})})


def _derived(identity: str, reasons: dict[str, str]) -> str:
    return f"identity {identity}: {reasons[identity]}"
