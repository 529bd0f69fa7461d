"""Weights that a run begins with: refused where they learned from somebody who was taken down since, also through other runs."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from voxbeam.commands.exit_status import DONE, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.models import checkpoint
from voxbeam.models.load_valle import export_models
from voxbeam.safety.keys import KeyRing, key_folder
from voxbeam.safety.tombstones import read_feeds
from voxbeam.schemas.errors import ConsentError, LedgerError
from voxbeam.storage.store import Store
from voxbeam.trainer.data.sampler import SamplerConfig
from voxbeam.trainer.data.stream import Stream, StreamConfig
from voxbeam.trainer.training import Trainer
from voxbeam.trainer.watch import TakedownWatch

from tests.pipeline.factories import member, release_of
from tests.safety.ledgers import put_tombstone
from tests.trainer.factories import CONFIG

SHORT = replace(CONFIG, steps=3, warmup_steps=1, codebook_size=1024)
STREAM = StreamConfig(sampler=SamplerConfig(batch_frames=700, block_samples=2, window_blocks=3, seed=3))


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VOXBEAM_KEYS", str(tmp_path / "keys"))


def corpus_of(folder: Path, *names: str) -> Store:
    """A corpus of recordings of four samples each."""
    starts = (0, 4000, 8000, 12000)
    members = [member(name, start, phones="a | b", phone_ids=[2, 1, 3], ms=3200) for name in names for start in starts]
    return release_of(folder, {"train": members}, recordings=names)


def trainer(corpus: Store, run: Path, *feeds: Store, messages: list[str] | None = None, **options: object) -> Trainer:
    stream = Stream(corpus.root, config=STREAM)
    return Trainer(
        options.pop("config", SHORT), stream.index.phones, stream.steps, None, str(run), data=stream.facts,
        tombstones=read_feeds(corpus, feeds), on_message=(messages if messages is not None else []).append, **options,
    )  # fmt: skip


def take_down(corpus: Store, recording: str) -> None:
    put_tombstone(corpus, {recording: None}, "", KeyRing(key_folder()).operator(make=True))


def test_weights_that_learned_from_somebody_are_no_beginning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor those that began with them, as a run or as an exported file; a run that began with them does not go on."""
    first, second = corpus_of(tmp_path / "first", "a"), corpus_of(tmp_path / "second", "b")
    trainer(first, tmp_path / "base").train()
    messages: list[str] = []
    trainer(second, tmp_path / "tuned", first, init_from=str(tmp_path / "base"), messages=messages).train()
    assert messages == []
    export_models(str(tmp_path / "tuned"), tmp_path / "tuned.safetensors")
    trainer(second, tmp_path / "third", first, init_from=str(tmp_path / "tuned.safetensors")).train()
    take_down(first, "somebody else")
    trainer(second, tmp_path / "fourth", first, init_from=str(tmp_path / "third")).train()

    take_down(first, "a")
    for number, name in enumerate(("base", "tuned", "tuned.safetensors", "third", "fourth")):
        again = trainer(second, tmp_path / f"new-{number}", first, init_from=str(tmp_path / name))
        with pytest.raises(ConsentError, match=r"base learned from somebody who was taken down, first at step 1 \("):
            again.train()
        assert not checkpoint.saved_steps(again.store)
    longer = trainer(second, tmp_path / "tuned", first, config=replace(SHORT, steps=4))
    with pytest.raises(ConsentError, match="base learned from somebody who was taken down"):
        longer.train()
    for name in ("third", "tuned.safetensors"):
        words = ["takedown", "checkpoints", str(tmp_path / name), "--corpus", first.root]
        assert main(words) == UNUSABLE, "its own run is of another corpus"
    capsys.readouterr()
    words = ["takedown", "checkpoints", str(tmp_path / "third"), "--corpus", second.root]
    assert main(words) == DONE
    assert "base: it learned from another corpus or release: ask about that too" in capsys.readouterr().out


def test_what_began_with_them_is_blocked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Within one corpus: a run on the release without them, from weights of the one with them."""
    corpus = corpus_of(tmp_path / "corpus", "a", "b")
    trainer(corpus, tmp_path / "base", config=replace(SHORT, steps=6)).train()
    trainer(corpus, tmp_path / "tuned", init_from=str(tmp_path / "base"), config=replace(SHORT, steps=1)).train()
    take_down(corpus, "a")
    words = ["takedown", "checkpoints", str(tmp_path / "tuned"), "--corpus", corpus.root, "--block"]
    assert main(words) == WRONG
    assert "of which the weights began with" in capsys.readouterr().out and (tmp_path / "tuned" / "blocked.json").exists()


def test_who_cannot_be_asked_about_is_told_or_refused(tmp_path: Path) -> None:
    first, second = corpus_of(tmp_path / "first", "a"), corpus_of(tmp_path / "second", "b")
    shutil.copytree(first.root, tmp_path / "copy")
    trainer(first, tmp_path / "base").train()
    messages: list[str] = []
    trainer(second, tmp_path / "new", init_from=str(tmp_path / "base"), messages=messages).train()
    assert len(messages) == 1 and "base learned from somebody who was taken down since is not known" in messages[0]
    assert first.root in messages[0], "it names the corpus to ask"

    take_down(first, "a")
    first.delete(["releases/000001.json"])  # as a purge does
    with pytest.raises(ConsentError, match="whether it learned from them cannot be told"):
        trainer(second, tmp_path / "later", first, init_from=str(tmp_path / "base")).train()
    copy = Store(str(tmp_path / "copy"))
    with pytest.raises(ConsentError, match="base learned from somebody who was taken down, first at step 1"):
        trainer(second, tmp_path / "later", first, copy, init_from=str(tmp_path / "base")).train()

    take_down(copy, "x")
    trainer(copy, tmp_path / "seen").train()
    copy.delete(["tombstones/000001.json"])
    with pytest.raises(LedgerError, match=r"has 0 tombstones, and .*seen saw 1: the newest were taken away"):
        trainer(second, tmp_path / "later", copy, init_from=str(tmp_path / "seen")).train()


@pytest.mark.parametrize("purged", [False, True])
def test_a_run_stops_when_somebody_is_taken_down_meanwhile(tmp_path: Path, purged: bool) -> None:
    """A purge does not take the shards away from it: it has them open. What is taken down of others does not stop it."""
    corpus = corpus_of(tmp_path / "corpus", "a", "b")
    steps: list[int] = []
    watch = TakedownWatch(corpus, 1, read_feeds(corpus))

    def meanwhile() -> None:
        steps.append(len(steps) + 1)
        take_down(corpus, "a" if len(steps) == 3 else "somebody else")
        if purged and len(steps) == 3:
            corpus.delete(["releases/000001.json"])
        watch()

    run = trainer(corpus, tmp_path / "run", config=replace(SHORT, steps=9, save_every=1), watch=meanwhile)
    with pytest.raises(ConsentError, match="was deleted while it was read" if purged else "has a, taken down by"):
        run.train()
    assert steps == [1, 2, 3] and max(checkpoint.saved_steps(run.store)) == 3
