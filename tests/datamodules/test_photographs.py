"""Folders of images, CelebA and LSUN."""

import io
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import LSUN, CelebA, DataError, ImageFolder

from .tiny import Recorder, fit, numbered_folder, snapshot, trainer


def save(path, level=0, size=(10, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level,) * 3).save(path)


def levels(images):
    return images[torch.arange(len(images))][0][:, 0, 0, 0].tolist()


def test_a_flat_folder_has_no_classes_and_tenths_are_held_out(tmp_path):
    for k in range(30):
        save(tmp_path / f"{k:02}.png", k)
    save(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("no image")
    data = ImageFolder(tmp_path, size=4)
    assert data.num_classes is None
    assert [len(part) for part in data.splits[:3]] == [24, 3, 3]
    assert sorted(sum(map(levels, data.splits[:3]), [])) == list(range(30))
    assert data.splits.train.labels.eq(0).all()


def test_sub_folders_are_classes(tmp_path):
    for k in range(20):
        save(tmp_path / ("cat", "dog")[k % 2] / "deeper" / f"{k:02}.png", k)
    data = ImageFolder(tmp_path, size=4, val_size=0, test_size=4)
    assert (data.num_classes, data.label_names) == (2, ["cat", "dog"])
    assert [len(part) for part in data.splits[:3]] == [16, 0, 4]
    for part in (data.splits.train, data.splits.test):
        assert [level % 2 for level in levels(part)] == part.labels.tolist()


def test_split_folders_are_taken_as_they_are(tmp_path):
    for part, count in (("train", 8), ("valid", 3), ("test", 2)):
        for k in range(count):
            save(tmp_path / part / ("a", "b")[k % 2] / f"{k}.jpg", 10 * k)
    data = ImageFolder(tmp_path, size=4)
    assert [len(part) for part in data.splits[:3]] == [8, 3, 2]
    assert data.label_names == ["a", "b"]
    assert data.splits.val.labels.tolist() == [0, 0, 1]
    assert levels(data.splits.val) == [0, 20, 10]


def test_a_train_folder_alone_gives_all_three(tmp_path):
    for k in range(20):
        save(tmp_path / "train" / f"{k}.png", k)
    data = ImageFolder(tmp_path, size=4)
    assert [len(part) for part in data.splits[:3]] == [16, 2, 2]
    assert data.num_classes is None


def test_images_beside_class_folders_leave_no_classes(tmp_path):
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "1.png")
    save(tmp_path / "1.png")
    assert ImageFolder(tmp_path).num_classes is None


def test_links_are_followed_and_do_not_go_round(tmp_path):
    save(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "images")
    assert len(ImageFolder(tmp_path / "images")._keys["train"]) == 1


def test_images_of_any_size_and_mode_make_one_batch(tmp_path):
    for k, mode in enumerate(("L", "P", "RGB", "RGBA", "CMYK", "1", "LA")):
        Image.new(mode, (9 + k, 20 - k)).save(tmp_path / f"{k}.tif")
    for channels in (1, 2, 3, 4):
        data = ImageFolder(tmp_path, size=6, channels=channels)
        images, _ = next(iter(data.loader("train")))
        assert images.shape == (5, channels, 6, 6)
        assert data.shape == (channels, 6, 6)


