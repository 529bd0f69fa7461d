"""Preview: what another policy would make of the units of a release, beside what the release's own policy makes of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from voxbeam.pipeline.events import BuildObserver
from voxbeam.pipeline.policy_names import COLUMNS, Names, named
from voxbeam.pipeline.progress import WorkerProgress
from voxbeam.pipeline.steps.link import FinishedRecording, summarize_recording
from voxbeam.pipeline.steps.pack import judged_rows
from voxbeam.pipeline.steps.released import read_finished, released_units
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.manifest import EXCLUDED, RELEASED, RecordingRow
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store

Judged = dict[str, tuple[int, list[str]]]
"""key → duration in ms and reasons, of the segments of a recording by one policy; a recording that is left out has none"""
OnJudged = Callable[[Judged, Judged, tuple[Policy, Policy]], None]


@dataclass(kw_only=True)
class Outcome:
    """What a policy makes of a corpus."""

    accepted_ms: int = 0
    rejected_ms: int = 0
    excluded_ms: int = 0
    """duration of recordings that are left out"""
    samples: int = 0
    speakers: set[str] = field(default_factory=set)
    """with at least one sample"""
    segments: Counter[str] = field(default_factory=Counter)
    """reason → rejected segments; one with several reasons counts under each"""
    ms: Counter[str] = field(default_factory=Counter)
    """reason → their duration"""
    only_ms: Counter[str] = field(default_factory=Counter)
    """reason → duration of segments that it alone rejects"""


@dataclass(kw_only=True)
class Preview:
    """The present policy and the other one, over the same units."""

    now: Outcome = field(default_factory=Outcome)
    then: Outcome = field(default_factory=Outcome)
    lost_ms: Counter[str] = field(default_factory=Counter)
    """reason → duration of segments that are accepted now, and then not"""
    gained_ms: Counter[str] = field(default_factory=Counter)
    """reason → duration of segments that it rejects now, and that are accepted then"""
    found: Names = field(default_factory=lambda: {kind: set() for kind in COLUMNS})
    """those names of the other policy that the corpus has"""

    @property
    def lost_speakers(self) -> list[str]:
        """Speakers with samples now, and then none."""
        return sorted(self.now.speakers - self.then.speakers)


def preview(
    store: Store, release: Release, config: CorpusConfig, observer: BuildObserver, on_judged: OnJudged | None = None
) -> Preview:
    """Reads every unit of a release once for each policy. Raises DamagedUnitError for one that is missing or damaged.

    `on_judged` is called for each recording with what becomes of its segments now and then, and with both policies.
    """
    made, total = Preview(), WorkerProgress()
    configs = (CorpusConfig.model_validate(release.config), config)
    policies = (Policy.of(configs[0]), Policy.of(configs[1]))
    wanted = named(config)
    observer.recordings = release.counts["recordings"]
    for row in read_rows(store, release, RecordingRow):
        if row.status not in (*RELEASED, EXCLUDED):
            continue
        made.found["recordings"] |= {row.recording} & wanted["recordings"]
        judged: list[Judged] = []
        for each, policy, outcome in zip(configs, policies, (made.now, made.then), strict=True):
            if row.recording in policy.exclude.recordings:
                outcome.excluded_ms += row.total_ms
                judged.append({})
            else:
                finished = _summarize(store, row, each, policy, release.fingerprint)
                made.found["voices"] |= {voice.voice for voice in finished.voices} & wanted["voices"]
                made.found["speakers"] |= {voice.speaker for voice in finished.voices} & wanted["speakers"]
                judged.append(_tally(store, policy, finished, outcome))
                made.found["segments"] |= judged[-1].keys() & wanted["segments"]
        _compare(made, judged[0], judged[1])
        if on_judged is not None:
            on_judged(judged[0], judged[1], policies)
        total.add(
            WorkerProgress(probed=1, probed_ms=row.total_ms, reused_units=len(row.units), audio_ms={"reused": row.total_ms})
        )
        observer.report("run", workers=total)
    return made


def _summarize(store: Store, row: RecordingRow, config: CorpusConfig, policy: Policy, fingerprint: str) -> FinishedRecording:
    """The recording as a release by the policy would have it."""
    units, failed = released_units(row, config.decode, fingerprint)
    results = sorted([*(read_finished(store, unit, policy) for unit in units), *failed], key=lambda result: result.unit.index)
    finished = summarize_recording(results, config.link_speakers.threshold, policy.exclude)
    assert isinstance(finished, FinishedRecording), f"{row.recording} has no segments any more"
    return finished


def _tally(store: Store, policy: Policy, recording: FinishedRecording, outcome: Outcome) -> Judged:
    """Adds a recording to an outcome; returns what becomes of each of its segments."""
    judged: Judged = {}
    for unit in recording.row.units:
        for row in judged_rows(store, policy, recording, unit):
            judged[row.key] = row.duration_ms, row.reasons
            if not row.reasons:
                outcome.samples += 1
                outcome.accepted_ms += row.duration_ms
                outcome.speakers.add(recording.speakers[unit][str(row.local_speaker)])
                continue
            outcome.rejected_ms += row.duration_ms
            for reason in row.reasons:
                outcome.segments[reason] += 1
                outcome.ms[reason] += row.duration_ms
            if len(row.reasons) == 1:
                outcome.only_ms[row.reasons[0]] += row.duration_ms
    return judged


def _compare(made: Preview, now: Judged, then: Judged) -> None:
    """Adds what one recording's segments lose and gain. A recording that is left out has no segments."""
    for key in now.keys() | then.keys():
        before, after = now.get(key), then.get(key)
        ms = (before or after or (0, []))[0]
        reasons_now = before[1] if before else ["excluded"]
        reasons_then = after[1] if after else ["excluded"]
        if not reasons_now:
            made.lost_ms.update({reason: ms for reason in reasons_then})
        elif not reasons_then:
            made.gained_ms.update({reason: ms for reason in reasons_now})
