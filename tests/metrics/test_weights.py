import pytest
import torch
from safetensors.torch import save_file

from lightning_gen.metrics import extractor
from lightning_gen.metrics.cache import digest_of


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
@pytest.mark.parametrize("content", [b"", b"no tensors at all", b"PK\x03\x04" + 40 * b"x"])
def test_weights_that_cannot_be_read_are_said_by_their_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} holds no weights that can be read; give a state"):
        extractor("torchvision/resnet18", tmp_path / name)


def test_weights_of_something_else_are_said_by_their_file(tmp_path):
    path = tmp_path / "x.pth"
    with pytest.raises(FileNotFoundError, match="there are no weights at .*x.pth"):
        extractor("torchvision/resnet18", path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="x.pth holds no weights"):
        extractor("torchvision/resnet18", path)
    torch.save({"fc.weight": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="x.pth are not of resnet18; give those of torchvision"):
        extractor("torchvision/resnet18", path)


def test_weights_may_be_of_safetensors(tmp_path):
    from torchvision import models

    state, path = models.squeezenet1_1(weights=None).state_dict(), tmp_path / "x.safetensors"
    save_file(state, path)
    torch.save(state, tmp_path / "x.pth")
    one, two = (
        extractor("torchvision/squeezenet1_1", path.with_suffix(x))
        for x in (".pth", ".safetensors")
    )
    assert one.digest == two.digest == digest_of(one.state_dict())[:8]


@pytest.mark.parametrize(("name", "hint"), [("resnet51", "did you mean resnet"), ("?", "such as")])
def test_of_unknown_backbones_the_nearest_is_named(tmp_path, name, hint):
    with pytest.raises(ValueError, match=f"no classifier called .*{hint}"):
        extractor(f"torchvision/{name}", tmp_path / "x.pth")