def test_memory_and_workers_serve_the_same_images(tmp_path):
    served = []
    for options in ({"in_memory": True}, {"num_workers": 0}, {"num_workers": 2}):
        loader = numbered_folder(tmp_path, **options).loader("train")
        assert loader.num_workers == options.get("num_workers", 0)
        served.append(torch.cat([images for images, _ in loader]))
    assert torch.equal(served[0], served[1])
    assert torch.equal(served[0], served[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_is_named_in_one_sentence(tmp_path, workers):
    data = numbered_folder(tmp_path, count=24, batch_size=4, num_workers=workers)
    path = tmp_path / "train" / "003.png"
    Image.effect_noise((64, 64), 100).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"train/003\.png cannot be decoded") as caught:
        trainer(max_epochs=1).fit(Recorder(), data)
    assert "\n" not in str(caught.value)


def test_a_folder_without_images_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no images"):
        ImageFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder; set root"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="needs root"):
        ImageFolder()
    save(tmp_path / "only.png")
    with pytest.raises(ValueError, match="at least one must be left"):
        ImageFolder(tmp_path).splits  # noqa: B018


def write_celeba(root, listed=12, present=10, known=6):
    names = [f"{k:06}.jpg" for k in range(1, listed + 1)]
    for k, name in enumerate(names[:present]):
        save(root / "celeba" / "img_align_celeba" / name, 20 * k, (178, 218))
    parts = [0] * 8 + [1] * 2 + [2] * (listed - 10)
    rows = [f"{name} {part}\n" for name, part in zip(names, parts, strict=True)]
    (root / "celeba" / "list_eval_partition.txt").write_text("".join(rows))
    table = [f"{name}  1 {'-1 ' * 39}\n" for name in names[:known]]
    header = " ".join(f"attribute{k}" for k in range(40))
    text = f"{known}\n{header} \n{''.join(table)}"
    (root / "celeba" / "list_attr_celeba.txt").write_text(text)


def test_celeba_takes_the_official_parts_and_marks_unknown_attributes(tmp_path):
    write_celeba(tmp_path, listed=14, present=13)
    before = snapshot(tmp_path)
    data = CelebA(root=tmp_path)
    data.prepare_data()
    assert [len(part) for part in data.splits[:3]] == [8, 2, 3]
    labels = data.splits.train.labels
    assert labels.shape == (8, 40)
    assert labels[0].tolist() == [1] + [0] * 39
    assert labels[-1].tolist() == [-1] * 40
    assert data.label_names[3] == "attribute3"
    assert (data.num_classes, data.num_attributes) == (None, 40)
    assert data.shape == (3, 64, 64)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(("crop", "left", "top"), [(178, 0, 20), (148, 15, 35), (108, 35, 55)])
def test_celeba_crops_the_centre(tmp_path, crop, left, top):
    write_celeba(tmp_path, present=11, listed=11)
    ramp = np.indices((218, 178)).sum(0).astype(np.uint8)
    image = Image.fromarray(ramp).convert("RGB")
    path = tmp_path / "celeba" / "img_align_celeba" / "000011.jpg"
    image.save(path, "PNG")
    images, _ = CelebA(root=tmp_path, size=crop, crop=crop).splits.test[torch.tensor([0])]
    expected = ramp[top : top + crop, left : left + crop]
    assert np.array_equal(images[0, 0].numpy(), expected)


@pytest.mark.parametrize("crop", [178, 148, 108])
def test_celeba_masks_are_the_head_wherever_the_crop_puts_it(tmp_path, crop):
    write_celeba(tmp_path, present=11, listed=11)
    noise = np.random.default_rng(0).integers(256, size=(218, 178, 3), dtype=np.uint8)
    for k in (9, 10):
        path = tmp_path / "celeba" / "img_align_celeba" / f"{k:06}.jpg"
        Image.fromarray(noise + np.uint8(k)).save(path, "PNG")
    at = torch.tensor([0, 1])
    for size in (64, crop):
        plain = CelebA(root=tmp_path, size=size, crop=crop)
        data = CelebA(root=tmp_path, size=size, crop=crop, masks=True)
        assert data.shape == (4, size, size)
        assert data.fingerprint("val") != plain.fingerprint("val")
        images, masks = data.images("val")[at][0].split([3, 1], 1)
        assert torch.equal(images, plain.images("val")[at][0])
    left, top = (178 - crop) // 2, (218 - crop) // 2
    x, y = torch.arange(crop) + 0.5 + left - 89, torch.arange(crop) + 0.5 + top - 106
    far = (x / 54).square() + (y[:, None] / 74).square()
    assert (masks[:, 0, far < 0.96] == 255).all() and (masks[:, 0, far > 1.04] == 0).all()
    assert torch.equal(masks, masks.flip(3))  # so that mirrored images have theirs
    small = CelebA(root=tmp_path, size=crop // 2, crop=crop, masks=True).images("val")[at][0][:, 3:]
    wrong = small - torch.nn.functional.avg_pool2d(masks.float(), 2)
    assert wrong.abs().max() < 50 and wrong.mean().abs() < 0.5  # of 255


def test_celeba_knows_no_heads_in_images_of_another_size_or_measure(tmp_path, monkeypatch):
    write_celeba(tmp_path)
    before = CelebA(root=tmp_path, masks=True).fingerprint("train")
    monkeypatch.setattr("datamodules.celeba.HEAD", ((89.0, 106.0), (50.0, 74.0)))
    assert CelebA(root=tmp_path, masks=True).fingerprint("train") != before
    save(tmp_path / "celeba" / "img_align_celeba" / "000001.jpg", 0, (180, 218))
    with pytest.raises(
        DataError, match=r"000001.jpg is 180x218, not 178x218, so where its head is"
    ):
        CelebA(root=tmp_path, masks=True).images("train")


def test_celeba_names_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="crop must be 178, 148 or 108"):
        CelebA(crop=128)
    with pytest.raises(FileNotFoundError, match="img_align_celeba, which is missing"):
        CelebA(root=tmp_path, download=False).splits  # noqa: B018
    write_celeba(tmp_path)
    path = tmp_path / "celeba" / "list_attr_celeba.txt"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt should list 40 attributes"):
        CelebA(root=tmp_path).splits  # noqa: B018


def write_lmdb(path, count=20):
    lmdb = pytest.importorskip("lmdb")
    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=2**24) as environment, environment.begin(write=True) as all_:
        for k in range(count):
            buffer = io.BytesIO()
            Image.new("RGB", (12, 8), (k,) * 3).save(buffer, "PNG")
            all_.put(f"{k:03}".encode(), buffer.getvalue())
    (path / "lock.mdb").unlink()


