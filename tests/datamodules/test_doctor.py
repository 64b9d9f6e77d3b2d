"""The report about a data set."""

import json

import pytest
import torch
from PIL import Image

from datamodules import DATASETS, CelebA, Digits, ImageFolder
from datamodules.doctor import contact_sheet, content_hash, duplicates, examine, leaks
from datamodules.images import InMemory

from .test_photographs import save, write_celeba


def test_the_report_counts_images_classes_sizes_and_modes(tmp_path):
    for k in range(12):
        save(tmp_path / "images" / ("a", "b")[k % 2] / f"{k:02}.png", 10 * k, (8 + k % 3, 8))
    Image.new("L", (9, 9)).save(tmp_path / "images" / "a" / "grey.png")
    data = ImageFolder(tmp_path / "images", size=8, val_size=2, test_size=2)
    report = examine(data, tmp_path / "report")
    train = report["splits"]["train"]
    assert train["count"] == 9
    assert sum(train["labels"].values()) == 9
    assert sum(train["file_sizes"].values()) == 9
    assert sum(report["splits"][s]["file_modes"].get("L", 0) for s in ("train", "val", "test")) == 1
    assert train["fingerprint"] == data.fingerprint("train")
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == report
    assert "train: 9 images" in (tmp_path / "report" / "report.txt").read_text()
    assert Image.open(tmp_path / "report" / "train.png").mode == "RGB"


def test_duplicates_and_leaks_are_found(tmp_path):
    for part, values in (("train", [1, 2, 1, 3, 1]), ("val", [9]), ("test", [4, 3])):
        for k, level in enumerate(values):
            save(tmp_path / "images" / part / f"{k}.png", level)
    report = examine(ImageFolder(tmp_path / "images", size=4), tmp_path / "report")
    assert report["duplicates_in_train"] == {"count": 2, "examples": [[0, 2], [0, 4]]}
    assert report["leaks_from_train_to_val"]["count"] == 0
    assert report["leaks_from_train_to_test"] == {"count": 1, "examples": [1]}


def test_levels_are_those_of_the_pixels(tmp_path):
    report = examine(Digits(size=8), tmp_path)
    pixels = Digits(size=8).splits.train.pixels.double()
    levels = report["splits"]["train"]["levels"]
    assert (levels["min"], levels["max"], levels["distinct"]) == (0, 255, 17)
    assert levels["mean"] == pytest.approx(float(pixels.mean()), abs=1e-4)
    assert levels["std"] == pytest.approx(float(pixels.std(unbiased=False)), abs=1e-4)


def test_attributes_are_counted_where_they_are_known(tmp_path):
    write_celeba(tmp_path)
    report = examine(CelebA(root=tmp_path, size=8), tmp_path / "report")
    assert report["splits"]["train"]["labels"]["attribute0"] == 6
    assert report["splits"]["val"]["labels"]["attribute0"] == 0


def test_hashes_tell_images_apart_by_one_level_of_one_pixel():
    images = torch.zeros(785, 1, 28, 28, dtype=torch.uint8)
    images[torch.arange(784), 0, torch.arange(784) // 28, torch.arange(784) % 28] = 1
    hashes = content_hash(images)
    assert len(hashes.unique()) == 785
    assert duplicates(hashes)["count"] == 0
    assert leaks(hashes[:5], hashes[4:])["count"] == 1


def test_a_sheet_shows_images_from_all_over_the_split():
    pixels = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 64, 64)
    sheet = contact_sheet(InMemory(pixels))
    assert sheet.size == (8 * 66 + 2,) * 2
    assert sheet.getpixel((10, 10)) == 0
    assert sheet.getpixel((520, 520)) == 199


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "usps", "celeba", "lsun"])
def test_real_sets_have_no_duplicates_and_no_leaks(real_data, tmp_path, name):
    report = examine(DATASETS[name](root=real_data), tmp_path)
    assert report["duplicates_in_train"]["count"] == 0
    assert report["leaks_from_train_to_test"]["count"] == 0
