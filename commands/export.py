"""`voxbeam export`: a trained model as one small file, or a release in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from voxbeam.commands.exit_status import DONE
from voxbeam.commands.model_command import ModelCommand

if TYPE_CHECKING:
    from voxbeam.schemas.release import Release
    from voxbeam.storage.store import Store

MODEL, IN_PLACE = "safetensors", "croissant"
CORPUS_FORMATS = ("datasets", "shar", "nemo", "kaldi")
SOUNDS = ("kept", "codes", "sources", "refer", "none")
_REMEDY = "for a corpus, name one of the others with --format"


@click.command(
    cls=ModelCommand,
    short_help="Write a model as one file, or a release for other tools.",
    examples=[
        "voxbeam export runs/first --out voice.safetensors --card card.md",
        "voxbeam export runs/first --push me/my-voice --card card.md",
        "voxbeam export /data/corpus --format datasets --out /data/for-the-hub",
        "voxbeam export s3://corpora/librilight --format shar --audio codes --out s3://exports/librilight-shar",
        "voxbeam export /data/corpus --format croissant --about about.yaml",
    ],
)
@click.argument("source")
@click.option(
    "--format",
    "name",
    type=click.Choice([MODEL, *CORPUS_FORMATS, IN_PLACE]),
    default=MODEL,
    show_default=True,
    help="What to write.",
)
@click.option("--out", metavar="PLACE", help="File to write, .safetensors; for a corpus, an empty folder or bucket prefix.")
@click.option(
    "--card",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of a model: text that goes with it: data, license, limits.",
)
@click.option(
    "--push",
    metavar="OWNER/NAME",
    help="Of a model: repository of the Hugging Face Hub to put it into; made private if it is new.",
)
@click.option("--release", type=int, metavar="NUMBER", help="Of a corpus: release to export.  [default: the latest]")
@click.option(
    "--audio",
    type=click.Choice(SOUNDS),
    help="Of a corpus: where the audio is from.  [default: kept, where every sample has it; else codes]",
)
@click.option("--codec-name", metavar="NAME", help="Of a corpus: further codec whose codes give the audio.  [default: the first]")
@click.option("--about", metavar="FILE", help="For croissant: YAML of what only people know, e.g. url, creator, datePublished.")
def export(
    source: str,
    name: str,
    out: str | None,
    card: Path | None,
    push: str | None,
    release: int | None,
    audio: str | None,
    codec_name: str | None,
    about: str | None,
) -> int:
    """Write a trained model as one file, or a release of a corpus in the format of another tool.

    safetensors: the averaged weights of the run SOURCE in bf16, with sizes, phones and the codec's hash. The checkpoint with
    the lowest validation loss is taken, or the last one of a run without validation. The file takes the place of the run in
    `voxbeam generate`, `edit`, `serve` and `evaluate`, and in `voxbeam train --init-from`. With --push it goes to a hub, and
    the card must name its license.

    datasets (Hugging Face), shar (lhotse), nemo and kaldi: the samples of a release of the corpus SOURCE, with a card. The same
    release gives the same bytes, and the same command continues an export that was stopped. Audio is mono FLAC at 24 kHz (WAV
    for kaldi): `kept` as in the shards, decoded from the `codes`, cut from the `sources`, or `none` at all. With `refer`, nemo
    and kaldi get no audio: their manifests name the recordings and the times in them. Of a release with several codecs, datasets
    and shar get the codes of all of them.

    croissant: README.md and croissant.json of a release, into the corpus itself.
    """
    if name == MODEL:
        others: dict[str, object] = {"--release": release, "--audio": audio, "--codec-name": codec_name, "--about": about}
        return _model(source, out, card, push, others)
    if card is not None:
        raise click.UsageError("--card belongs to a model; the card of a release is made from its tables")
    if push is not None:
        raise click.UsageError("--push belongs to a model; what --format datasets writes is pushed by `hf upload`")
    if name == IN_PLACE:
        for option, value in (("--out", out), ("--audio", audio), ("--codec-name", codec_name)):
            if value is not None:
                raise click.UsageError(f"{option} has no use here: croissant describes the corpus in place")
        return _describe(source, release, about)
    if out is None:
        raise click.UsageError("--out is missing: name an empty folder or bucket prefix")
    if about is not None:
        raise click.UsageError("--about belongs to --format croissant")
    return _corpus(source, name, out, release, audio, codec_name)


def _model(run: str, out: str | None, card: Path | None, push: str | None, others: dict[str, object]) -> int:
    if given := [option for option, value in others.items() if value is not None]:
        raise click.UsageError(f"{given[0]} belongs to a corpus; {_REMEDY}")
    if out is None and push is None:
        raise click.UsageError("--out is missing: name a file that ends in .safetensors")
    if out is not None and not out.endswith(".safetensors"):
        raise click.UsageError(f"--out {out} does not end in .safetensors; {_REMEDY}")
    if push is not None and card is None:
        raise click.UsageError("--push needs --card: a text on data, license and limits, which nobody else can write")
    told = card.read_text(encoding="utf-8") if card else ""

    from voxbeam.exports.push_model import push_model, require_licence
    from voxbeam.models.load_valle import export_models
    from voxbeam.safety.blocks import require_not_blocked

    require_not_blocked(run)
    if push is not None:
        require_licence(told)
    if out is not None:
        path = Path(out)
        facts = export_models(run, path, card=told)
        click.echo(f"{path}: weights of step {facts['step']}, {path.stat().st_size / 1e6:.1f} MB")
    if push is not None:
        click.echo(f"Pushed: {push_model(run, push, told)}")
    return DONE


def _corpus(source: str, name: str, out: str, release: int | None, audio: str | None, codec_name: str | None) -> int:
    from voxbeam.commands import terminal
    from voxbeam.corpus import Corpus
    from voxbeam.exports.card import hours
    from voxbeam.exports.export import export as export_release
    from voxbeam.exports.sound import SOUNDS as MEANINGS

    corpus = Corpus(source, release, codec_name=codec_name)
    with terminal.stderr().status(f"Exporting release {corpus.name}") as status:
        done = export_release(
            corpus,
            name,
            out,
            sound=audio,
            label_error=_label_error(corpus.store, corpus.release),
            on_part=lambda part, parts: status.update(f"Exporting release {corpus.name}: part {part} of {parts}"),
        )
    console = terminal.stdout()
    verb = "was complete already" if done.resumed else "written"
    console.print(f"{done.place}: {name} of release {corpus.name} {verb}, {done.facts.samples:,} samples, {hours(done.facts.ms)}")
    console.print(f"Audio: {MEANINGS[done.sound]}" + (f" of {codec_name}" if codec_name is not None else ""))
    return DONE


def _describe(source: str, release: int | None, about: str | None) -> int:
    from voxbeam.commands import terminal
    from voxbeam.exports.about import read_about
    from voxbeam.exports.describe import describe_release
    from voxbeam.storage.releases import load_release
    from voxbeam.storage.store import Store

    told = read_about(about) if about is not None else None
    store = Store(source)
    found = load_release(store, release)
    written = describe_release(store, found, label_error=_label_error(store, found), about=told)
    for path, content in written.items():
        store.replace(path, content)
        terminal.stdout().print(f"{store.uri(path)}: of release {found.name}, {len(content):,} bytes")
    return DONE


def _label_error(store: Store, release: Release) -> str | None:
    """What audits say of a release; None where there are none, and then no library for signatures is needed."""
    if not any(True for _ in store.walk(f"audits/{release.name}/")):
        return None
    from voxbeam.audit.result import label_error_sentence

    return label_error_sentence(store, release)
