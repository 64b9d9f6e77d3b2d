"""A long run takes no more memory and holds no more files than a short one."""

import gc
import json
import os
import resource

import pytest
import yaml

from lightning_gen.cli import main

from .runs import CONFIGS, begun, ended

pytestmark = pytest.mark.slow
BATCHES, WARM = 2200, 200
PAGE = resource.getpagesize()


def resident():
    """Bytes of memory that this process holds."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


def measured(config, run, marks, *arguments):
    """Memory and open files of a run of `fit` at some of its steps."""

    def child():
        from callbacks import LastCheckpoint

        before, found = LastCheckpoint.on_train_batch_end, []

        def measuring(self, trainer, *rest):
            before(self, trainer, *rest)
            if trainer.global_step in marks:
                found.append((resident(), len(os.listdir("/proc/self/fd"))))

        LastCheckpoint.on_train_batch_end = measuring
        code = main(["fit", f"--config={config}", f"--run_dir={run}", *arguments])
        run.with_suffix(".json").write_text(json.dumps(found))
        return code

    log = run.with_suffix(".log")
    assert ended(begun(child, log)) == 0, log.read_text()
    return json.loads(run.with_suffix(".json").read_text())


def small(name, folder, **trainer):
    """A config of the repository with narrow networks, which looks at its samples now and then."""
    (source,) = (path for path in CONFIGS if path.stem == name)
    content = yaml.safe_load(source.read_text())
    for part in content["model"]["init_args"].values():
        if "widths" in getattr(part, "get", lambda _, other: other)("init_args", {}):
            part["init_args"]["widths"] = [16]
    looks = [{"class_path": "SampleGrid"}]
    if name == "gan":
        looks.append({"class_path": "FID", "init_args": {"n": 20, "extractor": "digits"}})
    content["data"]["init_args"]["batch_size"] = 8
    often = {"check_val_every_n_epoch": 1, "limit_val_batches": 1, "log_every_n_steps": 10}
    steps = {"accelerator": "cpu", "max_epochs": -1, "callbacks": looks}
    content["trainer"] = {**often, **steps, **trainer}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("name", ["gan", "vae"])
def test_memory_and_files_do_not_grow_with_batches(name, tmp_path, record_property):
    config, marks = small(name, tmp_path, max_steps=BATCHES), range(WARM, BATCHES + 1, 200)
    found = measured(config, tmp_path / "run", marks, "--trackers=[csv,tensorboard]")
    record_property("bytes and files", found)
    print(found)
    constant(found)


def test_memory_and_files_do_not_grow_with_checkpoints(tmp_path):
    config = small("gan", tmp_path, max_steps=40)
    more = ["--checkpoint_every=1", "--trackers=[csv,tensorboard]"]
    found = measured(config, tmp_path / "run", range(10, 41, 5), *more)
    print(found)
    constant(found)


def constant(found):
    """Asserts that memory stays within a twentieth of what it first was, and files as many."""
    (first, _), *_ = found
    assert max(size for size, _ in found) < 1.05 * first, found
    files = [count for _, count in found]
    assert max(files) <= min(files) + 1, found  # TensorBoard's thread opens its own now and then
