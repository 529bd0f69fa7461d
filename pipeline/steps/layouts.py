"""Layouts: what the folders and the files beside the audio of well-known corpora say about a recording.

- LibriLight: `<speaker>/<book>/<chapter>.flac` beside `<chapter>.json` (Kahn et al. 2020, speaker, book_meta, snr);
- LibriSpeech: `<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac`, texts in `<speaker>-<chapter>.trans.txt`;
- LibriTTS: `<speaker>/<chapter>/<speaker>_<chapter>_<paragraph>_<part>.wav` beside `….normalized.txt`;
- VCTK: `wav48…/<speaker>/<speaker>_<number>[_mic1].flac`, texts in `txt/<speaker>/<speaker>_<number>.txt`;
- Common Voice: `clips/` beside `validated.tsv`;
- LJSpeech: `wavs/` beside `metadata.csv` (name|text|normalized text);
- Hugging Face's AudioFolder: `metadata.csv` or `metadata.jsonl` with a column `file_name`.
"""

import json
import re
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any
from unicodedata import normalize

from voxbeam.pipeline.steps.input_files import InputFiles, in_folder
from voxbeam.schemas.errors import ListingError
from voxbeam.schemas.formats import AUDIO_SUFFIXES
from voxbeam.schemas.recording import names_nobody
from voxbeam.storage.listing import Listing
from voxbeam.storage.listing_text import split_plain
from voxbeam.storage.listing_values import read_value

Columns = dict[str, Any]
"""some columns of a Recording"""
_LIBRISPEECH = re.compile(r"(\d+)-(\d+)-\d+")
_LIBRITTS = re.compile(r"(?:.*/)?(\d+)/(\d+)/\1_\2_\d+_\d+")
_VCTK = re.compile(r"(?:(.*/)?wav48[^/]*/|()())([ps]\d+)/(\4_\d+)(?:_mic[12])?")
_LJSPEECH = re.compile(r"LJ\d{3}-\d{4}")
_SIDECAR_COLUMNS = {
    "speaker": "speaker", "language": "language", "license": "license", "licence": "license", "consent_basis": "consent_basis",
    "basis": "consent_basis", "snr": "source_snr_db",
}  # fmt: skip
_MAX_SIDECAR_BYTES = 16 << 20


def speaker_from_path(path: str, template: str | None) -> str | None:
    """The speaker that a path names: by the template, else by the file names of a known layout; None when it names none."""
    pure = PurePosixPath(path)
    stem, name = str(pure.with_suffix("")), pure.stem
    if template is not None:
        match = _pattern(template).fullmatch(stem)
        speaker = normalize("NFC", match.group("speaker")) if match else ""
        return None if names_nobody(speaker) else speaker
    if match := _LIBRISPEECH.fullmatch(name):
        return match[1]
    if match := _LIBRITTS.fullmatch(stem):
        return match[1]
    match = _VCTK.search(stem)
    return match[4] if match and match.end() == len(stem) else None


def require_fitting(template: str, paths: list[str]) -> None:
    """Raises ListingError when a template fits none of the paths: all speakers would be unknown."""
    pattern = _pattern(template)
    if not any(pattern.fullmatch(str(PurePosixPath(path).with_suffix(""))) for path in paths):
        raise ListingError(
            f"listing.speaker_path {template!r} fits none of the {len(paths)} paths, such as {min(paths)!r}",
            remedy="write one `*` for each folder and for the file, and {speaker} in place of the one that names the speaker",
        )


@lru_cache
def _pattern(template: str) -> re.Pattern[str]:
    """Of a path without its suffix; a suffix of sound at the end of the template does not count."""
    if PurePosixPath(template).suffix.lower() in (*AUDIO_SUFFIXES, ".*"):
        template = str(PurePosixPath(template).with_suffix(""))
    return re.compile(
        "".join(
            "(?P<speaker>[^/]+)" if part == "{speaker}" else "[^/]+" if part == "*" else re.escape(part)
            for part in re.split(r"(\{speaker\}|\*)", template)
        )
    )


def propose_template(paths: list[str]) -> str | None:
    """The template for folders that look like speakers: the highest level with several folders, of two files or more each."""
    folders = [PurePosixPath(path).parts for path in paths]
    depth = max(map(len, folders), default=1) - 1
    if depth < 1 or any(len(parts) != depth + 1 for parts in folders):
        return None
    for level in range(depth):
        names = {parts[level] for parts in folders}
        if len(names) > 1:
            if len(folders) < 2 * len(names) or names & {"train", "test", "dev", "valid", "validation"}:
                return None
            fixed = [folders[0][above] for above in range(level)]
            return "/".join([*fixed, "{speaker}", *["*"] * (depth - level)])
    return None


