"""The package as a whole: what importing it loads, and building each data set from a config."""

import subprocess
import sys

import pytest
from jsonargparse import ArgumentParser

from datamodules import DATASETS, ImageData

from .test_photographs import save


def test_importing_is_light():
    code = """
import sys
import lightning_gen._torchvision, pytorch_lightning, torchvision
before = set(sys.modules)
import datamodules
heavy = {"sklearn", "h5py", "lmdb", "pandas", "matplotlib"} & (set(sys.modules) - before)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_can_be_built_from_a_config(name, tmp_path):
    save(tmp_path / "image.png")
    parser = ArgumentParser()
    parser.add_subclass_arguments(ImageData, "data")
    path = f"{DATASETS[name].__module__}.{DATASETS[name].__name__}"
    arguments = [f"--data={path}", f"--data.root={tmp_path}", "--data.batch_size=8"]
    data = parser.instantiate_classes(parser.parse_args(arguments)).data
    assert type(data) is DATASETS[name]
    assert data.batch_size == 8
    assert len(data.shape) == 3
    assert data.name == name
