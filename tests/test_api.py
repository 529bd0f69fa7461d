"""The public names of `voxbeam`, and the examples of docs/api.md."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile as sf

import voxbeam
from voxbeam import assets
from voxbeam.models.phones import load_phone_set
from voxbeam.synthesis.prompt import Prompt
from voxbeam.trainer.training import Trainer

from tests.safety.ledgers import allow_prompts
from tests.trainer.factories import CONFIG, fake_steps

DOCS = Path(__file__).parents[1] / "docs" / "api.md"


def test_importing_voxbeam_is_light() -> None:
    program = (
        "import sys, voxbeam; dir(voxbeam); voxbeam.__version__; "
        "print([name for name in ('apache_beam', 'torch', 'pyarrow', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert set(voxbeam.__all__) <= set(dir(voxbeam))
    for name in voxbeam.__all__:
        assert getattr(voxbeam, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        voxbeam.biuld  # noqa: B018


@pytest.mark.build
def test_the_examples_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one namespace, next to a folder `speech`, a prompt that its speaker allowed, and a run of one step."""
    shutil.copytree(assets.DEMO / "kennedy", tmp_path / "speech")
    audio, rate = sf.read(next((tmp_path / "speech").rglob("*.flac")))
    sf.write(tmp_path / "prompt.wav", audio, rate)
    allow_prompts([Prompt.read(tmp_path / "prompt.wav").wave_S])
    config = replace(CONFIG, codebook_size=1024, steps=1, warmup_steps=1)
    Trainer(config, load_phone_set("en-us").phones, fake_steps, None, str(tmp_path / "runs" / "valle")).train()
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(examples) > 5
    namespace: dict[str, object] = {}
    for example in examples:
        exec(compile(example, str(DOCS), "exec"), namespace)
