"""Pictures of codes: what a unit changes, and where the codes of images are in their prior."""

import pytest
import torch
from PIL import Image

import callbacks.latent_space as space
from callbacks import LatentSpace
from callbacks.planes import scatter_classes
from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.distributions import DiscretizedLogistic
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder
from lightning_gen.nn.flows import PlanarFlows
from lightning_gen.randomness import Noise
from tests.callbacks.parts import TinyAutoencoder, TinyData, TinyModel, trainer

SHAPE, D = TinyData.shape, 4


def vae(classes=None, **kwargs):
    torch.manual_seed(0)
    return VAE(
        MLPEncoder(SHAPE, D, (8,), num_classes=classes, **kwargs.pop("encoder", {})),
        MLPDecoder(SHAPE, D, (8,), 2, num_classes=classes),
        DiscretizedLogistic(),
        **kwargs,
    )


def test_a_traversal_changes_one_unit_at_a_time():
    code, units = torch.randn(D), torch.tensor([2, 0])
    rows = space.traversal(code, units, 5)
    assert rows.shape == (2, 5, D)
    for row, unit in zip(rows, units, strict=True):
        others = torch.arange(D) != unit
        assert torch.equal(row[:, others], code[others].expand(5, -1))
        torch.testing.assert_close(row[:, unit], space.quantiles(5))


def test_values_have_the_same_share_of_the_prior_between_them():
    values = space.quantiles(7)
    shares = 0.5 * (1 + torch.erf(values / 2**0.5))
    torch.testing.assert_close(shares, (torch.arange(7) + 0.5) / 7)


def test_a_manifold_has_all_pairs_of_values_with_the_highest_on_top():
    plane = space.manifold(torch.ones(D), torch.tensor([3, 1]), 3).view(3, 3, D)
    values = space.quantiles(3)
    assert torch.equal(plane[:, :, 3], values.expand(3, 3))
    assert torch.equal(plane[:, :, 1], values.flip(0)[:, None].expand(3, 3))
    assert (plane[:, :, [0, 2]] == 0).all()


def test_densities_are_those_of_a_histogram_that_sums_to_one():
    values = torch.cat([torch.full((30,), 0.1), torch.full((10,), 9.0)])
    found = space.densities(values)
    width = 2 * space.FAR / space.BINS
    heights = dict(found["codes"])
    assert sum(heights.values()) * width == pytest.approx(1)
    assert heights[min(heights, key=lambda x: abs(x - 0.1))] == pytest.approx(0.75 / width)
    assert heights[max(heights)] == pytest.approx(0.25 / width)  # those beyond are at the border
    assert sum(y for _, y in found["prior"]) * width == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("classes", [None, 3])
def test_pictures_and_the_number_of_active_units(tmp_path, classes):
    model, data = vae(classes), TinyData()
    model.encoder.out.weight.data[0] = 0  # the mean of unit 0 is the same for all images
    model.encoder.out.weight.data[1:D] *= 10
    logged = {}
    with torch.no_grad():
        run = trainer(tmp_path, LatentSpace(units=2, columns=3, side=4, images=10))
        run.validate(model, data, verbose=False)
        logged = run.callback_metrics
    assert logged["active_units"] == D - 1
    sizes = {"traversal": (3, 2), "manifold": (4, 4)}
    for name, (columns, rows) in sizes.items():
        with Image.open(tmp_path / "samples" / f"{name}-latest.png") as picture:
            assert picture.size == (columns * 66 + 2, rows * 66 + 2)
    assert (tmp_path / "samples" / "posterior-latest.png").exists()


def test_codes_are_drawn_from_the_posterior_that_knows_the_class():
    model, images = vae(3), TinyData().images["val"]
    labels = torch.arange(10) % 3
    codes = space.codes_of(model, images, labels)
    x = model.to_floats(images)
    mean, log_var, _ = model.encoder(x, labels)
    torch.testing.assert_close(codes.means, mean)
    eps = Noise(("posterior", 0), 10).normal(D)
    torch.testing.assert_close(codes.drawn, mean + (log_var / 2).exp() * eps)
    assert torch.equal(codes.classes, labels)


def test_drawn_codes_go_through_the_flow():
    model = vae(encoder={"context_size": 5}, flow=PlanarFlows(D, 5, 2))
    for parameter in model.flow.parameters():
        parameter.data.uniform_(-0.5, 0.5)
    x = model.to_floats(TinyData().images["val"])
    mean, log_var, context = model.encoder(x)
    z = mean + (log_var / 2).exp() * Noise(("a",), 10).normal(D)
    expected = model.flow(z[:, None], context)[0][:, 0]
    torch.testing.assert_close(model.draw_codes(x, None, Noise(("a",), 10)), expected)
    assert not torch.isclose(expected, z).all()


def test_models_that_draw_no_codes_show_their_means(tmp_path):
    run = trainer(tmp_path, LatentSpace(units=1, columns=2, side=2))
    run.validate(TinyAutoencoder(), TinyData(), verbose=False)
    assert run.callback_metrics["active_units"] == 64
    codes = space.codes_of(TinyAutoencoder(), TinyData().images["val"], torch.rand(10, 4))
    assert torch.equal(codes.means, codes.drawn) and codes.classes is None


def test_processes_agree_on_what_is_logged(tmp_path):
    run = trainer(tmp_path, LatentSpace(units=1, columns=2, side=2), processes=2)
    run.validate(vae(), TinyData(), verbose=False)
    assert (tmp_path / "samples" / "traversal-latest.png").exists()


def test_points_are_where_their_codes_are():
    levels = scatter_classes(torch.tensor([[2.0, 3.0]]), None, height=80, width=160)
    dark = (torch.from_numpy(levels.copy()).float().mean(2) < 150).nonzero().float().mean(0)
    assert (dark - torch.tensor([10.0, 100.0])).abs().max() < 1.5  # 10 pixels for each deviation


def test_a_model_without_codes_is_left_alone(tmp_path, capsys):
    trainer(tmp_path, LatentSpace()).validate(TinyModel(), TinyData(), verbose=False)
    assert "no LatentSpace: the model is no Encoder and no Decoder" in capsys.readouterr().out


def test_numbers_that_give_no_picture_are_refused():
    with pytest.raises(ValueError, match="units must be at least 1, and columns, side and images"):
        LatentSpace(side=1)
