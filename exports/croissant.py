"""Croissant 1.0: a dataset described for machines (JSON-LD), with the fields of its extension for responsible AI (RAI)."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from voxbeam.exports.card import MAX_VALUES, hours, hub_metadata
from voxbeam.exports.facts import UNKNOWN, ReleaseFacts
from voxbeam.schemas.release import Release, ReleaseFile

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_MEDIA = {"shard": "application/x-tar", "shard_list": "text/plain", "phones": "application/json"}
_PARQUET = "application/x-parquet"


def croissant(
    facts: ReleaseFacts,
    schema: pa.Schema,
    includes: str,
    *,
    files: Sequence[ReleaseFile] = (),
    about: dict[str, Any] | None = None,
) -> bytes:
    """The description of Parquet files with samples: a pure function of its arguments. It contains no time, host or path.

    Args:
        facts: of the release.
        schema: of the Parquet files; columns of plain types become fields, with the documentation that the schema has of them.
        includes: pattern of their paths, below the folder of the description.
        files: further files of known SHA-256, by paths below the same folder.
        about: what only people know, such as `url`, `creator`, `datePublished`, `rai:dataCollection`; overrides what is made.
    """
    known = [name for name in facts.ms_by["license"] if name != UNKNOWN]
    tree = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": facts.name,
        "description": f"{hours(facts.ms)} of speech in {facts.samples} samples, each the words of one person, with text, "
        f"phones, scores and codec tokens{_codecs(facts.release)}; release {facts.release.name}.",
        "version": f"{facts.release.number}.0.0",
        "license": [_license(name) for name in known] or "https://choosealicense.com/no-permission/",
        "inLanguage": facts.languages,
        "keywords": ["speech", "audio", "text-to-speech", "codec tokens"],
        **_rai(facts),
        **(about or {}),
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "samples-files",
                "name": "samples-files",
                "description": "Parquet files with a row for each sample.",
                "encodingFormat": _PARQUET,
                "includes": includes,
            },
            *(_file_object(file) for file in files),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "description": "An accepted segment: its text and phones, its scores, and where its files are.",
                "key": {"@id": "samples/key"},
                "field": [_field(column) for column in schema if _data_type(column.type) is not None],
            }
        ],
    }
    return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()


def _codecs(release: Release) -> str:
    """How many codecs, and the names of the further ones; nothing where there is one."""
    further = release.codecs
    return f" of {len(further) + 1} codecs (the first, {', '.join(further)})" if further else ""


def _rai(facts: ReleaseFacts) -> dict[str, Any]:
    """The fields of responsible AI, from what the release knows of itself."""
    models = ", ".join(sorted(facts.release.models)) or "those of its configuration"
    bases = list(facts.ms_by["consent_basis"].items())
    more = f", and {len(bases) - MAX_VALUES:,} others" if len(bases) > MAX_VALUES else ""
    consent = ", ".join(f"{name} ({hours(ms)})" for name, ms in bases[:MAX_VALUES]) + more
    top = max((split.identities for split in facts.splits.values()), default=0)
    statuses = ", ".join(f"{n} {status}" for status, n in facts.recordings.items())
    return {
        "rai:dataCollection": f"Recordings of speech that were listed ({statuses}), cut at pauses into segments of one speaker.",
        "rai:dataCollectionType": ["Existing recordings", "Software collection"],
        "rai:dataCollectionRawData": "The recordings are not part of the dataset; the table of recordings has the address, "
        "length and SHA-256 of each.",
        "rai:dataCollectionMissingData": "Rejected segments are kept in a table with all their reasons; recordings that cannot "
        "be used are listed with stage, reason and remedy.",
        "rai:dataImputationProtocol": "Nothing is imputed: a value that a stage does not give is null.",
        "rai:dataPreprocessingProtocol": ["Sound is decoded, mixed to one channel and resampled to 24 kHz and 16 kHz."],
        "rai:dataManipulationProtocol": "Segments below the thresholds of the configuration are left out; texts are not edited.",
        "rai:dataAnnotationProtocol": [
            "Speakers, texts, scores, phones and codec tokens are made by models and rules "
            f"({hub_metadata(facts)['annotations_creators'][0]})."
        ],
        "rai:dataAnnotationAnalysis": [facts.label_error or "No sample has been audited by a person yet."],
        "rai:annotationsPerItem": "One text of one recognizer for each sample; a second recognizer where it was asked.",
        "rai:machineAnnotationTools": [f"voxbeam, code version {facts.release.code_version}, with the models for {models}"],
        "rai:dataBiases": [
            f"Recognizers, scores and thresholds were chosen on {', '.join(facts.languages) or 'speech'} of few kinds; accents, "
            "children, singing and far microphones are rejected more often.",
            f"The largest split has {top} persons, by voice.",
        ],
        "rai:dataUseCases": [
            "Training and testing of text-to-speech and speech recognition.",
            "Study of rules that filter speech.",
        ],
        "rai:dataLimitations": [
            "Labels are machine-made and have errors; identities are found by voice and may join or divide persons.",
            "Not for identifying persons, and not for speech in a person's voice without their consent.",
        ],
        "rai:dataSocialImpact": "A model of speech can imitate a voice: keep to the license and the consent of every sample.",
        "rai:personalSensitiveInformation": ["Voices are personal data. Basis of their use, as listed: " + (consent or UNKNOWN)],
        "rai:dataReleaseMaintenancePlan": "Releases are numbered and do not change; corrections and removals make a new release.",
    }


def _file_object(file: ReleaseFile) -> dict[str, Any]:
    name = file.path.replace("/", "-")
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": _MEDIA.get(file.kind, _PARQUET),
        "sha256": file.sha256,
    }


def _field(column: pa.Field) -> dict[str, Any]:
    repeated = pa.types.is_list(column.type)
    return {
        "@type": "cr:Field",
        "@id": f"samples/{column.name}",
        "name": column.name,
        "description": (column.metadata or {}).get(b"doc", b"").decode() or column.name,
        "dataType": _data_type(column.type),
        **({"repeated": True} if repeated else {}),
        "source": {"fileSet": {"@id": "samples-files"}, "extract": {"column": column.name}},
    }


def _data_type(kind: pa.DataType) -> str | None:
    """The type of a field; None for a column that is none, such as a list of objects."""
    if pa.types.is_list(kind):
        return _data_type(kind.value_type) if not pa.types.is_nested(kind.value_type) else None
    if pa.types.is_string(kind):
        return "sc:Text"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else None


def _license(name: str) -> str:
    """The page of an SPDX identifier; a license of its own stays as it is called."""
    return name if name.startswith("LicenseRef-") or " " in name else f"https://spdx.org/licenses/{name}.html"
