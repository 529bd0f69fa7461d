"""Pipelines and checkpoints that name code: none of it runs, and the error says what to do."""

import os
from pathlib import Path

import pytest
import torch
import yaml
from pyannote.audio.core.model import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications

from voxbeam.models import pyannote_models
from voxbeam.models.pyannote_models import load_pipeline, load_segmentation
from voxbeam.schemas.config import DiarizeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.transforms.diarize import load_diarizer


class Touch:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def checkpoint(**changed):
    """A checkpoint as pyannote writes it, of the embedded segmentation model."""
    return {
        "state_dict": load_segmentation().state_dict(),
        "hyper_parameters": {"sincnet": {"stride": 10}, "lstm": {"num_layers": 4, "dropout": 0.5}},
        "pytorch-lightning_version": "2.5.0",
        "pyannote.audio": {
            "versions": {"torch": torch.__version__, "pyannote.audio": "4.0.0"},
            "architecture": {"module": "pyannote.audio.models.segmentation.PyanNet", "class": "PyanNet"},
            "specifications": Specifications(
                problem=Problem.MONO_LABEL_CLASSIFICATION,
                resolution=Resolution.FRAME,
                duration=10.0,
                classes=["a", "b", "c"],
                powerset_max_classes=2,
                permutation_invariant=True,
            ),
        },
    } | changed


def test_a_checkpoint_of_pyannote_loads(tmp_path):
    torch.save(checkpoint(), tmp_path / "model.bin")
    pyannote_models.restrict()
    model = Model.from_pretrained(tmp_path / "model.bin")
    for name, value in load_segmentation().state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.parametrize(
    "name", ["os.system", "code.touch", "subprocess.Popen", "pyannote.audio.pipelines.speaker_diarization.functools", 7, "x"]
)
def test_a_configuration_imports_no_other_class(tmp_path, monkeypatch, name):
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef touch(**k): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"pipeline": {"name": name, "params": {}}}))
    with pytest.raises(ModelError, match=r"asks to import.*could run any code.*name pyannote.audio.pipelines.SpeakerDiarization"):
        load_diarizer(DiarizeConfig(pipeline=str(tmp_path / "config.yaml")))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("where", ["segmentation", "embedding"])
@pytest.mark.parametrize(
    "changed",
    [
        lambda ran: {"callbacks": Touch(ran)},
        lambda ran: {"hyper_parameters": {"_instantiator": "os.system"}},
        lambda ran: {
            "pyannote.audio": {"versions": {"pyannote.audio": "4.0.0"}, "architecture": {"module": "code", "class": "touch"}}
        },
    ],
    ids=["pickle", "instantiator", "architecture"],
)
def test_a_hostile_checkpoint_runs_nothing(tmp_path, monkeypatch, where, changed):
    ran = tmp_path / "ran"
    (tmp_path / "code.py").write_text(f"open({str(ran)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    torch.save(checkpoint(), tmp_path / "good.bin")
    torch.save(checkpoint(**changed(ran)), tmp_path / "bad.bin")
    models = {"segmentation": str(tmp_path / "good.bin"), "embedding": str(tmp_path / "good.bin")}
    models[where] = str(tmp_path / "bad.bin")
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "pipeline": {
                    "name": "pyannote.audio.pipelines.SpeakerDiarization",
                    "params": {**models, "plda": None, "clustering": "AgglomerativeClustering"},
                }
            }
        )
    )
    monkeypatch.setattr("pyannote.audio.pipelines.speaker_diarization.get_plda", lambda *_, **__: None)
    with pytest.raises(ModelError, match="checkpoint"):
        load_diarizer(DiarizeConfig(pipeline=str(tmp_path)))
    assert not ran.exists()


@pytest.mark.parametrize("model", ["speechbrain/spkrec-ecapa-voxceleb", "nvidia/titanet"])
def test_embedding_models_with_code_in_their_configuration_are_refused(tmp_path, monkeypatch, model):
    torch.save(checkpoint(), tmp_path / "good.bin")
    params = {"segmentation": str(tmp_path / "good.bin"), "embedding": model, "clustering": "AgglomerativeClustering"}
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"pipeline": {"name": "pyannote.audio.pipelines.SpeakerDiarization", "params": params}})
    )
    monkeypatch.setattr("pyannote.audio.pipelines.speaker_diarization.get_plda", lambda *_, **__: None)
    with pytest.raises(ModelError, match="can run code"):
        load_pipeline(str(tmp_path))


def test_preprocessors_are_refused(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "pipeline:\n  name: voxbeam.models.pyannote_models.StockPipeline\n  params: {step: 0.3, batch: 8}\n"
        "preprocessors: {audio: /etc/passwd}\n"
    )
    with pytest.raises(ModelError, match="preprocessors"):
        load_pipeline(str(tmp_path))
