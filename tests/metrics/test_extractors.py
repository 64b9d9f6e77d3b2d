from urllib.error import URLError

import pytest
import torch
from torch import nn

from lightning_gen.metrics import (
    DigitClassifier,
    Inception,
    ModuleFeatures,
    SeededFeatures,
    extractor,
    extractors,
)
from lightning_gen.metrics.cache import digest_of_file
from lightning_gen.metrics.features import features_of, full_precision
from lightning_gen.metrics.train_digits import accuracy, mnist, scikit_digits, usps
from lightning_gen.randomness import stream


def images(count: int = 4, channels: int = 3, size: int = 28):
    shape = (count, channels, size, size)
    return torch.randint(256, shape, generator=stream("images"), dtype=torch.uint8)


class UsersModule(nn.Module):
    """What a user may bring: it has weights, and drops out in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)
        nn.init.ones_(self.linear.weight)

    def forward(self, x):
        return nn.functional.dropout(self.linear(x.float().mean((2, 3))), training=self.training)


@pytest.mark.parametrize(
    "made", [DigitClassifier, SeededFeatures, lambda: extractor(f"{__name__}:UsersModule")]
)
def test_extractors_are_frozen_named_and_known_by_their_weights(made):
    one, two = made(), made()
    assert one.digest == two.digest if one.name != "usersmodule" else one.digest
    assert len(one.digest) == 8
    assert not any(p.requires_grad for p in one.parameters())
    assert one(images()).shape == (4, one.num_features)
    one.train()
    assert not any(module.training for module in one.modules())
    assert torch.equal(one(images()), one(images()))


def test_another_weight_is_another_digest():
    assert SeededFeatures().digest != SeededFeatures(1).digest
    module = UsersModule()
    before = ModuleFeatures(module, "mine").digest
    with torch.no_grad():
        module.linear.weight[0, 0] += 1e-6
    assert ModuleFeatures(module, "mine").digest != before


def test_grey_is_the_same_as_grey_in_three_channels():
    grey = images(channels=1)
    for features in (DigitClassifier(), SeededFeatures()):
        torch.testing.assert_close(features(grey), features(grey.expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        SeededFeatures()(images(channels=2))


def test_features_of_our_own_stay_what_they_are():
    assert SeededFeatures().digest == "a6b3d082"
    assert DigitClassifier().digest == "08444c34"


class Pooled(nn.Module):
    """Has no weights."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x):
        return nn.functional.adaptive_avg_pool2d(x.float(), self.size)


def test_scripts_of_other_code_and_no_weights_have_other_digests(tmp_path):
    digests = []
    for size in (1, 2):
        torch.jit.save(torch.jit.trace(Pooled(size), images()), tmp_path / "net.pt")
        digests += [extractor(str(tmp_path / "net.pt")).digest for _ in range(2)]
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_modules_of_other_code_and_no_weights_have_other_digests(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for name, result in (("one_net", "x.mean((2, 3))"), ("two_net", "x.amax((2, 3))")):
        (tmp_path / f"{name}.py").write_text(
            "from torch import nn\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
            f"        x = x.float()\n        return {result}\n"
        )
        digests += [extractor(f"{name}:Net").digest, extractor(f"{name}:Net").digest]
    assert digests[0] == digests[1] != digests[2] == digests[3]
    assert ModuleFeatures(Pooled(1), "x").digest != ModuleFeatures(Pooled(2), "x").digest
    pools = [nn.Sequential(nn.AdaptiveAvgPool2d(k), nn.Flatten()) for k in (1, 2)]
    one, two = (
        ModuleFeatures(pool, "x", num_features=3 * k * k).digest for k, pool in enumerate(pools, 1)
    )
    assert one != two


class OwnExtractor(SeededFeatures):
    """Computes something else with the weights that it has from its base."""

    def forward(self, images):
        return super().forward(images).square()


def test_an_extractor_made_of_ours_is_another():
    assert OwnExtractor().digest != SeededFeatures().digest
    assert OwnExtractor().digest == OwnExtractor().digest


def test_on_cuda_features_are_taken_without_tf32_and_the_flags_come_back():
    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with cudnn.flags(True, True, 10, False, True):
            for kind, tf32, precision in (("cuda", False, "highest"), ("cpu", True, "high")):
                with full_precision(torch.device(kind)):
                    assert cudnn.allow_tf32 is tf32 and cudnn.benchmark
                    assert torch.get_float32_matmul_precision() == precision
                assert cudnn.allow_tf32 and cudnn.benchmark
                assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_features_are_those_of_the_cpu_though_the_run_takes_tf32():
    features, x = DigitClassifier(), images(64)
    expected = features_of(features, x)[0]
    torch.set_float32_matmul_precision("high")
    try:
        with torch.backends.cudnn.flags(True, False, 10, False, True):
            found = features_of(features.cuda(), x.cuda())[0]
    finally:
        torch.set_float32_matmul_precision("highest")
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)


