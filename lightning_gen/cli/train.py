"""`fit`, `validate` and `test`: LightningCLI, with a run folder and what every run should have."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

import callbacks as parts
from lightning_gen.capabilities import Likelihood
from lightning_gen.checkpoints import newest_checkpoint, read_checkpoint, sweep
from lightning_gen.files import write_text
from lightning_gen.secrets import redact
from lightning_gen.stopping import Stopped
from lightning_gen.tracking import has_finished, record

from . import without_flags
from .allowed import refuse_code
from .checkpoints import require_model, require_progress, unrestored
from .checks import check_shares, check_trainer, refuse_nulls
from .classes import class_error, import_classes
from .cluster import fault, first_to_say, leave_together, plugins, say_who_is_lost
from .configs import check_configs, read_safely
from .quiet import quieten
from .recipe import Recipe, recipe_of, refuse_changes
from .run_folder import (
    choose_run_folder,
    existing_run_folder,
    forget_failed_start,
    hold,
    keep_run_folder,
)
from .trackers import Logged, LogPositions, Tracker, is_first, loggers


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
            "--keep_best",
            type=int,
            default=1,
            help="Keep so many checkpoints with the best scores beside the last one.",
        )
        parser.add_argument(
            "--monitor",
            type=str | None,
            default=None,
            help="The score they are judged by; by default the Frechet distance, else the likelihood.",
        )
        parser.add_argument(
            "--allow_changes",
            type=bool,
            default=False,
            help="Go on from a checkpoint that was made with another model, data or seed than these.",
        )
        parser.add_argument(
            "--trackers",
            type=list[Tracker],
            default=["csv", "tensorboard", "wandb"],
            help="Where values are logged. W&B is offline unless WANDB_API_KEY or WANDB_MODE=online is set.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses sys.argv, which keeps its flags, as Lightning starts further processes with it."""
        arguments = without_flags(sys.argv[1:])
        check_configs(arguments)
        try:
            self.config = parser.parse_args(arguments)
        except ArgumentError as error:
            options = self._subcommand_parsers[arguments[0]]._option_string_actions
            raise class_error(error, options) from error

    def _dump_config(self) -> None:
        super()._dump_config()
        # From here come config.yaml and the hyper-parameters of checkpoints and loggers.
        self.config_dump = redact(self.config_dump)

    def _parse_ckpt_path(self) -> None:
        """Leaves the configuration as it is, where Lightning's would take the checkpoint's model."""

    def before_instantiate_classes(self) -> None:
        """Finds the run folder and the checkpoint, which must be of the model that is configured."""
        config = self.config[self.config.subcommand]
        fitting, path = self.config.subcommand == "fit", config.get("ckpt_path")
        if fitting:
            self.run_dir = choose_run_folder(config, path)
        else:
            self.run_dir = existing_run_folder(config, path)
        self._dump_config()
        refuse_nulls(self.config_dump)
        self.recipe = recipe_of(self.config_dump)
        self.logged: Logged | None = None
        folder = self.run_dir / "checkpoints"
        if path == "auto":
            path = "last" if any(folder.glob("*.ckpt")) else None
        if path is not None:
            if path == "last":
                path, content = newest_checkpoint(folder, quiet=not is_first())
            else:
                content = read_checkpoint(path)
            check_model(content, config.model.class_path, path)
            if fitting:
                require_progress(content, path)
            if fitting and not config.allow_changes:
                refuse_changes(content.get("recipe", {}), self.recipe, path)
            if Path(path).resolve().parent == folder.resolve():
                self.logged = content.get("logged")
        config.ckpt_path = None if path is None else str(path)
        config.weights_only = True

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        arguments = self.config[self.subcommand]
        fitting = self.subcommand == "fit"
        given = _listed(config.get("callbacks"))
        for callback in given:
            refuse_code(getattr(callback, "extractor", None))
        extra: list[Callback] = [parts.Progress()]
        if fitting:
            saving = (arguments.checkpoint_every, arguments.keep_best, arguments.monitor)
            extra = default_callbacks(self.run_dir, *saving)
            extra += [LogPositions(self.logged), Recipe(self.recipe)]
        if isinstance(self.model, Likelihood):
            extra.append(parts.BitsPerDim())
        extra = [c for c in extra if not any(type(c) is type(g) for g in given)]
        config["callbacks"] = [*given, *extra]
        config["default_root_dir"] = str(self.run_dir)
        if config.get("logger") is None:
            config["logger"] = (
                loggers(self.run_dir, arguments.trackers, self.logged) if fitting else False
            )
        config["plugins"] = [*_listed(config.get("plugins")), *plugins()]
        check_trainer(config, self.model)
        trainer = super()._instantiate_trainer(config, callbacks)
        check_shares(trainer, self.datamodule)
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        say_who_is_lost(self._how_to_go_on)
        try:
            super()._run_subcommand(subcommand)
        except Stopped as stop:
            if is_first():
                print(f"{stop}; {self._how_to_go_on()}", file=sys.stderr, flush=True)
            leave_together()
            raise
        except SystemExit:
            if not self.trainer.interrupted:
                raise
            step = self.trainer.global_step
            raise KeyboardInterrupt(f"interrupted at step {step}; {self._how_to_go_on()}") from None
        except Exception as error:
            if self.trainer.global_step:
                keep_run_folder()
            known = fault(error) or unrestored(error, self.trainer.ckpt_path)
            if subcommand == "fit" and (known is not None or self.trainer.global_step):
                (known or error).add_note(self._how_to_go_on(error))
            what = str(error) if known is None else type(known).__name__
            if not first_to_say(what, alone=known is not None):
                (known or error).said = True  # type: ignore[attr-defined]  # for the command line
            if known is None:
                raise
            raise known from error

    def _how_to_go_on(self, error: Exception | None = None) -> str:
        if not self.run_dir.is_dir():
            return "the run folder was removed"
        if not any((self.run_dir / "checkpoints").glob("*.ckpt")):
            return "there is no checkpoint yet"
        # The same run would come to the same numbers.
        change = " --allow_changes true" if isinstance(error, ArithmeticError) else ""
        return f"go on with --run_dir {self.run_dir} --ckpt_path last{change}"

    def before_fit(self) -> None:
        if is_first():
            hold(self.run_dir)
            for folder in (self.run_dir, self.run_dir / "samples"):
                sweep(folder)  # of what a kill cut short
            own = ("config", "run_dir", "ckpt_path", "weights_only", "allow_changes")
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
        if not self.trainer.strategy.broadcast(has_finished(self.trainer)):
            record(self.trainer, {}, finished=True)  # and the budget, even of a run without scores
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

    Arguments:
        arguments: The command and its options, flags included.

    Raises:
        ValueError: If the arguments or the configuration have a mistake, said in one sentence.
    """
    quieten()
    import_classes()
    read_safely()
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
        keep_run_folder()
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


def default_callbacks(
    run_dir: Path, checkpoint_every: int | None, keep_best: int = 1, monitor: str | None = None
) -> list[Callback]:
    """What every run has; one that a config lists itself takes the place of its default."""
    folder = run_dir / "checkpoints"
    return [
        parts.Progress(),
        parts.Environment(),
        parts.Throughput(),
        parts.NaNGuard(),
        parts.Agreement(),
        parts.BestCheckpoints(folder, keep_best, monitor),  # before the one that stops a run
        parts.LastCheckpoint(folder, checkpoint_every),
        parts.Curves(),
    ]


def check_model(content: dict[str, Any], class_path: str, path: str | Path) -> None:
    """Raises ValueError if a checkpoint is not of the model that is configured."""
    found = require_model(content, path).split(".")[-1]
    if found != class_path.split(".")[-1]:
        raise ValueError(
            f"{path} is a checkpoint of {found}, but the config has {class_path.split('.')[-1]}"
        )


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
