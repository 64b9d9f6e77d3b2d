import pytest
import torch
from safetensors.torch import load_file, save_file

from lightning_gen.files import cache_folder
from lightning_gen.metrics import load_statistics, save_statistics
from lightning_gen.metrics.cache import statistics_path

KEY = {"fingerprint": "abc", "split": "test", "features": "digits", "digest": "1234"}
STATISTICS = {
    "count": torch.tensor(3),
    "sum": torch.randn(4).double(),
    "outer": torch.eye(4).double(),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path))


def test_what_is_saved_is_found_again_bit_for_bit():
    path = save_statistics(STATISTICS, KEY)
    assert path.is_relative_to(cache_folder())
    found = load_statistics(KEY)
    assert all(torch.equal(found[name], value) for name, value in STATISTICS.items())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("changed", ["fingerprint", "split", "features", "digest"])
def test_another_key_finds_nothing(changed):
    save_statistics(STATISTICS, KEY)
    assert load_statistics({**KEY, changed: "other"}) is None


def test_a_file_made_for_another_key_is_refused():
    path = save_statistics(STATISTICS, KEY)
    other = {**KEY, "split": "train"}
    path.rename(statistics_path(other))
    with pytest.raises(ValueError, match="made for other data or features"):
        load_statistics(other)


def test_changed_contents_are_refused():
    path = save_statistics(STATISTICS, KEY)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["sum"][0] += 1e-12
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="not what was written"):
        load_statistics(KEY)


def test_a_file_cut_short_is_refused():
    path = save_statistics(STATISTICS, KEY)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cannot be read"):
        load_statistics(KEY)