def test_lsun_holds_out_what_it_has_no_file_for(tmp_path):
    write_lmdb(tmp_path / "lsun" / "church_train_lmdb")
    data = LSUN("church", root=tmp_path, size=4)
    assert [len(part) for part in data.splits[:3]] == [16, 2, 2]
    assert sorted(sum(map(levels, data.splits[:3]), [])) == list(range(20))
    write_lmdb(tmp_path / "lsun" / "church_val_lmdb", 3)
    data = LSUN("church", root=tmp_path, size=4)
    assert [len(part) for part in data.splits[:3]] == [18, 3, 2]
    assert levels(data.splits.val) == [0, 1, 2]
    assert not (tmp_path / "lsun" / "church_train_lmdb" / "lock.mdb").exists()


def test_lsun_is_read_by_forked_and_by_spawned_workers(tmp_path):
    write_lmdb(tmp_path / "lsun" / "church_train_lmdb")
    data = LSUN("church", root=tmp_path, size=4, in_memory=False, num_workers=2)
    expected = levels(data.splits.train)  # opened here, before the workers are made
    served = torch.cat([images for images, _ in data.loader("train")])
    assert served[:, 0, 0, 0].tolist() == expected
    copy = pickle.loads(pickle.dumps(data.splits.train))  # what a spawned worker is given
    assert levels(copy) == expected
    (run,) = fit(
        LSUN("church", root=tmp_path, size=4, batch_size=8, in_memory=False, num_workers=2),
        max_epochs=2,
    )
    assert [len(batch) for batch in run["seen"]] == [8] * 4


def test_lsun_names_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="bedroom_train_lmdb, which is missing; download"):
        LSUN(root=tmp_path).splits  # noqa: B018
    pytest.importorskip("lmdb")
    path = tmp_path / "lsun" / "bedroom_train_lmdb"
    path.mkdir(parents=True)
    (path / "data.mdb").write_bytes(b"x" * 10_000)
    with pytest.raises(DataError, match="bedroom_train_lmdb is no LMDB that can be read"):
        LSUN(root=tmp_path).splits  # noqa: B018


@pytest.mark.data
def test_real_counts(real_data):
    celeba = CelebA(root=real_data)
    assert [len(part) for part in celeba.splits[:3]] == [2_259, 250, 250]
    male, smiling = (celeba.label_names.index(name) for name in ("Male", "Smiling"))
    share = celeba.splits.train.labels.double().mean(0)
    assert round(float(share[male]), 3) == 0.444
    assert round(float(share[smiling]), 3) == 0.489
    assert celeba.splits.test.labels.eq(-1).all()
    lsun = LSUN(root=real_data)
    assert [len(part) for part in lsun.splits[:3]] == [156, 19, 19]
    facades = ImageFolder(os.path.join(real_data, "facades"))
    assert [len(part) for part in facades.splits[:3]] == [120, 36, 36]


@pytest.mark.data
def test_the_real_lmdb_and_its_folder_hold_the_same_images(real_data):
    lmdb, folder = LSUN(root=real_data), ImageFolder(real_data / "lsun" / "folder")
    parts = [data.splits for data in (lmdb, folder)]
    first, second = (
        sorted(
            bytes(image.numpy()) for part in three[:3] for image in part[torch.arange(len(part))][0]
        )
        for three in parts
    )
    assert first == second
