"""Pictures of codes: what a unit changes, and where the codes of images are in their prior."""

import json

import pytest
import torch
from PIL import Image

import callbacks.latent_space as space
from callbacks import LatentSpace
from callbacks.planes import scatter_classes
from lightning_gen.levels import from_levels
from lightning_gen.metrics import PlacedNoise
from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.distributions import DiscretizedLogistic
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder, MLPUpperCodes
from lightning_gen.nn.flows import PlanarFlows
from lightning_gen.randomness import Noise
from tests.callbacks.parts import TinyAutoencoder, TinyData, TinyModel, trainer

SHAPE, D = TinyData.shape, 4
SCALES = torch.tensor([1.0, 0.01, 3.0, 2.0])  # so the second unit is not active


def vae(classes=None, **kwargs):
    torch.manual_seed(0)
    return VAE(
        MLPEncoder(SHAPE, D, (8,), num_classes=classes, **kwargs.pop("encoder", {})),
        MLPDecoder(SHAPE, D, (8,), 2, num_classes=classes),
        DiscretizedLogistic(),
        **kwargs,
    )


class Witness(TinyModel):
    """Codes are the first pixels, scaled, of a uniform prior; it remembers what it was to decode."""

    num_classes = 3

    def __init__(self):
        super().__init__(3)
        self.decoded = []

    def encode(self, x, labels=None):
        assert len(labels) == len(x)
        return x[:, 0, 0, :D] * SCALES

    def latent(self, n, noise=None):
        return 4 * noise.uniform(D) - 1

    def decode(self, z, labels=None):
        self.decoded.append((z, labels))
        return torch.zeros(len(z), *SHAPE)