class Layout:
    """What the files beside the audio say. `columns(path)` are those of one audio file; None when it is not to be used."""

    def __init__(self, files: InputFiles, keep_columns: tuple[str, ...], max_rows: int) -> None:
        self.files, self.known, self.used = files, set(files.paths), set[str]()
        self._tables: dict[str, Columns] = {}
        self._texts: dict[str, dict[str, str]] = {}
        self._only: list[str] = []
        """folders of which only the files in a table are recordings"""
        for path in in_folder(files.paths, "validated.tsv"):
            clips = f"{path.removesuffix('validated.tsv')}clips/"
            if any(other.startswith(clips) for other in files.paths):
                self._read_table(path, clips, keep_columns, max_rows)
                self._only.append(clips)
        for name in ("metadata.csv", "metadata.jsonl"):
            for path in in_folder(files.paths, name):
                folder = path.removesuffix(name)
                if not (name == "metadata.csv" and self._read_ljspeech(path, folder)):
                    self._read_table(path, folder, keep_columns, max_rows)

    def columns(self, path: str) -> Columns | None:
        if (folder := next((only for only in self._only if path.startswith(only)), None)) and path not in self._tables:
            self.files.left_out.add(f"not in {folder.removesuffix('clips/')}validated.tsv", path)
            return None
        stem = str(PurePosixPath(path).with_suffix(""))
        found: Columns = {"text": self._text_beside(stem)}
        if f"{stem}.json" in self.known:
            found |= self._sidecar(f"{stem}.json")
        return {name: value for name, value in {**found, **self._tables.get(path, {})}.items() if value is not None}

    def _read_table(self, path: str, folder: str, keep_columns: tuple[str, ...], max_rows: int) -> None:
        try:
            for row in Listing(uri=self.files.uri(path), max_rows=max_rows):
                columns = {name: value for name, value in row.columns.items() if name not in ("recording", "kaldi_id")}
                self._tables[f"{folder}{row.address}"] = columns
                if f"{folder}{row.address}" not in self.known:
                    self.files.left_out.add(f"listed in {path}, but there is no such file", row.address)
        except ListingError as error:
            if path.endswith("validated.tsv"):
                raise
            self.files.left_out.add(f"table not used: {error.message}"[:200], path)
            return
        self.used.add(path)

    def _read_ljspeech(self, path: str, folder: str) -> bool:
        """Whether it is LJSpeech's table without a header."""
        lines = self.files.read(path).decode("utf-8-sig", "replace").splitlines()
        rows = [split_plain(line, "|") for line in lines if line.strip()]
        if not rows or any(len(row) not in (2, 3) for row in rows) or f"{folder}wavs/{rows[0][0]}.wav" not in self.known:
            return False
        for row in rows:
            speaker = "LJ" if _LJSPEECH.fullmatch(row[0]) else None
            self._tables[f"{folder}wavs/{row[0]}.wav"] = {"text": row[1] or None, "speaker": speaker}
        self.used.add(path)
        return True

    def _text_beside(self, stem: str) -> str | None:
        if f"{stem}.normalized.txt" in self.known:
            self.used.update({f"{stem}.normalized.txt", f"{stem}.original.txt"} & self.known)
            return self._text(f"{stem}.normalized.txt")
        folder, _, name = stem.rpartition("/")
        if match := _LIBRISPEECH.fullmatch(name):
            transcripts = f"{folder}/{match[1]}-{match[2]}.trans.txt".lstrip("/")
            if transcripts in self.known and transcripts not in self._texts:
                lines = (line.partition(" ") for line in (self._text(transcripts) or "").splitlines())
                self._texts[transcripts] = {key: text for key, _, text in lines}
                self.used.add(transcripts)
            return self._texts.get(transcripts, {}).get(name)
        match = _VCTK.fullmatch(stem)
        beside = f"{match[1] or ''}txt/{match[4]}/{match[5]}.txt" if match else ""
        if beside in self.known:
            self.used.add(beside)
            return self._text(beside)
        return None

    def _text(self, path: str) -> str | None:
        try:
            return str(read_value(self.files.read(path).decode("utf-8-sig").strip(), "text", path, "text") or "") or None
        except (UnicodeDecodeError, ListingError):
            self.files.left_out.add("transcript that is not UTF-8 text", path)
            return None

    def _sidecar(self, path: str) -> Columns:
        """The columns of a sidecar. One that cannot be used is told, and is no reason to reject the audio."""
        self.used.add(path)
        content = self.files.read(path)
        try:
            tree = json.loads(content) if len(content) <= _MAX_SIDECAR_BYTES else None
        except (ValueError, RecursionError):
            tree = None
        if not isinstance(tree, dict):
            self.files.left_out.add("sidecar .json that is not a JSON object", path)
            return {}
        book = tree.get("book_meta")
        values = [(column, name, tree.get(name)) for name, column in _SIDECAR_COLUMNS.items()]
        values.append(("title", "title", book.get("title") if isinstance(book, dict) else None))
        columns: Columns = {}
        for column, name, value in values:
            try:
                read = read_value(value, column, path, name)
            except ListingError:
                self.files.left_out.add(f"value of {name!r} in a sidecar .json", path)
                continue
            if read is not None and not (column == "speaker" and names_nobody(str(read))):
                columns[column] = read
        return columns
