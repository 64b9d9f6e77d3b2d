"""Run folders as `fit` leaves them, without training."""

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from lightning_gen.cli.configs import read_config

__all__ = ["BOUND", "DISTANCE", "config_of", "make_run", "read_config", "score", "three_models"]
DISTANCE = "fid@2000:digits-08444c34:digits-train-1297:6555043cdb7f"
BOUND = "bpd:bound:digits-val-200:8aca62246ae0:dequantisation-none"
NETWORKS = "lightning_gen.networks"


def config_of(model="GAN", family="DCGAN", seed=1, lr=2e-4, **trainer):
    """A resolved config, as short as tells models apart."""
    networks = {
        name.lower(): {"class_path": f"{NETWORKS}.{family}{name}", "init_args": {"width": 64}}
        for name in ("Generator", "Discriminator")
    }
    rates = {
        f"{name}_optimizer": {
            "class_path": "lightning_gen.optimizers.FusedAdam",
            "init_args": {"lr": lr},
        }
        for name in networks
    }
    return {
        "seed_everything": seed,
        "trainer": {"max_steps": 100, "accelerator": "auto", **trainer},
        "model": {
            "class_path": f"lightning_gen.models.gans.{model}",
            "init_args": {**networks, **rates},
        },
        "data": {"class_path": "datamodules.Digits", "init_args": {"size": 28, "batch_size": 64}},
        "trackers": ["csv"],
    }


def score(value, protocol=DISTANCE, **more):
    return {"value": value, "protocol": protocol, "n": 2000, "images_seen": 6400, **more}


def make_run(folder, scores=None, config=None, steps=5, pictures=1, finished=True, images=6400):
    """A run folder with scores, `{key: value or score}`."""
    folder = Path(folder)
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config or config_of()))
    scores = {
        k: v if isinstance(v, dict) else score(v, images_seen=images)
        for k, v in (scores or {}).items()
    }
    budget = {
        "images_seen": images,
        "steps": 100,
        "epochs": 5,
        "parameters": 570432,
        "processes": 1,
    }
    result = {"scores": scores, "budget": budget, **({"finished": 100} if finished else {})}
    (folder / "result.json").write_text(json.dumps(result))
    hardware = {"cpu": "x86_64", "cpu_count": 2, "gpus": [], "device": "cpu"}
    (folder / "environment.json").write_text(
        json.dumps({"command": ["run.py"], "hardware": hardware})
    )
    lines = ["step,images_seen,generator/loss,images_per_second,fid/digits@2000"]
    for k in range(1, steps + 1):
        seen = images * k // steps
        lines.append(f"{100 * k // steps},{seen},{1 / k},,")
        lines.append(f"{100 * k // steps},{seen},,3200.0,{100 / k}")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    for k in range(pictures):
        levels = np.full((40, 40, 3), 40 * k, dtype=np.uint8)
        Image.fromarray(levels).save(folder / "samples" / f"{100 * k:08d}.png")
    return folder


def three_models(root, seeds=(1, 2, 3)):
    """Three models with some seeds each: two that differ by chance and one that is worse."""
    for seed in seeds:
        for name, level in (("DCGAN", 10.0), ("MLP", 10.3), ("ResNet", 80.0)):
            value = level + float(np.random.default_rng([seed, ord(name[0])]).normal())
            config = config_of(family=name, seed=seed)
            make_run(root / name.lower() / f"seed-{seed}", {"fid/digits@2000": value}, config)
    return root
