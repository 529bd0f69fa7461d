"""Planted defects: how many of each kind a build keeps out of its samples or calls by name, and how many alarms are false."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxbeam.evaluation.built import BuiltRecording, BuiltSegment
from voxbeam.schemas.errors import TruthError

LEFT = 0.25
"""of a defect's time: with this much in samples, it was not kept out"""
NO_SEGMENT = "no segment"
"""what stands for a reason where the build finds no speech to cut"""
_VOICES = ("overlap", "speaker_change", "mixed_voices", NO_SEGMENT)
NAMES: dict[str, tuple[str, ...]] = {
    "wrong_text": ("differs_from_text",),
    "no_speech": (
        NO_SEGMENT,
        "no_text",
        "no_speech",
        "no_pause",
        "low_speech_ratio",
        "low_dnsmos",
        "low_logprob",
        "music",
        "hallucinated_phrase",
        "recognizers_differ",
    ),
    "repeated_phrase": ("dropouts", "ngram_loop", "repetitive", "few_unique_words", "repetition"),
    "cut_word": ("cut_word",),
    "second_voice": _VOICES,
    "backchannel": _VOICES,
    "music": ("music", "low_dnsmos", "low_snr"),
    "noise": ("low_snr", "low_dnsmos", NO_SEGMENT),
    "clipping": ("clipped",),
    "dropouts": ("dropouts",),
    "repeated_packets": ("dropouts",),
    "band_limit": ("narrow_band",),
    "other_language": ("language", "low_logprob", "recognizers_differ"),
    "speed_up": ("too_fast", "sped_up"),
    "reverberation": ("low_dnsmos", "low_snr"),
    "level": ("quiet", "low_snr", NO_SEGMENT),
    "duplicate": ("excluded",),
    "synthetic": ("synthetic",),
}
"""reasons that call a kind by its name, or say so of its sound. `excluded` is that of the overlay of `evaluate duplicates`, in a
corpus from which nothing else was taken out; `synthetic`: no stage gives any"""


@dataclass(frozen=True, kw_only=True)
class Defect:
    """Something wrong that was planted."""

    recording: str
    """name in the truth"""
    kind: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, kw_only=True)
class KindResult:
    """The defects of one kind, and the rejections that are called like it."""

    kind: str
    planted: int
    kept_out: int
    """less than a quarter of it is in samples"""
    named: int
    """it touches a segment that was rejected for a reason of this kind"""
    rejections: int
    """segments rejected for such a reason"""
    on_defects: int
    """of those, the ones that touch any defect: the others are of good speech"""
    right: int
    """of those, the ones that touch a defect which has that reason"""

    def figures(self) -> dict[str, float | None]:
        return {
            "recall": self.kept_out / self.planted if self.planted else None,
            "recall_by_name": self.named / self.planted if self.planted else None,
            "precision": self.on_defects / self.rejections if self.rejections else None,
            "precision_by_name": self.right / self.rejections if self.rejections else None,
        }


def read_defects(path: Path) -> list[Defect]:
    """Defects of a JSON Lines file: recording, kind, start_s, end_s. Raises TruthError, naming the line."""
    defects: list[Defect] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise TruthError(f"cannot read {path}: {error}", remedy="check the path") from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            start, end = round(1000 * row["start_s"]), round(1000 * row["end_s"])
            defects.append(Defect(recording=row["recording"], kind=row["kind"], start_ms=start, end_ms=end))
        except (ValueError, KeyError, TypeError) as error:
            raise TruthError(f"{path}, line {number}: {error}", remedy="write recording, kind, start_s, end_s") from error
        if defects[-1].kind not in NAMES:
            raise TruthError(
                f"{path}, line {number}: no kind {row['kind']!r}", remedy=f"the kinds are {', '.join(sorted(NAMES))}"
            )
    return defects


def planted_results(recordings: Sequence[BuiltRecording], defects: Iterable[Defect]) -> list[KindResult]:
    """Of each kind, in the order of NAMES, what became of its defects in these recordings; those of others do not count."""
    by_name = {built.name: built for built in recordings}
    there = defaultdict[str, list[Defect]](list)
    planted, kept_out, named = (defaultdict[str, int](int) for _ in range(3))
    for defect in defects:
        built = by_name.get(defect.recording)
        if built is None:
            continue
        there[defect.recording].append(defect)
        planted[defect.kind] += 1
        kept_out[defect.kind] += _in_samples(built, defect) < LEFT * (defect.end_ms - defect.start_ms)
        named[defect.kind] += bool(_reasons(built, defect) & set(NAMES[defect.kind]))
    alarms = {kind: [0, 0, 0] for kind in NAMES}
    for name, built in by_name.items():
        for segment in built.segments:
            here = [defect for defect in there[name] if _overlap(segment, defect) > 0]
            touched = {reason for defect in here for reason in NAMES[defect.kind]}
            for kind, names in NAMES.items():
                given = set(segment.reasons) & set(names)
                alarms[kind][0] += bool(given)
                alarms[kind][1] += bool(given and here)
                alarms[kind][2] += bool(given & touched)
    return [
        KindResult(
            kind=kind,
            planted=planted[kind],
            kept_out=kept_out[kind],
            named=named[kind],
            rejections=alarms[kind][0],
            on_defects=alarms[kind][1],
            right=alarms[kind][2],
        )
        for kind in NAMES
        if planted[kind]
    ]


def _overlap(segment: BuiltSegment, defect: Defect) -> int:
    return min(segment.end_ms, defect.end_ms) - max(segment.start_ms, defect.start_ms)


def _in_samples(built: BuiltRecording, defect: Defect) -> int:
    return sum(max(0, _overlap(segment, defect)) for segment in built.samples)


def _reasons(built: BuiltRecording, defect: Defect) -> set[str]:
    touching = [segment for segment in built.segments if _overlap(segment, defect) > 0]
    covered = sum(_overlap(segment, defect) for segment in touching)
    nothing = {NO_SEGMENT} if covered < LEFT * (defect.end_ms - defect.start_ms) else set[str]()
    return nothing.union(*(segment.reasons for segment in touching))
