"""A trained model as one file, and a run that begins with it; settings from YAML."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.models import checkpoint
from voxbeam.models.load_valle import export_models, load_models
from voxbeam.schemas.errors import CheckpointError, ConfigError
from voxbeam.trainer.configs import CONFIGS, load_config
from voxbeam.trainer.training import Trainer

from tests.servers.hub import hub
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


def test_a_model_is_pushed_with_its_card(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """To a hub on this machine: a private repository with the weights, and a card that names the licence."""
    card = tmp_path / "card.md"
    words = ["export", str(run), "--push", "me/voice", "--card", str(card)]
    card.write_text("A voice.")
    assert main(words) == UNUSABLE and "would know no licence" in capsys.readouterr().err
    card.write_text("---\nlanguage: en\n---\nA voice.")
    assert main(words) == UNUSABLE and "names no license" in capsys.readouterr().err
    assert main(words[:-2]) == UNUSABLE and "--push needs --card" in capsys.readouterr().err
    card.write_text("---\nlicense: cc-by-4.0\n---\nA voice.\n")
    with hub("secret") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", "wrong")
        assert main(words) == UNUSABLE and "was not pushed to the Hub" in capsys.readouterr().err and not server.files
        monkeypatch.setenv("HF_TOKEN", "secret")
        assert main(words) == DONE
        assert f"Pushed: {server.address}/me/voice/commit/" in capsys.readouterr().out
    assert server.created[-1]["visibility"] == "private" and "step" in server.summary
    assert server.files.keys() == {"voice.safetensors", "README.md"}
    told = server.files["README.md"].decode()
    assert told.startswith("---\nlicense: cc-by-4.0\n---\nA voice.") and "AR: 2 layers, d = 32" in told
    (tmp_path / "pulled.safetensors").write_bytes(server.files["voice.safetensors"])
    assert load_models(str(tmp_path / "pulled.safetensors"))[2] == MODEL


ADAPTED = replace(SHORT, steps=6, validate_every=6, save_every=3, lora_rank=4, lora_alpha=8.0)


def adapted(folder: Path, run: Path, **changes: object) -> Trainer:
    return Trainer(replace(ADAPTED, **changes), PHONES, fake_steps, fake_steps, str(folder), init_from=str(run))


def test_adapters_change_few_weights_and_are_merged(run: Path, tmp_path: Path) -> None:
    """Only the linear layers of blocks change, by a matrix of the rank; the run is read, and exported, as any other."""
    trainer = adapted(tmp_path / "run", run)
    trainer.train()
    begun, ended = (dict(load_models(str(place))[0].named_parameters()) for place in (run, tmp_path / "run"))
    export_models(str(tmp_path / "run"), tmp_path / "voice.safetensors")
    exported = dict(load_models(str(tmp_path / "voice.safetensors"))[0].named_parameters())
    ar = trainer.states[0]
    assert sum(value.numel() for value in ar.parameters.values()) < 0.35 * sum(value.numel() for value in begun.values())
    for name, value in begun.items():
        change = ended[name] - value
        if name.endswith(("qkv_proj.weight", "out_proj.weight", "up_proj.weight", "down_proj.weight")):
            assert 0 < torch.linalg.matrix_rank(change.detach(), atol=1e-6) <= 4, name
        else:
            assert not change.any(), name
        assert torch.equal(exported[name], ended[name].bfloat16().float())
    batch = next(fake_steps(0))[0][0]
    plain, _, _ = load_models(str(tmp_path / "run"))
    with ar.averaged(), torch.no_grad():
        ours, merged = ar.evaluate(batch)[0].loss, plain(batch, after_prompt=True).loss
    assert torch.allclose(ours, merged, rtol=1e-5)


def test_a_run_with_adapters_goes_on_exactly(run: Path, tmp_path: Path) -> None:
    """Stopped after three steps: the same tensors as without the stop; with another rank it is another run."""
    adapted(tmp_path / "whole", run).train()
    stopped = adapted(tmp_path / "stopped", run)
    source = stopped.train_source

    def three(state: int):
        for number, step in enumerate(source(state)):
            stopped.stopping = number == 3
            yield step

    stopped.train_source = three
    assert stopped.train().step == 3
    assert adapted(tmp_path / "stopped", run).train().step == 6
    ours, theirs = (checkpoint.read(checkpoint.checkpoint_store(str(tmp_path / name))) for name in ("whole", "stopped"))
    assert (
        ours.tensors.keys() == theirs.tensors.keys() and "ar/adapter_moment1/transformer.layers.0.up_proj.lora_up" in ours.tensors
    )
    for name, value in ours.tensors.items():
        assert torch.equal(value, theirs.tensors[name]), name
    with pytest.raises(CheckpointError, match="lora_rank was 4 and is 2"):
        adapted(tmp_path / "stopped", run, lora_rank=2).train()
    with pytest.raises(CheckpointError, match="lora_rank was 4 and is 0"):
        adapted(tmp_path / "stopped", run, lora_rank=0).train()


def test_adapters_need_a_model_to_correct(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--init-from RUN"):
        Trainer(ADAPTED, PHONES, fake_steps, None, str(tmp_path)).train()
    with pytest.raises(ConfigError, match="lora_rank"):
        replace(ADAPTED, lora_rank=-1)


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
