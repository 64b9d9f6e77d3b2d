"""Checkpoints, folders and choices of the tools that are wrong. A small run is in the folder `run`."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from . import SMALL, Bad, Code, put

LAST = Path("run", "checkpoints", "last.ckpt")
ON = "fit --config=small.yaml --run_dir=run --ckpt_path=last --trainer.max_steps=2"


def holding(content: Any) -> Callable[[Path], object]:
    """Writes a checkpoint of any content."""
    return lambda _: torch.save(content, "x.ckpt")


def without(*names: str) -> Callable[[Path], object]:
    """Writes the checkpoint of the run less some entries, as `x.ckpt` and in the run."""
    return altered(lambda content: [content.pop(name) for name in names])


def altered(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Writes the checkpoint of the run with a change, as `x.ckpt` and in the run."""

    def write(folder: Path) -> None:
        content = torch.load(LAST, weights_only=True)
        change(content)
        torch.save(content, LAST)
        torch.save(content, "x.ckpt")
        put("small.yaml", SMALL)

    return write


def argument(path: str, value: Any) -> Callable[[Path], object]:
    """Writes the checkpoint with another argument of the model, such as `generator.widths`."""

    def change(content: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        place = content["hyper_parameters"]
        for parent in parents:
            place = place[parent]["init_args"]
        place[last] = value

    return altered(change)


def bytes_of(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Writes the checkpoint with other bytes."""
    return lambda _: put("x.ckpt", change(LAST.read_bytes()))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def zipped(_: Path) -> None:
    with zipfile.ZipFile("x.ckpt", "w") as archive:
        archive.writestr("notes.txt", "no checkpoint")


def sampled(files: Callable[[Path], object], says: str) -> Bad:
    return Bad("sample --checkpoint=x.ckpt", says, files)


CHECKPOINTS = {
    "missing checkpoint": Bad("sample --checkpoint=run/checkpoints/lst.ckpt", "there is no checkpoint run/checkpoints/lst.ckpt; did you mean run/checkpoints/last.ckpt?"),
    "checkpoint in no folder": Bad("evaluate --checkpoint=no/such.ckpt", "there is no checkpoint no/such.ckpt; name a file, as RUN/checkpoints/last.ckpt"),
    "folder for a checkpoint": Bad("sample --checkpoint=run", "there is no checkpoint run; name a file, as RUN/checkpoints/last.ckpt"),
    "empty checkpoint": sampled(lambda _: put("x.ckpt", b""), "x.ckpt is damaged: it is empty"),
    "zeros for a checkpoint": sampled(lambda _: put("x.ckpt", bytes(999)), "x.ckpt is damaged: it is empty or begins with zeros"),
    "half a checkpoint": sampled(bytes_of(lambda data: data[: len(data) // 2]), "x.ckpt is damaged"),
    "longer checkpoint": sampled(bytes_of(lambda data: data + b"more"), "x.ckpt is damaged"),
    "flipped bit": sampled(bytes_of(flipped), "x.ckpt is damaged: its bytes are not those that were written"),
    "text for a checkpoint": sampled(lambda _: put("x.ckpt", "weights: 5\n"), "x.ckpt is not a checkpoint"),
    "config for a checkpoint": Bad("sample --checkpoint=run/config.yaml", "run/config.yaml is not a checkpoint"),
    "picture for a checkpoint": sampled(lambda _: Image.new("L", (8, 8)).save("x.ckpt", "PNG"), "x.ckpt is not a checkpoint"),
    "zip for a checkpoint": sampled(zipped, "x.ckpt"),
    "pickle with code": sampled(lambda _: put("x.ckpt", pickle.dumps(Code())), "x.ckpt"),
    "checkpoint with code": sampled(holding({"state_dict": Code()}), "x.ckpt wants to run code: it names"),
    "module for a checkpoint": sampled(holding(torch.nn.Linear(1, 1)), "x.ckpt wants to run code: it names torch.nn"),
    "list for a checkpoint": sampled(holding([1, 2]), "x.ckpt is not a checkpoint: it holds a list"),
    "tensor for a checkpoint": sampled(holding(torch.zeros(3)), "x.ckpt is not a checkpoint: it holds a Tensor"),
    "weights alone": sampled(holding({"layer.weight": torch.zeros(3)}), "x.ckpt was not written by `run.py fit`"),
    "without a model": sampled(without("hyper_parameters"), "x.ckpt was not written by `run.py fit` .. RUN/checkpoints/last.ckpt"),
    "model that is a list": sampled(altered(lambda c: c.update(hyper_parameters=[1])), "x.ckpt was not written by `run.py fit`"),
    "without weights": sampled(without("state_dict"), "x.ckpt has no state_dict, so it was changed; take another"),
    "without a step": sampled(without("global_step"), "x.ckpt has no global_step, so it was changed; take another"),
    "unknown argument of its model": sampled(argument("colour", 5), "x.ckpt: GAN has no argument colour"),
    "without a network": sampled(argument("generator", None), "x.ckpt: GAN needs generator: set it in model.init_args"),
    "argument of another kind": sampled(argument("n_critic", "many"), "x.ckpt: model.n_critic must be an integer, got many"),
    "argument out of range": sampled(argument("n_critic", 0), "x.ckpt: n_critic must be at least 1, got 0"),
    "network of another size": sampled(argument("generator.widths", [9]), "x.ckpt: the checkpoint's weights do not fit .. generator"),
    "network of no size": sampled(argument("generator.widths", [0]), "x.ckpt: widths must be one or more sizes of at least 1, got [0]"),
    "network of enormous size": sampled(argument("generator.widths", [10**12]), "there is not enough memory .. it is what x.ckpt asks for"),
    "unknown class": sampled(argument("_class_path", "lightning_gen.models.gans.GANN"), "x.ckpt .. GANN"),
    "foreign class": sampled(argument("_class_path", "os.system"), "x.ckpt .. os.system, which is not a class of the platform; a checkpoint can name no other"),
    "class that is no model": sampled(argument("_class_path", "datamodules.Digits"), "x.ckpt: model must be the class_path of a LightningModule"),
    "weight that is missing": sampled(altered(lambda c: c["state_dict"].pop("generator.layers.0.weight")), "x.ckpt: the checkpoint's weights do not fit .. generator.layers.0.weight"),
    "weight that is a number": sampled(altered(lambda c: c["state_dict"].update({"generator.layers.0.weight": 5})), "the state_dict of x.ckpt is not of tensors, so it was changed; take another"),
    "weights of strange names": sampled(altered(lambda c: c["state_dict"].update({5: torch.zeros(1)})), "the state_dict of x.ckpt is not of tensors, so it was changed; take another"),
    "another model": Bad(f"{ON} --model=LSGAN", "last.ckpt is a checkpoint of GAN, but the config has LSGAN"),
    "another width": Bad(f"{ON} --model.generator.widths=[9]", "going on from run/checkpoints/last.ckpt would not be the same run .. widths was [8] and is [9]: set it back, or add --allow_changes true"),
    "another width, allowed": Bad(f"{ON} --model.generator.widths=[9] --allow_changes=true", "the checkpoint's weights do not fit the configured networks, starting with generator .. give the config"),
    "another rate": Bad(f"{ON} --seed_everything=7", "seed_everything was 0 and is 7: set it back, or add --allow_changes true"),
    "without progress": Bad(ON, "last.ckpt has no loops and no optimizer_states, so it was changed; take another", without("loops", "optimizer_states")),
    "without loops of fit": Bad(ON, "last.ckpt has no fit_loop, so it was changed", altered(lambda c: c.update(loops={}))),
    "recipe of another kind": Bad(ON, "last.ckpt has no recipe, so it was changed", altered(lambda c: c.update(recipe=[1]))),
    "optimizers of another kind": Bad(ON, "last.ckpt has no param_groups, so it was changed; take another", altered(lambda c: c.update(optimizer_states=[{"state": {}}]))),
    "loops of another kind": Bad(ON, "last.ckpt has no epoch_loop.batch_progress and no epoch_progress, so it was changed", altered(lambda c: c["loops"].update(fit_loop={"epoch_loop": 5}))),
    "no game": Bad(ON, "does not say how far the game of GAN is .. take another", altered(lambda c: c["game"].pop("moves"))),
    "one optimizer": Bad(ON, "not all of its optimizers: it was changed .. take another", altered(lambda c: c["optimizer_states"].pop())),
    "no schedules": Bad(ON, "last.ckpt has no lr_schedulers, so it was changed; take another", without("lr_schedulers")),
    "logs of another kind": Bad(ON, "last.ckpt has no logged, so it was changed; take another", altered(lambda c: c.update(logged=5))),
    "position of another kind": Bad(ON, "does not say how many images were consumed: it was changed; take another", altered(lambda c: c.update(Digits=5))),
    "file that is no script": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --extractor=run/config.yaml --allow-any-class", "run/config.yaml is no TorchScript file: write one by torch.jit.save"),
    "no position": Bad(ON, "does not say how many images were consumed: it was changed; take another", altered(lambda c: c.update({k: {} for k in c if k == "Digits"}))),
    "validate on nothing": Bad("validate --config=small.yaml --ckpt_path=no.ckpt", "there is no checkpoint no.ckpt; name a file, as RUN/checkpoints/last.ckpt"),
    "test on a text": Bad("test --config=small.yaml --ckpt_path=small.yaml", "small.yaml is not a checkpoint"),
    "test on other weights": Bad("test --config=small.yaml --ckpt_path=run/checkpoints/last.ckpt --model.generator.widths=[9]", "weights do not fit the configured networks .. give the config that the checkpoint was made with"),
    "picture of nothing": Bad("sample --checkpoint=run/checkpoints/last.ckpt --count=0", "count and batch_size must be at least 1, got 0"),
    "negative picture": Bad("sample --checkpoint=run/checkpoints/last.ckpt --count=-3", "count and batch_size must be at least 1, got -3"),
    "enormous picture": Bad("sample --checkpoint=run/checkpoints/last.ckpt --count=99999999", "count must be at most 4,194,304 for one picture of these, got 99,999,999"),
    "picture of many words": Bad("sample --checkpoint=run/checkpoints/last.ckpt --count=many", "count must be an integer, got many; see `run.py sample --help`"),
    "picture of no kind": Bad("sample --checkpoint=run/checkpoints/last.ckpt --output=x.txt", "a picture's name ends in .png, .jpg, .jpeg, got x.txt"),
    "picture in a file": Bad("sample --checkpoint=run/checkpoints/last.ckpt --output=run/config.yaml/x.png", "run/config.yaml"),
    "picture for a folder": Bad("sample --checkpoint=run/checkpoints/last.ckpt --output=x.png", "x.png", lambda _: Path("x.png").mkdir()),
    "sample of no checkpoint": Bad("sample", "checkpoint must be given; see `run.py sample --help`"),
    "unknown metric": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fod", "there is no metric fod; did you mean fid?"),
    "metric of another model": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=bpd", "GAN can have none of bpd; it has fid"),
    "score of nothing": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --count=0", "count must be at least 2 samples, got 0"),
    "score of a negative number": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --count=-5", "count must be at least 2 samples, got -5"),
    "unknown split": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --split=tset", "a split is train, val or test, got tset"),
    "unknown data": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --data=digitz", "there is no data set digitz; did you mean digits?"),
    "unknown features": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --extractor=inception", "no features are called inception: give inception-tf1, digits"),
    "features without weights": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --extractor=torchvision/resnet18", "torchvision/resnet18 need a file with weights: set `weights`"),
    "features of damaged weights": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --extractor=torchvision/resnet18 --weights=x.safetensors", "x.safetensors holds no weights that can be read; give a state_dict", lambda _: put("x.safetensors", b"no tensors at all")),
    "features of an unknown backbone": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --extractor=torchvision/resnet51 --weights=x.pth", "torchvision has no classifier called resnet51; did you mean resnet"),
    "features in code": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --extractor=run/config.yaml", "extractor names run/config.yaml, which is code .. add --allow-any-class"),
    "checkpoint without its run": Bad("evaluate --checkpoint=x.ckpt --metrics=fid", "there is no .. config.yaml, so say which data: --data mnist", altered(lambda _: None)),
    "run without a config": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid", "config.yaml cannot be read .. mend it", lambda _: put("run/config.yaml", "model: [")),
    "run without data": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid", "config.yaml does not say the data of the run; say which: --data mnist", lambda _: put("run/config.yaml", "model: 5\n")),
    "run of unknown data": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid", "there is no class Digitz for data; did you mean Digits?", lambda _: put("run/config.yaml", "data: {class_path: Digitz}\n")),
    "data of another shape": Bad("evaluate --checkpoint=run/checkpoints/last.ckpt --metrics=fid --data=digits --count=4", "the model makes images of shape (1, 8, 8) but the data has (1, 28, 28)"),
    "unknown network": Bad("export --checkpoint=run/checkpoints/last.ckpt --network=generatr", "GAN has no network generatr; did you mean generator?"),
    "network of another model": Bad("export --checkpoint=run/checkpoints/last.ckpt --network=encoder", "GAN has no network encoder; there are discriminator, generator"),
    "export into a file": Bad("export --checkpoint=run/checkpoints/last.ckpt --output=run/config.yaml", "run/config.yaml"),
    "export of a text": Bad("export --checkpoint=run/config.yaml", "run/config.yaml is not a checkpoint"),
    "unknown weights": Bad("export --checkpoint=run/checkpoints/last.ckpt --weights=best", "weights must be one of averaged, last, got best"),
    "run folder that is a file": Bad("fit --config=small.yaml --run_dir=small.yaml", "--run_dir small.yaml is a file; name a folder"),
    "run folder below a file": Bad("fit --config=small.yaml --run_dir=small.yaml/run", "small.yaml"),
    "run folder without a name": Bad("fit --config=small.yaml --run_dir=", "--run_dir is empty; name a folder, or leave it out for a new one"),
    "run folder that cannot be": Bad("fit --config=small.yaml --run_dir=/proc/run", "/proc/run"),
    "runs that are a file": Bad("fit --config=small.yaml", "runs", lambda _: (put("runs", ""), put("small.yaml", SMALL))),
    "a run already": Bad("fit --config=small.yaml --run_dir=run", "run holds a run already: add --run_dir run --ckpt_path last to go on with it, or choose another"),
    "going on nowhere": Bad("fit --config=small.yaml --ckpt_path=last", "--ckpt_path goes on with a run, so --run_dir must name its folder"),
    "going on with nothing": Bad("fit --config=small.yaml --run_dir=other --ckpt_path=last", "there is no checkpoint in other/checkpoints"),
    "going on with damage": Bad("fit --config=small.yaml --run_dir=other --ckpt_path=last", "no checkpoint in other/checkpoints is whole: .. last.ckpt", lambda _: (put("other/checkpoints/last.ckpt", "x"), put("small.yaml", SMALL))),
    "going on by itself with damage": Bad("fit --config=small.yaml --run_dir=other --ckpt_path=auto", "no checkpoint in other/checkpoints is whole: .. last.ckpt", lambda _: (put("other/checkpoints/last.ckpt", "x"), put("small.yaml", SMALL))),
    "validation of nothing": Bad("validate --config=small.yaml --ckpt_path=last --run_dir=other", "there is no checkpoint in other/checkpoints"),
}  # fmt: skip
