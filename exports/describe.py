"""Describe: the card and the Croissant description of a release, made from its tables alone.

Each release has both among its files: they contain neither the place of the corpus nor what people heard of it later.
`voxbeam export --format croissant` writes them again with all that, beside the folders of the corpus.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import Any

from voxbeam.exports.card import write_card
from voxbeam.exports.croissant import croissant
from voxbeam.exports.facts import gather_facts
from voxbeam.schemas.columns import arrow_schema
from voxbeam.schemas.manifest import SampleRow
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.storage.store import Store

CARD, CROISSANT = "README.md", "croissant.json"
DESCRIPTIONS = {"card": "md", "croissant": "json"}
"""kind of a file of a release → the suffix of its name"""
_NAME = "speech-corpus"
"""of a release that must not depend on where it is"""
_UP = "../.."
"""from the folder of a release's tables to the corpus"""
_LOADING = """## How to load it

```python
import voxbeam

corpus = voxbeam.Corpus("{corpus}")
```

The tars below `shards/` are WebDataset shards, the Parquet files below `manifests/` its tables; `voxbeam export` writes
other formats.
"""
_LATER = "`voxbeam audit --result` says what people have heard since this card was written with its release."


def describe_release(
    store: Store, release: Release, *, label_error: str | None = None, about: dict[str, Any] | None = None
) -> dict[str, bytes]:
    """Both for the folder of the corpus: objects by their path below it.

    `about` is what only people know of it (croissant.py).
    """
    facts = gather_facts(store, release, label_error)
    files, includes = _places(release, "")
    return {
        CARD: write_card(facts, loading=_LOADING.format(corpus="path/of/this/folder")).encode(),
        CROISSANT: croissant(facts, arrow_schema(SampleRow), includes, files=files, about=about),
    }


def describe_within(store: Store, release: Release, folder: str) -> dict[tuple[str, str], bytes]:
    """Both for the folder of a release's tables: contents by kind and suffix, which are DESCRIPTIONS.

    Paths in them are relative to `folder`, so the bytes depend neither on the corpus's place nor on the folder's name.
    """
    facts = replace(gather_facts(store, release), name=_NAME)
    files, includes = _places(release, folder)
    card = write_card(facts, loading=_LOADING.format(corpus=f"path/of/this/folder/{_UP}"), later=_LATER)
    contents = (card.encode(), croissant(facts, arrow_schema(SampleRow), includes, files=files))
    return dict(zip(DESCRIPTIONS.items(), contents, strict=True))


def _places(release: Release, folder: str) -> tuple[list[ReleaseFile], str]:
    """The files of a release but samples, by paths below or beside a folder; and the pattern of those of samples."""
    samples = release.files_of_kind("samples")
    below = samples[0].path.rsplit("/", 1)[0] if samples else "manifests/none"
    others = [file for file in release.files if file.kind != "samples" and file.kind not in DESCRIPTIONS]
    moved = [replace(file, path=posixpath.relpath(file.path, folder or ".")) for file in others]
    return moved, f"{posixpath.relpath(below, folder or '.')}/*.parquet"
