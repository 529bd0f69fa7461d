"""A trained model as one file, and a run that begins with it; settings from YAML."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.models.load_valle import load_models
from voxbeam.schemas.errors import CheckpointError, ConfigError
from voxbeam.trainer.configs import CONFIGS, load_config
from voxbeam.trainer.training import Trainer

from tests.trainer.factories import CONFIG, MODEL, PHONES, fake_steps, make_trainer

SHORT = replace(CONFIG, steps=4, warmup_steps=1, validate_every=2, save_every=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_trainer(str(folder), SHORT).train()
    return folder


def begun(folder: Path, init_from: Path, **changes: object) -> Trainer:
    arguments = {"phones": PHONES, "config": replace(SHORT, steps=1)} | changes
    return Trainer(arguments["config"], arguments["phones"], fake_steps, None, str(folder), init_from=str(init_from))


def test_an_exported_file_is_the_model(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "voice.safetensors"
    (tmp_path / "card.md").write_text("From random codes.")
    assert main(["export", str(run), "--out", str(out), "--card", str(tmp_path / "card.md")]) == DONE
    assert "weights of step" in capsys.readouterr().out
    ar, nar, config = load_models(str(out))
    assert config == MODEL
    for ours, theirs in zip((ar, nar), load_models(str(run))[:2], strict=True):
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value.bfloat16().float()), name
    assert main(["export", str(run), "--out", str(tmp_path / "voice.bin")]) == UNUSABLE
    with pytest.raises(CheckpointError, match=r"there is no .*missing\.safetensors; name a file"):
        load_models(str(tmp_path / "missing.safetensors"))


@pytest.mark.parametrize("exported", [False, True])
def test_a_run_begins_with_another(run: Path, tmp_path: Path, exported: bool) -> None:
    source = run
    if exported:
        source = tmp_path / "voice.safetensors"
        main(["export", str(run), "--out", str(source)])
    trainer = begun(tmp_path / "new", source)
    trainer.start_from(str(source))
    ar, nar, _ = load_models(str(source))
    for state, model in zip(trainer.states, (ar, nar), strict=True):
        for name, value in model.state_dict().items():
            assert torch.equal(state.parameters[name], value) and torch.equal(state.average[name], value)
    assert trainer.train().step == 1


def test_a_run_of_other_sizes_or_phones_is_no_beginning(run: Path, tmp_path: Path) -> None:
    smaller = replace(SHORT, steps=1, transformer=replace(SHORT.transformer, d_ff=32))
    with pytest.raises(CheckpointError, match=r"other sizes: transformer.layers.0.up_proj.weight has the shape \[64, 32\]"):
        begun(tmp_path, run, config=smaller).train()
    with pytest.raises(CheckpointError, match="other phones than this corpus"):
        begun(tmp_path, run, phones=[*PHONES[:-1], "q"]).train()


def test_settings_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("preset: small_cpu\nsteps: 700\nlearning_rate: 1\nbetas: [0.8, 0.9]\ntransformer: {n_layers: 2}\n")
    small = CONFIGS["small_cpu"]()
    assert load_config(str(path)) == replace(
        small, steps=700, learning_rate=1.0, betas=(0.8, 0.9), transformer=replace(small.transformer, n_layers=2)
    )
    assert load_config("small_cpu") == small


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stepz: 3", "no setting 'stepz'"),
        ("transformer: {layers: 3}", "no setting 'layers'"),
        ("steps: many", "steps is 'many', and must be like 1000"),
        ("preset: huge", "no preset 'huge'"),
        ("[1, 2]", "not a mapping"),
        ("a: &b 1", "anchors and aliases"),
        ("log_every: 0", "log_every is 0, and must be at least 1"),
    ],
)
def test_a_wrong_yaml_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=rf"my\.yaml: .*{message}"):
        load_config(str(path))


@pytest.mark.parametrize("setting", ["log_every=0", "save_every=0", "validate_batches=0", "batch_frames=0", "prompt_fraction=2"])
def test_a_setting_out_of_range_is_named(setting: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", str(tmp_path), "--out", str(tmp_path / "run"), "--set", setting]) == UNUSABLE
    assert f"error: {setting.partition('=')[0]} is" in capsys.readouterr().err
