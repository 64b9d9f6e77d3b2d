"""Windows of Gaussian filters: where they are, what is seen through them, what is painted."""

import pytest
import torch

from lightning_gen.nn.attention import everywhere, gaussian_window


def numbers(across=0.0, down=0.0, variance=1.0, distance=1.0, strength=1.0):
    rest = torch.tensor([variance, distance, strength], dtype=torch.double).log()
    return torch.cat([torch.tensor([across, down], dtype=torch.double), rest])[None]


def picture(height=9, width=9, channels=2):
    torch.manual_seed(0)
    return torch.randn(1, channels, height, width, dtype=torch.double)


def test_filters_are_the_papers_gaussians_over_pixels_that_count_from_one():
    """Equations 19 to 26, one number at a time."""
    torch.manual_seed(0)
    said, (height, width, n) = torch.randn(3, 5, dtype=torch.double), (5, 8, 3)
    window = gaussian_window(said, height, width, n)
    for b, (gx, gy, log_var, log_delta, log_gamma) in enumerate(said):
        delta = (max(height, width) - 1) / (n - 1) * log_delta.exp()
        for filters, size, g in ((window.rows, height, gy), (window.columns, width, gx)):
            for i in range(1, n + 1):
                mu = (size + 1) / 2 * (g + 1) + (i - n / 2 - 0.5) * delta
                every = [(-((a - mu) ** 2) / (2 * log_var.exp())).exp() for a in range(1, size + 1)]
                expected = torch.stack(every) / sum(every)
                torch.testing.assert_close(filters[b, i - 1], expected)
        torch.testing.assert_close(window.strength[b].squeeze(), log_gamma.exp())


def test_weights_sum_to_one_however_far_the_window_is():
    for across, variance, distance in ((0, 1, 1), (9, 1e-3, 3), (-50, 1e-2, 40), (0.3, 1e4, 0.1)):
        window = gaussian_window(numbers(across, 2.0, variance, distance), 6, 8, 4)
        for filters in (window.rows, window.columns):
            torch.testing.assert_close(filters.sum(-1), torch.ones(1, 4).double())


def test_filters_of_no_width_are_points_and_no_nan():
    window = gaussian_window(torch.tensor([[0.05, 0.0, -200.0, 0.0, 0.0]]), 6, 8, 2)
    for filters in (window.rows, window.columns):
        assert torch.equal(filters.max(-1).values, torch.ones(1, 2))


@pytest.mark.parametrize("size", [6, 7])
def test_a_sharp_window_over_the_whole_image_is_the_image(size):
    window, x = gaussian_window(numbers(variance=1e-3), size, size, size), picture(size, size)
    identity = torch.eye(size, dtype=torch.double)[None]
    torch.testing.assert_close(window.rows, identity, rtol=0, atol=1e-14)
    torch.testing.assert_close(window.columns, identity, rtol=0, atol=1e-14)
    torch.testing.assert_close(window.read(x), x)
    torch.testing.assert_close(window.paint(x), x)


def test_what_is_read_is_multiplied_by_the_strength_and_what_is_painted_divided():
    x, patch = picture(), picture(3, 3)
    plain = gaussian_window(numbers(0.2, -0.1), 9, 9, 3)
    strong = gaussian_window(numbers(0.2, -0.1, strength=4.0), 9, 9, 3)
    torch.testing.assert_close(strong.read(x), 4 * plain.read(x))
    torch.testing.assert_close(strong.paint(patch), plain.paint(patch) / 4)
    assert (plain._replace(strength=torch.zeros(1, 1, 1, 1)).read(x) == 0).all()


def test_the_window_moves_with_the_image():
    """A shift by one pixel is one of 2 / (size + 1) of the centre."""
    x = picture(15, 11)
    for down, across in ((1, 0), (0, 1), (2, -1)):
        moved = x.roll((down, across), (2, 3))
        a, b = (
            gaussian_window(numbers(dx * 2 / 12, dy * 2 / 16, 0.1, 0.2), 15, 11, 3)
            for dy, dx in ((0, 0), (down, across))
        )
        torch.testing.assert_close(b.read(moved), a.read(x), rtol=0, atol=1e-10)


def test_rows_are_the_vertical_side():
    x = torch.arange(5.0).double()[:, None].expand(5, 7)[None, None]
    window = gaussian_window(numbers(variance=1e-3, distance=0.5), 5, 7, 3)
    expected = torch.tensor([0.5, 2.0, 3.5]).double()  # the distance is half of (7 - 1) / 2
    torch.testing.assert_close(window.read(x)[0, 0, :, 1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(28, 28, 2), (28, 28, 5), (8, 32, 5), (7, 7, 7)])
def test_a_window_can_be_everywhere_and_leave_nothing_out(size):
    height, width, n = size
    reads, paints = (numbers.double()[None] for numbers in everywhere(*size))
    window = gaussian_window(reads, height, width, n)
    for filters, side in ((window.rows, height), (window.columns, width)):
        if side == max(height, width):
            seen = filters.sum(1) * side / n  # on average 1
            assert seen.min() > 0.5 and seen.max() < 1.3
    ones = torch.ones(1, 1, n, n).double()
    painted = gaussian_window(paints, height, width, n).paint(ones)
    assert painted.mean() == pytest.approx(1, rel=1e-6)
    assert (window.strength == 1).all()
