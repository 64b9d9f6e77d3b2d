"""Exported networks come back bit for bit, without Lightning, and run no code but ours."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lightning_gen.export import load_network, save_network
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.networks.dcgan import DCGANGenerator
from lightning_gen.networks.encoders import ConvEncoder
from lightning_gen.nn import Average

ROOT = Path(__file__).parents[1]
HEAVY = ("pytorch_lightning", "lightning_fabric", "jsonargparse", "torchmetrics", "torchvision")
DCGAN = {
    "class_path": "lightning_gen.networks.dcgan.DCGANGenerator",
    "init_args": {"size": 8, "channels": 1, "latent_size": 5, "width": 4},
}
ENCODER = {
    "class_path": "lightning_gen.networks.encoders.ConvEncoder",
    "init_args": {"shape": (1, 8, 8), "latent_size": 3, "widths": [2, 4], "hidden": 6},
}
PIXELS = {
    "class_path": "lightning_gen.networks.causal.GatedCausalStack",
    "init_args": {"levels": 3, "width": 4, "depth": 1, "head": 4, "num_classes": 2},
}
SCRIPT = """
import sys
from lightning_gen.export import load_network
import torch
torch.manual_seed(3)
network = load_network(sys.argv[1])
print(network(torch.randn(4, network.latent_size)).double().sum().item())
print([name for name in {heavy} if sys.modules.get(name)])
"""


def generator() -> DCGANGenerator:
    """A generator whose running statistics are not those that it began with."""
    network = DCGANGenerator(**DCGAN["init_args"])
    network(torch.randn(16, 5))
    return network.eval()


@pytest.fixture
def path(tmp_path) -> Path:
    """An exported generator."""
    save_network(generator(), tmp_path / "generator.safetensors", DCGAN, {"step": 7})
    return tmp_path / "generator.safetensors"


def rewrite(path: Path, **changes: object) -> None:
    """Changes the description of an export."""
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps({**json.loads(beside.read_text()), **changes}))


@pytest.mark.parametrize(
    ("cls", "config", "inputs"),
    [
        (DCGANGenerator, DCGAN, [torch.randn(3, 5)]),
        (ConvEncoder, ENCODER, [torch.randn(3, 1, 8, 8)]),
        (GatedCausalStack, PIXELS, [torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 1])]),
    ],
    ids=["generator", "encoder", "pixels"],
)
def test_a_network_comes_back_bit_for_bit_in_evaluation_mode(cls, config, inputs, tmp_path):
    network = cls(**config["init_args"])
    network(*inputs)
    save_network(network, tmp_path / "n.safetensors", config, {})
    again = load_network(tmp_path / "n.safetensors")
    assert type(again) is cls and not any(module.training for module in again.modules())
    outputs = (n(*inputs) for n in (network.eval(), again))
    for a, b in zip(*(o if isinstance(o, tuple) else (o,) for o in outputs), strict=True):
        assert torch.equal(a, b)


def test_a_network_inside_a_network_comes_back_too(tmp_path):
    config = {"class_path": "lightning_gen.nn.ema.Average", "init_args": {"network": DCGAN}}
    average = Average(generator())
    save_network(average, tmp_path / "n.safetensors", config, {})
    z = torch.randn(2, 5)
    again = load_network(tmp_path / "n.safetensors")
    assert torch.equal(average.network(z), again.network(z))


def test_other_memory_formats_and_shared_weights_are_no_matter(tmp_path):
    network = generator().to(memory_format=torch.channels_last)
    network.layers[2].bias = network.layers[2].weight
    save_network(network, tmp_path / "n.safetensors", DCGAN, {})
    again = load_network(tmp_path / "n.safetensors")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_the_same_network_is_the_same_bytes(tmp_path):
    network = generator()
    for name in ("a", "b"):
        save_network(network, tmp_path / name / "g.safetensors", DCGAN, {"step": 7})
    for name in ("g.safetensors", "g.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("blocked", [False, True])
def test_loading_needs_no_lightning(path, blocked):
    block = "import sys\nfor name in {heavy}:\n    sys.modules[name] = None\n" if blocked else ""
    script = (block + SCRIPT).format(heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    network = load_network(path)
    torch.manual_seed(3)  # there, before loading, which leaves torch's random state as it was
    total = network(torch.randn(4, 5)).double().sum().item()
    assert done.stdout.splitlines() == [str(total), "[]"]


FOREIGN = (
    "os.system",
    "evil.Thing",
    "torch.nn.Linear",
    "lightning_gen.models.gans.GAN",
    "lightning_gen.networksevil.Thing",
    "lightning_gen.nn.ema.deepcopy",
    "lightning_gen.nn.norm.Norm",
    "lightning_gen.nn..evil.Thing",
    "lightning_gen.nn.init.nn",
    7,
    None,
)


@pytest.mark.parametrize("place", FOREIGN)
@pytest.mark.parametrize("nested", [False, True])
def test_a_description_cannot_name_code_to_run(place, nested, path, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("open('ran', 'w')\nThing = print")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    foreign = {"class_path": place, "init_args": {}}
    inner = {**DCGAN["init_args"], "norm": [{"deep": foreign}]}
    rewrite(path, **({"init_args": inner} if nested else {"class_path": place}))
    with pytest.raises(ValueError, match="which is not a network of lightning_gen"):
        load_network(path)
    assert not (tmp_path / "ran").exists() and "evil" not in sys.modules


@pytest.mark.parametrize(
    "place",
    [
        "lightning_gen.networks.nosuch.Generator",
        "lightning_gen.networks.dcgan.Nosuch",
        "lightning_gen.networks.dcgan.nn.Conv2d",
    ],
)
def test_a_class_that_is_not_there_is_said(place, path):
    rewrite(path, class_path=place)
    with pytest.raises(ValueError, match="which this version of lightning_gen does not have"):
        load_network(path)


def test_an_abstract_class_or_wrong_arguments_are_said(path):
    for arguments in ({"nosuch": 3}, {"size": 9}, {"size": 8, "latent_size": "a"}, [1], "size", 7):
        rewrite(path, init_args=arguments)
        with pytest.raises(ValueError, match="arguments that DCGANGenerator does not take"):
            load_network(path)
    rewrite(path, class_path="lightning_gen.nn.roles.Generator", init_args={})
    with pytest.raises(ValueError, match="arguments that Generator does not take"):
        load_network(path)


@pytest.mark.parametrize("where", [0, 8, 100, -1])
def test_one_changed_byte_is_noticed(where, path):
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged, or generator.json is of another export"):
        load_network(path)


def test_a_file_of_another_kind_with_its_own_digest_is_refused(path):
    path.write_bytes(b"no tensors")
    rewrite(path, sha256=sha256(b"no tensors").hexdigest())
    with pytest.raises(ValueError, match="is not a file of safetensors"):
        load_network(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"class_path": 1}', "\x80", "[" * 100_000])
def test_a_damaged_description_is_refused(text, path):
    path.with_suffix(".json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"generator.json (is damaged|does not describe)"):
        load_network(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match="there is no exported network nosuch.safetensors"):
        load_network("nosuch.safetensors")
    with pytest.raises(ValueError, match=r"ends in .safetensors, got .*generator.json"):
        load_network(path.with_suffix(".json"))
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match="needs generator.json beside it"):
        load_network(path)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "type"])
def test_weights_that_do_not_fit_are_refused(change, path):
    tensors = load_file(path)
    name = "layers.1.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unexpected":
        name = "extra"
        tensors["extra"] = torch.zeros(1)
    else:
        tensors[name] = tensors[name].double() if change == "type" else tensors[name][1:].clone()
    save_file(tensors, path)
    rewrite(path, sha256=sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match=f"do not fit DCGANGenerator: {name} is "):
        load_network(path)


def test_nothing_is_written_that_would_not_come_back(tmp_path):
    """Another width, double precision, or a class that is not ours."""
    network, target = generator(), tmp_path / "g.safetensors"
    wider = {**DCGAN, "init_args": {**DCGAN["init_args"], "width": 8}}
    foreign = {"class_path": "torch.nn.Identity"}
    cases = [(network, wider), (generator().double(), DCGAN), (torch.nn.Identity(), foreign)]
    for case, config in cases:
        with pytest.raises(ValueError, match=r"do not fit|not a network of lightning_gen"):
            save_network(case, target, config, {})
    with pytest.raises(ValueError, match="ends in .safetensors"):
        save_network(network, tmp_path / "g.pt", DCGAN, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at", [1, 2])
def test_an_export_that_was_cut_short_is_refused_and_can_be_made_again(at, path, monkeypatch):
    """A process that dies at the first of two moves leaves the old export, at the second neither."""
    moves, move, z, old = [], os.replace, torch.randn(2, 5), load_network(path)

    def die(source, target):
        moves.append(target)
        if len(moves) == at:
            raise OSError("no space left")
        move(source, target)

    new = generator()
    with monkeypatch.context() as context:
        context.setattr(os, "replace", die)
        with pytest.raises(OSError, match="no space left"):
            save_network(new, path, DCGAN, {})
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".json", ".safetensors"]
    if at == 1:
        assert torch.equal(load_network(path)(z), old(z))
    else:
        with pytest.raises(ValueError, match="their sha256 differ"):
            load_network(path)
    save_network(new, path, DCGAN, {})
    assert torch.equal(load_network(path)(z), new(z))
