"""Export: a release in the format of another tool, into a folder or a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from voxbeam.corpus import Corpus
from voxbeam.exports.card import write_card
from voxbeam.exports.croissant import croissant
from voxbeam.exports.describe import CROISSANT
from voxbeam.exports.facts import ReleaseFacts, gather_facts
from voxbeam.exports.hugging_face import HuggingFace, export_schema
from voxbeam.exports.kaldi import Kaldi
from voxbeam.exports.nemo import NeMo
from voxbeam.exports.parts import plan_parts
from voxbeam.exports.request import ExportFormat, ExportRequest
from voxbeam.exports.shar import Shar
from voxbeam.exports.sound import choose_sound
from voxbeam.exports.target import CARD, Target
from voxbeam.schemas.errors import VoxbeamError
from voxbeam.storage.releases import release_path

FORMATS: dict[str, ExportFormat] = {each.name: each for each in (HuggingFace(), Shar(), NeMo(), Kaldi())}
BYTES_VERSION = 1
"""of what is written: raised with every change that gives other bytes, so that no export is continued with other ones"""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export has written."""

    place: str
    facts: ReleaseFacts
    sound: str
    """where its audio is from (sound.SOUNDS)"""
    resumed: bool
    """whether an earlier run had finished it"""


def export(
    corpus: Corpus,
    name: str,
    out: str,
    *,
    sound: str | None = None,
    label_error: str | None = None,
    on_part: Callable[[int, int], None] | None = None,
) -> Exported:
    """Writes a release in a format of FORMATS to an empty folder or bucket prefix; the same call continues one that was stopped.

    The same release, format and sound give the same bytes. The card is put last: a place with README.md is complete.
    `sound` is one of the format's `sounds`; None: the kept audio where every sample has it, else audio from the codes, which are
    those of the corpus's `codec_name`. `datasets` and `shar` have the codes of every codec.

    Raises StorageError for a place that holds anything else, NotInCorpusError for audio that the release does not have.
    """
    chosen, facts = FORMATS[name], gather_facts(corpus.store, corpus.release, label_error)
    sound = choose_sound(sound, facts.keeps_audio, corpus.codec_name)
    if sound not in chosen.sounds:
        raise VoxbeamError(f"the format {name} has no audio {sound!r}", remedy=f"its choices are {', '.join(chosen.sounds)}")
    content = corpus.store.get(release_path(corpus.release.number))
    plan = {
        "release": corpus.release.number,
        "release_sha256": hashlib.sha256(content).hexdigest(),
        "format": name,
        "audio": sound,
        "bytes_version": BYTES_VERSION,
        **({"codecs": list(corpus.release.codecs)} if corpus.release.codecs else {}),
        **({"audio_codec": corpus.codec_name} if corpus.codec_name is not None else {}),
    }
    target = Target(out, plan)
    done = Exported(place=target.store.root, facts=facts, sound=sound, resumed=target.complete)
    if target.complete:
        return done
    request = ExportRequest(
        corpus=corpus, facts=facts, target=target, sound=sound, parts=plan_parts(corpus.store, corpus.release), on_part=on_part
    )
    chosen.write(request)
    if name == HuggingFace.name:
        schema = export_schema(corpus.release.codecs, audio=False)
        target.put(CROISSANT, croissant(facts, schema, "data/*.parquet"))
    target.put(CARD, write_card(facts, loading=chosen.loading(request), metadata=chosen.metadata(request)).encode())
    return done
