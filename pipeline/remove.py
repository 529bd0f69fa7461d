"""Remove: a new release without some recordings or speakers, on purpose. The reason is in the release, and beside it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from voxbeam.pipeline.events import BuildProgress
from voxbeam.pipeline.policy_names import found_in_tables
from voxbeam.pipeline.preview import OnJudged
from voxbeam.pipeline.repack import ReleaseResult, release
from voxbeam.schemas.errors import NotInCorpusError
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import load_release
from voxbeam.storage.store import Store

_COLUMNS = {"recordings": "recording", "speakers": "speaker"}
_MAX_EXAMPLES = 3


def remove(
    output_uri: str,
    *,
    recordings: Sequence[str] = (),
    speakers: Sequence[str] = (),
    reason: str,
    who: str,
    dry_run: bool = False,
    runner_args: Sequence[str] = (),
    on_progress: Callable[[BuildProgress], None] | None = None,
    on_judged: OnJudged | None = None,
    now: Callable[[], datetime] | None = None,
) -> ReleaseResult:
    """Makes a release that lacks recordings and speakers, besides all that is left out already.

    The order is kept as an overlay, `removals/<hash>.jsonl` below the corpus, with who gave it and when; the release states the
    exclusions and the reason. Older releases and the units stay as they are. Raises NotInCorpusError, before anything is
    written, for a name that the latest release does not have.
    """
    store = Store(output_uri)
    previous = load_release(store)
    wanted = {"recordings": recordings, "speakers": speakers}
    _require_known(store, previous, wanted)
    excluded = previous.config.get("exclude") or {}
    policy = {
        "exclude": {
            kind: {**(excluded.get(kind) or {}), **dict.fromkeys(names, reason)} for kind, names in wanted.items() if names
        }
    }
    if not dry_run:
        at = (now or (lambda: datetime.now(UTC)))().isoformat(timespec="seconds")
        lines = [
            {_COLUMNS[kind]: name, "reason": reason, "by": who, "at": at} for kind, names in wanted.items() for name in names
        ]
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        store.put_named_by_content(f"removals/{hashlib.sha256(content).hexdigest()[:16]}.jsonl", content)
    return release(
        output_uri,
        policy,
        dry_run=dry_run,
        allow_empty=True,
        runner_args=runner_args,
        on_progress=on_progress,
        on_judged=on_judged,
    )


def _require_known(store: Store, previous: Release, wanted: Mapping[str, Sequence[str]]) -> None:
    found = found_in_tables(store, [previous], {kind: set(names) for kind, names in wanted.items()})
    for kind, names in wanted.items():
        if missing := set(names) - found[kind]:
            told = ", ".join(sorted(missing)[:_MAX_EXAMPLES])
            raise NotInCorpusError(
                f"release {previous.name} has no {_COLUMNS[kind]} {told}",
                remedy=f"take the name from the column `{_COLUMNS[kind]}` of its tables; nothing was removed",
            )
