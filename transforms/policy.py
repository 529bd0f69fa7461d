"""Policy: what becomes of a row of a unit by the rules and by what people decided. A pure function of row and policy."""

from dataclasses import replace
from functools import lru_cache

from voxbeam.schemas.manifest import UnitRow
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.reasons import REASONS
from voxbeam.transforms.filter import chars_per_second, damages, failed_rules
from voxbeam.transforms.phonemize import Phonemize, Phones, phones_of
from voxbeam.transforms.purity import is_mixed
from voxbeam.transforms.segment import SegmentSpeech

EXCLUDED, MARKED = "excluded", "marked_wrong"


def apply_policy(row: UnitRow, policy: Policy, *, language: str | None) -> UnitRow:
    """The row accepted, or rejected with every reason; `rejected_by` names where the first is from.

    A segment that was not cut well stays rejected, with the damage that may have led to it: nothing else of it was measured.
    `language` is that of the recording as listed.
    """
    if not was_cut_well(row):
        return _with_reasons(row, row.rejected_by, {*row.reasons, *damages(row, policy.filter)})
    text = policy.corrections.texts.get(row.key)
    if text is not None:
        row = _corrected(row, text, policy.phonemize.voice)
    found = {
        "corrections": [MARKED] if row.key in policy.corrections.rejected else [],
        "purity": ["mixed_voices"] if is_mixed(row.voice_distance, row.second_voice, policy.purity) else [],
        "filter": list(failed_rules(row, policy.filter, language=language, by_hand=text is not None)),
        "phonemize": row.reasons,
    }
    reasons = {reason for some in found.values() for reason in some}
    rejected_by = next((where for where, some in found.items() if some), None)
    row = _with_reasons(row, rejected_by, reasons)
    return leave_out(row) if row.key in policy.exclude.segments else row


def _with_reasons(row: UnitRow, rejected_by: str | None, reasons: set[str]) -> UnitRow:
    return replace(row, rejected_by=rejected_by, reasons=[reason for reason in REASONS if reason in reasons])


def was_cut_well(row: UnitRow) -> bool:
    """Whether a row is of one speaker and the right length, so that all stages measured it, and the policy decides about it."""
    return row.rejected_by != SegmentSpeech.name


def leave_out(row: UnitRow) -> UnitRow:
    """The row rejected as excluded, without what was said in it."""
    reasons = [EXCLUDED, *(reason for reason in row.reasons if reason != EXCLUDED)]
    return replace(row, rejected_by="exclude", reasons=reasons, text=None, words=None, phones=None, phone_ids=[])


def _corrected(row: UnitRow, text: str, voice: str) -> UnitRow:
    """The row with a text that a person wrote, and without what the recognizers say of another."""
    found = _phones(text, voice)
    return replace(
        row,
        text=text,
        chars_per_second=chars_per_second(text, row.duration_ms),
        avg_logprob=None,
        compression_ratio=None,
        temperature=None,
        used_fallback=None,
        reference_wer=None,
        second_wer=None,
        second_repeats=None,
        words=None,
        phones=found.phones,
        phone_ids=list(found.ids),
        rejected_by=Phonemize.name if found.reason else None,
        reasons=[found.reason] if found.reason else [],
    )


@lru_cache(maxsize=100_000)
def _phones(text: str, voice: str) -> Phones:
    """Cached: a unit is read three times for a release."""
    with Phonemize.lock:
        return phones_of([text], voice)[0]
