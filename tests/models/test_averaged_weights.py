"""Every explicit model scores, samples and completes with its averaged weights, and trains the others."""

import pytest
import torch

from lightning_gen.capabilities import Completer, Decoder, Encoder, PixelLikelihood
from lightning_gen.levels import from_levels
from lightning_gen.models.autoencoders import IWAE
from lightning_gen.models.autoregressive import MADE, DeepNADE, MultiscalePixelCNN, PixelModel
from lightning_gen.models.base import Batch
from lightning_gen.models.flows import NICE
from lightning_gen.models.quantised import dequantise
from lightning_gen.networks.causal import GatedCausalStack, MaskedStack
from lightning_gen.networks.coupling import AdditiveCouplings
from lightning_gen.networks.deep_nade import DeepNADENetwork
from lightning_gen.networks.encoders import MLPUpperCodes
from lightning_gen.networks.made import MADENetwork, ManyOrdersMADE
from lightning_gen.networks.nade import NADENetwork
from lightning_gen.networks.upsampling import ResidualUpsampling
from lightning_gen.randomness import Noise
from tests import latent
from tests.models import test_autoencoder as autoencoder
from tests.models import test_draw as draw
from tests.models import test_energy as energy
from tests.models import test_layered_cvae as layered
from tests.models import test_pixel_vae as pixel_vae
from tests.models import test_resnet_vae as resnet
from tests.models import test_semi_supervised_vae as semi_supervised
from tests.models import test_stacked_semi_supervised as stacked

SHAPE = (1, 4, 4)
MODELS = {
    "PixelCNN": lambda **kwargs: PixelModel(MaskedStack(1, 256, 4, 1, head=4), SHAPE, **kwargs),
    "NADE": lambda **kwargs: PixelModel(NADENetwork(SHAPE, 256, 5), SHAPE, **kwargs),
    "MADE": lambda **kwargs: PixelModel(MADENetwork(SHAPE, 256, (20,)), SHAPE, **kwargs),
    "MADE of one order": lambda **kwargs: MADE(
        ManyOrdersMADE(SHAPE, 256, (20,), count=1), **kwargs
    ),
    "MADE of two": lambda **kwargs: MADE(ManyOrdersMADE(SHAPE, 256, (20,), count=2), **kwargs),
    "Deep NADE": lambda **kwargs: DeepNADE(DeepNADENetwork(SHAPE, 256, (6,), count=2), **kwargs),
    "NICE": lambda **kwargs: NICE(AdditiveCouplings(SHAPE, 4, (6,)), **kwargs),
    "Multiscale": lambda **kwargs: MultiscalePixelCNN(
        GatedCausalStack(1, 256, 4, 1, 3, 3, 4),
        ResidualUpsampling(1, 256, 1, 4, 1),
        SHAPE,
        **kwargs,
    ),
}


def noise():
    return Noise(("test",), 3, dtype=torch.double)