def test_changed_digit_weights_are_refused(tmp_path, monkeypatch):
    changed = bytearray(extractors.DIGITS.read_bytes())
    changed[-1] ^= 1
    (tmp_path / "digits.safetensors").write_bytes(changed)
    monkeypatch.setattr(extractors, "DIGITS", tmp_path / "digits.safetensors")
    with pytest.raises(ValueError, match="not the file that belongs"):
        DigitClassifier()


def test_digit_weights_are_small_and_know_the_digits_of_scikit_learn():
    assert extractors.DIGITS.stat().st_size < 400_000
    classifier = DigitClassifier()
    assert accuracy(classifier.network, *scikit_digits()) > 0.92


@pytest.mark.data
def test_digit_weights_know_mnist_and_usps(real_data):
    network = DigitClassifier().network
    assert accuracy(network, *mnist(real_data, "t10k")) >= 0.98
    assert accuracy(network, *usps(real_data)) >= 0.95


@pytest.fixture
def random_inception(tmp_path, monkeypatch):
    """A file of random weights, of the shapes and the layout of the real one."""
    network = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    cls = network.FeatureExtractorInceptionV3
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    with monkeypatch.context() as patch:
        patch.setattr(cls, "load_state_dict", lambda self, state: None)
        module = cls("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(module.state_dict(), path)
    return path, module


def test_inception_gives_torch_fidelitys_features(random_inception, monkeypatch):
    path, reference = random_inception
    monkeypatch.setattr("lightning_gen.metrics.inception.INCEPTION_SHA256", digest_of_file(path))
    inception = extractor("inception-tf1", path)
    assert (inception.name, inception.num_features) == ("inception-tf1", 2048)
    colour, grey = images(2), images(2, channels=1)
    torch.testing.assert_close(inception(colour), reference(colour)[0])
    torch.testing.assert_close(inception(grey), reference(grey.repeat(1, 3, 1, 1))[0])


def test_inception_of_other_weights_is_refused(random_inception):
    with pytest.raises(ValueError, match="expected 6726825d0af5"):
        Inception(random_inception[0])
    with pytest.raises(FileNotFoundError, match="no weights at"):
        Inception(random_inception[0].with_name("nowhere.pth"))


def test_without_a_network_one_sentence_says_where_the_file_goes(tmp_path, monkeypatch):
    pytest.importorskip("torch_fidelity")
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path))

    def unreachable(*args, **kwargs):
        raise URLError("unreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(FileNotFoundError, match=f"put the file behind http.* at {tmp_path}"):
        Inception()


def test_a_torchvision_backbone_gives_what_its_last_layer_is_given(tmp_path):
    from torchvision import models

    torch.manual_seed(0)
    network = models.resnet18(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    backbone = extractor("torchvision/resnet18", tmp_path / "resnet18.pth")
    assert (backbone.name, backbone.num_features) == ("resnet18", 512)
    assert backbone.channels == (1, 3)
    given = []
    network.fc.register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    x = images(2, size=224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    network((x / 255 - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(backbone(x), given[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["digits", "seeded"])
@pytest.mark.parametrize("channels", [2, 4])
def test_images_with_alpha_are_refused(name, channels):
    with pytest.raises(ValueError, match=f"1 or 3 channels, got {channels}"):
        extractor(name)(images(2, channels=channels))


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="no features are called vgg.*inception-tf1, digits"):
        extractor("vgg")
    with pytest.raises(ValueError, match="need a file with weights"):
        extractor("torchvision/resnet18")


def test_logits_come_with_the_features_of_one_pass(random_inception, monkeypatch):
    path, reference = random_inception
    monkeypatch.setattr("lightning_gen.metrics.inception.INCEPTION_SHA256", digest_of_file(path))
    inception = extractor("inception-tf1", path)
    both = type(reference)("x", ["logits"], feature_extractor_weights_path=str(path))
    features, logits = inception.with_logits(images(2))
    biased = both(images(2))[0]
    torch.testing.assert_close(logits, biased - both.fc.bias, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features, inception(images(2)))
    assert logits.shape == (2, inception.num_classes)
    digits = DigitClassifier()
    features, logits = digits.with_logits(images())
    assert torch.equal(features, digits(images()))
    assert torch.equal(logits, digits.network(extractors.grey28(images())))
    assert logits.shape == (4, digits.num_classes)


def test_random_features_have_no_logits():
    assert SeededFeatures().num_classes is None
    assert SeededFeatures().with_logits(images())[1] is None


@pytest.mark.parametrize(
    ("name", "features"),
    [("squeezenet1_1", 512), ("mobilenet_v3_small", 1024), ("shufflenet_v2_x0_5", 1024)],
)
def test_a_backbone_may_be_of_any_kind(tmp_path, name, features):
    from torchvision import models

    torch.save(models.get_model(name, weights=None).state_dict(), tmp_path / "weights.pth")
    backbone = extractor(f"torchvision/{name}", tmp_path / "weights.pth")
    assert (backbone.name, backbone.num_features) == (name, features)
    assert backbone(images(2)).shape == (2, features)
