"""`export`: every model's networks, out of a checkpoint, compute what they compute in it."""

import json
import re
import runpy
from pathlib import Path

import pytest
import torch
import yaml

from lightning_gen import __version__
from lightning_gen.cli import main
from lightning_gen.cli.catalogue import read_catalogue
from lightning_gen.cli.checkpoints import load_model
from lightning_gen.cli.classes import arguments_of
from lightning_gen.export import ROOMS, load_network
from lightning_gen.nn import roles
from lightning_gen.nn.code_prior import CodePrior
from tests.runs import CONFIGS, small
from tests.test_configs import shrunk

ROOT = Path(__file__).parents[2]
CHECKPOINT = Path("checkpoints") / "last.ckpt"
FORMULAS = ("uniform", "independent", "gaussian")  # models without a network


def trained(config: str, folder: Path, *options: str) -> Path:
    """The checkpoint of three steps on fake images."""
    source = next(path for path in CONFIGS if path.stem == config)
    path = shrunk(source, folder / "config.yaml")
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "model": small(content["model"])}))
    arguments = [f"--config={path}", f"--run_dir={folder / 'run'}", "--trackers=[]", "--debug"]
    arguments += ["--allow-any-class", "--trainer.max_steps=3"]  # the random images are a test's
    assert main(["fit", *arguments, *options]) == 0
    return folder / "run" / CHECKPOINT


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A DCGAN, which keeps averages."""
    return trained("dcgan", tmp_path_factory.mktemp("dcgan"))


def inputs_of(network: torch.nn.Module, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """What a network takes, by its role."""
    own = getattr(network, "shape", None)  # that of parts of images is not the model's
    shape = own if own and None not in own else shape
    if isinstance(network, CodePrior):
        return [torch.randn(5, network.latent_size), torch.randn(5, network.below_size)]
    if isinstance(network, roles.PosteriorFlow):
        return [torch.randn(5, 2, network.latent_size), torch.randn(5, network.context_size)]
    if isinstance(network, roles.Generator | roles.Decoder | roles.UpperCodes):
        inputs = [torch.randn(5, network.latent_size)]
    else:
        inputs = [torch.rand(5, *shape) * 2 - 1]
    if isinstance(network, roles.OrderlessNetwork):
        return [*inputs, torch.rand(5, *shape) < 0.5]
    if isinstance(network, roles.OrderedNetwork):
        return [*inputs, 1]
    if isinstance(network, roles.UpsamplingNetwork):
        return [*inputs, 0, 2]
    if isinstance(network, roles.PixelNetwork) and network.context is not None:
        return [*inputs, torch.randn(5, network.context, *shape[1:])]
    labelled = getattr(network, "num_classes", None)
    return [*inputs, torch.arange(5) % network.num_classes] if labelled else inputs


def outputs(network: torch.nn.Module, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    along = getattr(network, "along", None)  # of networks that know orders only
    call = along if type(network).forward is torch.nn.Module.forward else network
    with torch.inference_mode():
        result = call(*inputs)
    return result if isinstance(result, tuple) else (result,)


ROWS = [row for row in read_catalogue() if Path(row["config"]).stem not in FORMULAS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_every_network_of_every_model_computes_what_it_does_in_the_model(row, tmp_path):
    checkpoint = trained(Path(row["config"]).stem, tmp_path)
    model = load_model(checkpoint)
    given = arguments_of(type(model))  # what a model makes for itself is not exported
    networks = [name for name, child in model.named_children() if name in given and has_role(child)]
    assert networks
    for weights in ("averaged", "last"):
        output = tmp_path / weights
        options = [f"--output={output}", f"--weights={weights}"]
        assert main(["export", f"--checkpoint={checkpoint}", *options]) == 0
        assert sorted(p.stem for p in output.glob("*.safetensors")) == sorted(networks)
        for name in networks:
            inside = model.averaged(name) if weights == "averaged" else getattr(model, name)
            alone = load_network(output / f"{name}.safetensors")
            inputs = inputs_of(alone, model.shape)
            for a, b in zip(outputs(inside, inputs), outputs(alone, inputs), strict=True):
                assert torch.equal(a, b), (weights, name)
            check_description(output / f"{name}.json", row, model, name)


def has_role(child: torch.nn.Module) -> bool:
    return type(child).__module__.startswith(ROOMS)


def check_description(path: Path, row: dict[str, object], model: torch.nn.Module, name: str):
    said = json.loads(path.read_text())
    network = getattr(model, name)
    assert said["class_path"].endswith(f".{type(network).__name__}")
    assert said["model"]["class_path"] == row["class_path"]
    rows = [r for r in read_catalogue() if r["class_path"] == row["class_path"]]
    (known,) = [r for r in rows if r["status"] != "config"] or [{}]  # a config's paper is not its
    assert said["model"]["name"] == known.get("name")
    assert said["model"]["paper"] == known.get("paper")
    kept = path.parent.name == "averaged" and name in model.averages
    assert said["weights"] == ("averaged" if kept else "last")
    assert (said["network"], said["step"], said["images_seen"]) == (name, 3, model.images_seen)
    assert said["shape"] == list(model.shape) and said["pixel_range"] == [-1, 1]
    assert said["versions"]["lightning_gen"] == __version__
    assert said["maps"].startswith("Maps ")
    assert ("latent" in said) == hasattr(network, "latent_size")
    assert ("likelihood" in said) == isinstance(network, roles.Decoder)


def test_an_exported_generator_makes_the_samples_of_its_model(checkpoint, tmp_path):
    arguments = ["export", f"--checkpoint={checkpoint}", "--network=generator"]
    assert main([*arguments, f"--output={tmp_path}"]) == 0
    assert main([*arguments, f"--output={tmp_path / 'raw'}", "--weights=last"]) == 0
    model, z = load_model(checkpoint), torch.randn(9, 64)
    averaged, raw = (
        load_network(folder / "generator.safetensors") for folder in (tmp_path, tmp_path / "raw")
    )
    assert torch.equal(averaged(z), model.decode(z))
    assert torch.equal(raw(z), model.generator(z))
    assert not torch.equal(averaged(z), raw(z))
    assert [p.name for p in tmp_path.glob("disc*")] == []


def test_the_lines_of_the_docs_make_images(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "exporting.md").read_text(), re.DOTALL
    )
    assert main(["export", f"--checkpoint={checkpoint}"]) == 0
    Path("use.py").write_text(lines)
    images = runpy.run_path("use.py")["images"]
    assert images.shape == (64, 1, 28, 28) and images.abs().max() <= 1


def test_latents_are_said_as_the_model_draws_them(tmp_path):
    checkpoint = trained("dcgan", tmp_path, "--model.prior=uniform")
    assert main(["export", f"--checkpoint={checkpoint}", f"--output={tmp_path}"]) == 0
    said = json.loads((tmp_path / "generator.json").read_text())
    assert said["latent"] == {"size": 64, "distribution": "U(-1, 1)"}
    assert "latent" not in json.loads((tmp_path / "discriminator.json").read_text())


def test_the_networks_of_a_vae_are_its_capabilities(tmp_path):
    checkpoint = trained("vae", tmp_path, "--model.ema_half_life=100")
    arguments = ["export", f"--checkpoint={checkpoint}", f"--output={tmp_path}"]
    assert main([*arguments, "--network=encoder, decoder"]) == 0
    model, x, z = load_model(checkpoint), torch.rand(4, 1, 28, 28) * 2 - 1, torch.randn(4, 16)
    encoder, decoder = (load_network(tmp_path / f"{n}.safetensors") for n in ("encoder", "decoder"))
    assert torch.equal(encoder(x)[0], model.encode(x))
    assert torch.equal(decoder(z)[:, 0].clamp(-1, 1), model.decode(z))
    said = json.loads((tmp_path / "decoder.json").read_text())
    assert (said["likelihood"], said["weights"]) == ("DiscretizedLogistic", "averaged")


BAD = {
    "wrong network": (["--network=genrator"], "GAN has no network genrator; did you mean generator?"),
    "no such network": (["--network=vocoder,generator"], "there are discriminator, generator"),
    "no name": (["--network=generator,"], "there are discriminator, generator"),
    "no checkpoint": (["--checkpoint=nosuch.ckpt"], "there is no checkpoint nosuch.ckpt"),
    "a folder": (["--checkpoint=."], "there is no checkpoint"),
    "another file": ([f"--checkpoint={ROOT / 'run.py'}"], "run.py is not a"),
    "a folder that is a file": (["--output=file"], "the folder file cannot be made: File exists"),
    "a folder in a file": (["--output=file/x"], "the folder file/x cannot be made: Not a directory"),
    "wrong weights": (["--weights=best"], "see `run.py export --help`"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_ends_in_one_sentence_and_leaves_nothing(
    case, checkpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    options, words = BAD[case]
    assert main(["export", f"--checkpoint={checkpoint}", "--output=made", *options]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert len(errors[0]) < 300
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_model_without_networks_exports_nothing(name, tmp_path, capsys):
    checkpoint = trained(name, tmp_path)
    arguments = ["export", f"--checkpoint={checkpoint}", f"--output={tmp_path / 'made'}"]
    assert main(arguments) == 2
    assert "Model has no network that could be exported" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("damage", ["half", "keys"])
def test_a_damaged_checkpoint_is_refused(damage, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if damage == "half":
        whole = checkpoint.read_bytes()
        Path("bad.ckpt").write_bytes(whole[: len(whole) // 2])
    else:
        content = torch.load(checkpoint, weights_only=True)
        content["state_dict"]["generator.extra"] = torch.zeros(1)
        torch.save(content, "bad.ckpt")
    assert main(["export", "--checkpoint=bad.ckpt"]) == 2
    words = {"half": "damaged", "keys": "do not fit the configured networks"}
    assert words[damage] in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["bad.ckpt"]