def filled(model, scale):
    """With weights other than those that it began with."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data.uniform_(-scale, scale)
    return model


@pytest.fixture(params=MODELS)
def models(request):
    """A model that averages, and two that do not: of its own weights, and of its averages."""
    make = MODELS[request.param]
    one, live, mean = (
        make(ema_half_life=10.0).double(),
        filled(make().double(), 0.3),
        filled(make().double(), 0.6),
    )
    for name, average in one.averages.items():
        getattr(one, name).load_state_dict(getattr(live, name).state_dict())
        average.network.load_state_dict(getattr(mean, name).state_dict())
    assert {"averages", *one.averages} == {name for name, _ in live.named_children()}
    return one, live, mean


@pytest.fixture
def x():
    return from_levels(torch.randint(256, (3, *SHAPE)), dtype=torch.double)


def test_likelihoods_are_of_the_averages_but_for_training(models, x):
    one, live, mean = models
    with torch.no_grad():
        of_live, of_mean = (m.nll(x, noise=noise()) for m in (live, mean))
        assert not torch.allclose(of_live, of_mean)
        assert torch.equal(one.eval().nll(x, noise=noise()), of_mean)
        assert torch.equal(one.train().nll(x, noise=noise()), of_live)
        if isinstance(one, PixelLikelihood):
            assert torch.equal(one.eval().pixel_nll(x), mean.pixel_nll(x))
            assert torch.equal(one.train().pixel_nll(x), live.pixel_nll(x))


def test_training_moves_the_weights_and_not_the_averages(models, x):
    one, live, _ = models
    batch = Batch(x, None, noise())
    loss = one.train().terms(batch)["loss"]
    assert torch.equal(loss, live.train().terms(batch)["loss"])
    loss.backward()
    assert all(parameter.grad is None for parameter in one.averages.parameters())


@pytest.mark.parametrize("training", [False, True])
def test_images_are_of_the_averages(models, x, training):
    one, live, mean = models
    one.train(training)
    drawn = mean.sample(3, noise=noise())
    assert torch.equal(one.sample(3, noise=noise()), drawn)
    assert not torch.equal(live.sample(3, noise=noise()), drawn)
    if isinstance(one, Completer):
        known = torch.rand(SHAPE[1:]) < 0.4
        completed = mean.complete(x, known, noise=noise())
        assert torch.equal(one.complete(x, known, noise=noise()), completed)
        assert not torch.equal(live.complete(x, known, noise=noise()), completed)
    if isinstance(one, Encoder) and isinstance(one, Decoder):
        z = mean.encode(dequantise(x, noise()))
        assert torch.equal(one.encode(dequantise(x, noise())), z)
        assert torch.equal(one.decode(z), mean.decode(z))


LATENT = {
    "VAE with two layers": lambda **k: latent.make(upper=MLPUpperCodes(latent.D, 2, (4,)), **k),
    "IWAE": lambda **k: latent.make(IWAE, **k),
    "M2": lambda **k: semi_supervised.make(**k),
    "M1+M2": lambda **k: stacked.make(**k),
    "M1 of M1+M2": lambda **k: stacked.make(seen=50, **k),
    "layered": lambda **k: layered.make(**k),
    "autoencoder": lambda **k: autoencoder.make(**k),
    "DRAW": lambda **k: draw.make("windows", **k),
    "ResNet VAE": lambda **k: resnet.make(1, **k),
    "PixelVAE": lambda **k: pixel_vae.make(**k),
    "PixelVAE, two layers": lambda **k: pixel_vae.hierarchical(**k),
    "RBM": lambda **k: energy.rbm(**k),
    "DBN": lambda **k: energy.dbn(**k),
    "DBM": lambda **k: energy.dbm(**k),
}
ASKED = ("nll", "importance_nll", "unnormalised_nll", "encode", "draw_codes", "classify", "decode")
ASKED = (*ASKED, "reconstruct", "sample", "complete", "log_partition", "layers_of")


def said(model, x, labels):
    """What a model says of images, in double precision, of each capability that it has."""
    found = {}
    z = model.latent(3, noise()) if hasattr(model, "latent") else None
    z = model.encode(x) if z is None and hasattr(model, "decode") else z
    asks = {
        "nll": lambda: model.nll(x, labels, noise()),
        "importance_nll": lambda: model.importance_nll(x, 2, labels, noise()),
        "unnormalised_nll": lambda: model.unnormalised_nll(x, noise=noise()),
        "encode": lambda: model.encode(x),
        "draw_codes": lambda: model.draw_codes(x, labels, noise()),
        "classify": lambda: model.classify(x),
        "decode": lambda: model.decode(z, labels),
        "reconstruct": lambda: model.reconstruct(x),
        "sample": lambda: model.sample(3, labels, noise()),
        "complete": lambda: model.complete(x, torch.eye(x.shape[2]) > 0, noise=noise()),
        "log_partition": lambda: model.log_partition(),
        "layers_of": lambda: torch.cat(model.layers_of(x, labels)),
    }
    with torch.no_grad():
        for name in ASKED:
            if getattr(model, name, None) is not None:
                found[name] = asks[name]()
    return found


UNTAUGHT = ("autoencoder", "VAE with two layers", "IWAE", "DRAW", "PixelVAE", "RBM", "DBN", "DBM")


@pytest.mark.parametrize("name", [*UNTAUGHT, "ResNet VAE", "PixelVAE, two layers"])
def test_models_without_classes_learn_nothing_from_labels(name):
    slopes = []
    for labels in (None, torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0])):
        torch.manual_seed(4)
        model = LATENT[name]().train()
        x = torch.randn(3, *model.shape, generator=torch.Generator().manual_seed(3)).sign().double()
        model.terms(Batch(x, labels, noise()))["loss"].backward()
        slopes.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert torch.equal(slopes[0], slopes[1]) and torch.equal(slopes[0], slopes[2])


@pytest.mark.parametrize("name", LATENT)
def test_whatever_a_latent_model_says_is_of_its_averages(name):
    model = LATENT[name](ema_half_life=10.0).eval()
    model.sample_steps = 2  # of a Boltzmann machine
    own = [parameter for part, parameter in model.named_parameters() if "averages." not in part]
    kept = {id(p) for average in model.averages.values() for p in average.parameters()}
    assert kept and {"averages", *model.averages} >= {
        part for part, network in model.named_children() if any(True for _ in network.parameters())
    }
    shape, classes = model.shape, model.num_classes
    torch.manual_seed(2)
    x = torch.randn(3, *shape, dtype=torch.double).sign()
    labels = None if classes is None else torch.arange(3) % classes
    if name == "layered":
        labels = (torch.rand(3, classes) < 0.5).double()
    before = said(model, x, labels)
    assert len(before) >= 3
    for parameter in own:
        parameter.data += torch.rand_like(parameter)
    after = said(model, x, labels)
    for key, value in before.items():
        if value is not None:
            assert torch.equal(value, after[key]), key
