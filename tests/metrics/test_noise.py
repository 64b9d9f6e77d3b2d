import torch

from lightning_gen.metrics import BLOCK, PlacedNoise


def test_an_image_has_the_same_noise_in_any_batch():
    everything = torch.arange(2 * BLOCK + 7)
    whole = PlacedNoise(("nll", "test"), everything)
    drawn = whole.normal(3), whole.uniform(), whole.integers(9), whole.spawn("x").normal(2)
    some = torch.tensor([BLOCK + 1, 3, 2 * BLOCK, 4, BLOCK - 1])
    part = PlacedNoise(("nll", "test"), some)
    again = part.normal(3), part.uniform(), part.integers(9), part.spawn("x").normal(2)
    assert all(torch.equal(a[some], b) for a, b in zip(drawn, again, strict=True))


def test_images_keys_and_draws_differ():
    noise = PlacedNoise(("nll",), torch.arange(2 * BLOCK))
    first, second = noise.normal(), noise.normal()
    other = PlacedNoise(("other",), torch.arange(2 * BLOCK)).normal()
    assert len(torch.cat([first, second, other]).unique()) == 6 * BLOCK