def test_pictures_are_of_the_first_image_and_of_units_by_their_activity(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(space, "picture", lambda *args: shown.append(args) or space.grid(blank, 1))
    blank = torch.zeros(1, *SHAPE)
    model, data = Witness(), TinyData()
    run = trainer(tmp_path, LatentSpace(units=3, columns=5, side=3, images=9))
    run.validate(model, data, verbose=False)
    assert run.callback_metrics["active_units"] == 3
    means = from_levels(data.images["val"])[:9, 0, 0, :D] * SCALES
    order = [2, 3, 0, 1]
    assert means.var(0).argsort(descending=True).tolist() == order
    (rows, row_labels), (plane, plane_labels) = model.decoded
    assert row_labels.tolist() == [0] * 15 and plane_labels.tolist() == [0] * 9
    values = 4 * (torch.arange(5) + 0.5) / 5 - 1
    for row, unit in zip(rows.view(3, 5, D), order[:3], strict=True):
        others = torch.arange(D) != unit
        assert torch.equal(row[:, others], means[0, others].expand(5, -1))
        torch.testing.assert_close(row[:, unit], values, atol=0.04, rtol=0)
    plane, values = plane.view(3, 3, D), 4 * (torch.arange(3) + 0.5) / 3 - 1
    torch.testing.assert_close(plane[:, :, 2], values.expand(3, 3), atol=0.04, rtol=0)
    high_first = values.flip(0)[:, None].expand(3, 3)
    torch.testing.assert_close(plane[:, :, 3], high_first, atol=0.04, rtol=0)
    torch.testing.assert_close(plane[:, :, :2], torch.ones(3, 3, 2), atol=0.04, rtol=0)
    ((codes, prior, varied, ranks),) = shown
    assert torch.equal(codes.means, means) and torch.equal(codes.drawn, means)
    assert codes.classes.tolist() == [k % 3 for k in range(9)] and codes.nats is None
    assert prior.min() > -1 and prior.max() < 3 and ranks.tolist() == order
    torch.testing.assert_close(varied, means.double().var(0))


def test_the_plane_shows_what_was_drawn_of_the_most_active_units(monkeypatch):
    seen = []
    monkeypatch.setattr(
        space, "scatter_classes", lambda *args, **kwargs: seen.append(args) or kwargs
    )
    monkeypatch.setattr(space.np, "concatenate", lambda parts: parts)
    drawn, prior = torch.randn(6, D), torch.randn(50, D)
    codes = space.Codes(0 * drawn, drawn, None, torch.arange(6) % 2)
    space.picture(codes, prior, SCALES, torch.tensor([2, 3, 0, 1]))
    points, classes, behind = seen[0]
    assert torch.equal(points, drawn[:, [2, 3]]) and torch.equal(behind, prior[:6, [2, 3]])
    assert torch.equal(classes, codes.labels)


def test_codes_and_their_nats_are_those_of_the_posterior_that_knows_the_class(tmp_path):
    model, data = vae(3), TinyData()
    model.encoder.out.weight.data[0], model.encoder.out.bias.data[0] = 0, 0  # as the prior:
    model.encoder.out.weight.data[D], model.encoder.out.bias.data[D] = 0, 0
    run = trainer(tmp_path, LatentSpace(images=7))
    run.validate(model, data, verbose=False)  # so that the data know their trainer
    codes = space.codes_of(run, model.eval(), data, "val", 7)
    x, labels = model.to_floats(data.images["val"][:7]), torch.arange(7) % 3
    mean, log_var, _ = model.encoder(x, labels)
    torch.testing.assert_close(codes.means, mean)
    eps = PlacedNoise(("posterior",), torch.arange(7)).normal(D)
    torch.testing.assert_close(codes.drawn, mean + (log_var / 2).exp() * eps)
    expected = 0.5 * (mean.square() + log_var.exp() - 1 - log_var)
    torch.testing.assert_close(codes.nats, expected)
    assert (codes.nats[:, 0] == 0).all() and (codes.nats[:, 1:] > 0).all()
    assert torch.equal(codes.classes, labels)
    for name in ("traversal", "manifold", "posterior"):
        with Image.open(tmp_path / "samples" / f"{name}-latest.png") as picture:
            assert picture.size[0] > 100


def test_drawn_codes_go_through_the_flow_which_has_no_nats_of_units(tmp_path):
    model, data = vae(encoder={"context_size": 5}, flow=PlanarFlows(D, 5, 2)), TinyData()
    for parameter in model.flow.parameters():
        parameter.data.uniform_(-0.5, 0.5)
    x = model.to_floats(data.images["val"])
    mean, log_var, context = model.encoder(x)
    z = mean + (log_var / 2).exp() * Noise(("a",), 10).normal(D)
    expected = model.flow(z[:, None], context)[0][:, 0]
    torch.testing.assert_close(model.draw_codes(x, None, Noise(("a",), 10)), expected)
    assert not torch.isclose(expected, z).all()
    run = trainer(tmp_path, LatentSpace())
    run.validate(model, data, verbose=False)
    assert space.codes_of(run, model, data, "val", 10).nats is None


def test_a_prior_that_is_learned_is_the_one_that_is_drawn_from(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(space, "picture", lambda *args: shown.append(args) or space.grid(blank, 1))
    blank = torch.zeros(1, *SHAPE)
    model = vae(upper=MLPUpperCodes(D, 2, (8,)))
    model.upper.down[-1].bias.data[:D] = 50
    trainer(tmp_path, LatentSpace()).validate(model, TinyData(), verbose=False)
    assert (shown[0][1] > 30).all()


def test_models_that_draw_no_codes_show_their_means(tmp_path):
    run = trainer(tmp_path, LatentSpace(units=1, columns=2, side=2))
    run.validate(TinyAutoencoder(), TinyData(), verbose=False)
    assert run.callback_metrics["active_units"] == 64


@pytest.mark.parametrize("processes", [1, 2])
def test_active_units_are_those_of_all_images_on_any_number_of_processes(tmp_path, processes):
    class Every(TinyAutoencoder):
        """The first eight images have one code, the last two another, whatever else is in a batch."""

        def encode(self, x):
            own = from_levels(TinyData().images["val"]).to(x)
            at = (x[:, None] == own).flatten(2).all(2).float().argmax(1)
            return torch.stack([(at >= 8).float(), 0 * at], 1)

        def decode(self, z, labels=None):
            return z.new_zeros(len(z), *SHAPE)

        def latent(self, n, noise=None):
            return noise.normal(2)

    run = trainer(tmp_path, Kept(tmp_path), processes=processes)
    run.validate(Every(), TinyData(), verbose=False)
    assert json.loads((tmp_path / "activity").read_text()) == pytest.approx([1, 8 / 45, 0])


class Kept(LatentSpace):
    """Notes what it found in a file, as it may be found in another process."""

    def __init__(self, folder):
        super().__init__(units=1, columns=2, side=2)
        self.folder = folder

    def draw(self, trainer, model, codes, varied):
        super().draw(trainer, model, codes, varied)
        active = trainer.callback_metrics["active_units"].item()
        (self.folder / "activity").write_text(json.dumps([active, *varied.tolist()]))


def test_densities_are_those_of_histograms_that_sum_to_one():
    values = torch.cat([torch.full((30,), 0.1), torch.full((10,), 9.0)])
    prior = torch.linspace(-4, 4, 1001)
    found = space.densities(values, prior)
    width = 8 / space.BINS
    heights = dict(found["codes"])
    assert sum(heights.values()) * width == pytest.approx(1)
    assert heights[min(heights, key=lambda x: abs(x - 0.1))] == pytest.approx(0.75 / width)
    assert heights[max(heights)] == pytest.approx(0.25 / width)  # those beyond are at the border
    assert sum(y for _, y in found["prior"]) * width == pytest.approx(1)


def test_points_are_where_their_codes_are():
    prior = torch.tensor([[-4.0, -4.0], [4.0, 4.0]])
    levels = scatter_classes(torch.tensor([[2.0, 3.0]]), None, prior, height=84, width=160)
    dark = (torch.from_numpy(levels.copy()).float().mean(2) < 150).nonzero().float().mean(0)
    assert (dark - torch.tensor([12.0, 100.0])).abs().max() < 1.5  # 10 pixels for each of 1


def test_a_model_without_codes_is_left_alone(tmp_path, capsys):
    trainer(tmp_path, LatentSpace()).validate(TinyModel(), TinyData(), verbose=False)
    assert "no LatentSpace: the model is no Encoder and no Decoder" in capsys.readouterr().out


def test_numbers_that_give_no_picture_are_refused():
    with pytest.raises(ValueError, match="units must be at least 1, and columns, side and images"):
        LatentSpace(side=1)
