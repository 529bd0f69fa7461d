"""A corpus on a real Azure Blob server: built from it, into it, verified there, and streamed to a trainer."""

from pathlib import Path

import numpy as np
import pytest

from voxbeam.commands.exit_status import DONE
from voxbeam.storage.store import Store, _open
from voxbeam.trainer.data.stream import Stream

from tests.pipeline.test_bucket import voxbeam
from tests.pipeline.test_build import copy_speakers, run_build
from tests.servers.azure import azure_server

pytestmark = [pytest.mark.az, pytest.mark.build]


def test_from_azure_to_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = copy_speakers(tmp_path / "in", "kennedy")
    run_build(source, tmp_path / "out")
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    with azure_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        for file in filter(Path.is_file, source.rglob("*")):
            Store("az://corpora/speech").put_file(str(file.relative_to(source)), file)
        arguments = ("--input", "az://corpora/speech", "--output", "az://corpora/corpus", "--direct_num_workers=1")
        status, printed = voxbeam("build", *arguments, environment=environment)
        assert status == DONE, printed
        status, printed = voxbeam("verify", "--output", "az://corpora/corpus", environment=environment)
        assert status == DONE, printed
        shards = {path for path, _ in Store("az://corpora/corpus").walk("shards/")}
        assert shards == {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.tar")} != set()
        [split] = {path.split("/")[1] for path in shards}
        [ours], [theirs] = (
            Stream(uri, split=split).read(np.array([0])) for uri in ("az://corpora/corpus", str(tmp_path / "out"))
        )
        assert ours.key == theirs.key and np.array_equal(ours.codes_KT, theirs.codes_KT)
    _open.cache_clear()
