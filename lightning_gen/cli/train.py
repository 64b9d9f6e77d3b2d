"""`fit`, `validate` and `test`: LightningCLI, with a run folder and what every run should have."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

import callbacks as parts
from lightning_gen.capabilities import Likelihood
from lightning_gen.files import write_text
from lightning_gen.tracking import record

from .checkpoints import read_checkpoint
from .classes import class_error, import_classes
from .run_folder import choose_run_folder, existing_run_folder, forget_failed_start
from .trackers import Tracker, is_first, loggers


class GenerativeCLI(LightningCLI):
    """`fit`, `validate` and `test` of any model on any data."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {name: LightningCLI.subcommands()[name] for name in ("fit", "validate", "test")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run_dir",
            type=str | None,
            default=None,
            help="Folder of the run; by default a new one, runs/<data>-<model>/<id>.",
        )
        parser.add_argument(
            "--checkpoint_every",
            type=int | None,
            default=None,
            help="Write RUN/checkpoints/last.ckpt every so many global steps; by default each epoch.",
        )
        parser.add_argument(
            "--trackers",
            type=list[Tracker],
            default=["csv", "tensorboard", "wandb"],
            help="Where values are logged. W&B is offline unless WANDB_API_KEY or WANDB_MODE=online is set.",
        )

    def _parse_ckpt_path(self) -> None:
        """Leaves the configuration as it is, where Lightning's would take the checkpoint's model."""

    def before_instantiate_classes(self) -> None:
        """Finds the run folder and the checkpoint, which must be of the model that is configured."""
        config = self.config[self.config.subcommand]
        path = config.get("ckpt_path")
        if self.config.subcommand == "fit":
            self.run_dir = choose_run_folder(config, resuming=path is not None)
        else:
            self.run_dir = existing_run_folder(config, path)
        if path == "last":
            path = str(self.run_dir / "checkpoints" / "last.ckpt")
        self.resumed_at = None if path is None else _step_of(path, config.model.class_path)
        config.ckpt_path = path

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        arguments = self.config[self.subcommand]
        fitting = self.subcommand == "fit"
        given = _listed(config.get("callbacks"))
        extra: list[Callback] = [parts.Progress()]
        if fitting:
            extra = default_callbacks(self.run_dir, arguments.checkpoint_every)
        if isinstance(self.model, Likelihood):
            extra.append(parts.BitsPerDim())
        extra = [c for c in extra if not any(type(c) is type(g) for g in given)]
        config["callbacks"] = [*given, *extra]
        config["default_root_dir"] = str(self.run_dir)
        if config.get("logger") is None:
            config["logger"] = (
                loggers(self.run_dir, arguments.trackers, self.resumed_at) if fitting else False
            )
        config["plugins"] = [*_listed(config.get("plugins")), parts.AtomicCheckpoints()]
        return super()._instantiate_trainer(config, callbacks)

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except SystemExit:
            if not self.trainer.interrupted:
                raise
            last = self.run_dir / "checkpoints" / "last.ckpt"
            how = f"; go on with --run_dir {self.run_dir} --ckpt_path last" if last.exists() else ""
            raise KeyboardInterrupt(
                f"interrupted at step {self.trainer.global_step}{how}"
            ) from None

    def before_fit(self) -> None:
        if is_first():
            self._dump_config()
            own = ("config", "run_dir", "ckpt_path", "weights_only")
            content = {key: value for key, value in self.config_dump.items() if key not in own}
            write_text(self.run_dir / "config.yaml", yaml.safe_dump(content, sort_keys=False))
            sizes = ", ".join(
                f"{name} {sum(p.numel() for p in part.parameters()):,}"
                for name, part in self.model.named_children()
                if name != "averages"
            )
            print(f"run folder   {self.run_dir}")
            print(f"model        {type(self.model).__name__} ({sizes} parameters)", flush=True)

    def after_fit(self) -> None:
        record(self.trainer, {})  # the budget, even of a run without scores
        if is_first():
            for name in (
                "samples/latest.png",
                "curves.png",
                "result.json",
                "checkpoints/last.ckpt",
            ):
                if (self.run_dir / name).exists():
                    print(f"{name.split('/')[0].split('.')[0]:12} {self.run_dir / name}")

    def after_validate(self) -> None:
        print_scores(self.trainer, self.run_dir)

    def after_test(self) -> None:
        print_scores(self.trainer, self.run_dir)


def run_training(arguments: Sequence[str]) -> None:
    """Runs `fit`, `validate` or `test`.

    Raises:
        ValueError: If the arguments or the configuration have a mistake, said in one sentence.
    """
    quieten()
    import_classes()
    parser = {"exit_on_error": False, "description": __doc__}
    before, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        GenerativeCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={
                "use_distributed_sampler": False,
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
            },
            parser_kwargs=parser,
        )
    except Exception as error:
        forget_failed_start()
        raise class_error(error) from error
    finally:
        sys.argv = before


def print_scores(trainer: Trainer, folder: Path) -> None:
    """Says on the first process what was found, and where it is kept."""
    if trainer.is_global_zero:
        for key, value in sorted(trainer.callback_metrics.items()):
            print(f"{key:28} {value.item():.4f}")
        if (folder / "result.json").exists():
            print(f"result       {folder / 'result.json'}")


def default_callbacks(run_dir: Path, checkpoint_every: int | None) -> list[Callback]:
    """What every run has; one that a config lists itself takes the place of its default."""
    return [
        parts.Progress(),
        parts.Environment(),
        parts.Throughput(),
        parts.NaNGuard(),
        parts.LastCheckpoint(run_dir / "checkpoints", checkpoint_every),
        parts.Curves(),
    ]


def quieten() -> None:
    """Leaves out what the libraries say on every run and nobody can act on."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of Lightning's own calls
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*no pre-optimization state was saved.*")
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
    warnings.filterwarnings("ignore", message=".*Found .* module.s. in eval mode.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings(
        "ignore", message=".*The number of training batches.*smaller than the logging.*"
    )
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings(
        "ignore", message=".*ended before the epoch ended and your dataloader.*"
    )


def _step_of(path: str, class_path: str) -> int:
    """The step of a checkpoint, which must be of the model that is configured."""
    content = read_checkpoint(path)
    found = content["hyper_parameters"]["_class_path"].split(".")[-1]
    if found != class_path.split(".")[-1]:
        raise ValueError(
            f"{path} is a checkpoint of {found}, but the config has {class_path.split('.')[-1]}"
        )
    return content["global_step"]


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
