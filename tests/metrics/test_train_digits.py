import gzip

import pytest
import torch

from lightning_gen.metrics.train_digits import accuracy, distort, read_idx, train


def test_idx_files_are_read_gzipped_or_not(tmp_path):
    content = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(6)])
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content))
    expected = torch.arange(6).view(2, 3)
    for name in ("plain", "packed"):
        assert torch.equal(read_idx(tmp_path / name).long(), expected)
    with pytest.raises(FileNotFoundError, match="put MNIST's files there"):
        read_idx(tmp_path / "absent")


def test_distortion_keeps_the_background_dark():
    blank = torch.full((16, 1, 28, 28), -1.0)
    assert torch.equal(distort(blank, torch.Generator().manual_seed(0)), blank)


def test_training_tells_bright_from_dark():
    images = torch.cat([torch.zeros(256, 1, 28, 28), torch.full((256, 1, 28, 28), 255)])
    labels = torch.arange(2).repeat_interleave(256)
    network = train(images.to(torch.uint8), labels, epochs=8)
    assert accuracy(network, images.to(torch.uint8), labels) == 1
