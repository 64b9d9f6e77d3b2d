"""The tools: plain functions, each a command. Nothing heavy is imported before it is needed."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from json import dumps
from pathlib import Path
from typing import Any, Literal

SWITCHES = ("--json", "--zoo", "--dry_run", "--strict")  # options that need no value
POSITIONAL = ("data", "compare", "reproduce", "sweep")  # tools whose first argument has no option


def run_tool(command: str, arguments: Sequence[str]) -> None:
    """Calls a tool with arguments that are parsed by its signature and docstring.

    Raises:
        ValueError: If the arguments have a mistake, said in one sentence.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    tool = TOOLS[command]
    parser = ArgumentParser(prog=f"run.py {command}", exit_on_error=False)
    parser.add_function_arguments(tool, as_positional=command in POSITIONAL)
    if command == "compare":
        from .comparing import as_lists

        arguments = list(as_lists(arguments))
    try:
        config = parser.parse_args(_switched(arguments))
    except ArgumentError as error:
        from .classes import class_error

        said = str(class_error(error, parser._option_string_actions, command))
        hint = f"see `run.py {command} --help`"
        raise ValueError(said if hint in said else f"{said}; {hint}") from error
    tool(**vars(parser.instantiate(config)))


def _switched(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the value of each switch that stands alone."""
    following = [*arguments, ""][1:]
    return [
        f"{argument}=true" if argument in SWITCHES and after not in ("true", "false") else argument
        for argument, after in zip(arguments, following, strict=True)
    ]


def models(json: bool = False, zoo: bool = False) -> None:
    """Lists every model: name, family, capabilities, paper and status.

    Args:
        json: Print a list of objects instead of a table.
        zoo: List instead the 92 names of the GAN zoo: what each changes, and which of them are here.
    """
    from .catalogue import COLUMNS, model_lines, read_catalogue, read_zoo, zoo_lines

    rows = read_zoo() if zoo else read_catalogue()
    if json:
        columns = list(rows[0]) if zoo else COLUMNS
        print(dumps([{column: row[column] for column in columns} for row in rows], indent=2))
        return
    print("\n".join(zoo_lines() if zoo else model_lines()))


def data(
    name: str,
    root: str | None = None,
    size: int | None = None,
    on_corrupt: Literal["fail", "skip"] = "fail",
    output: Path = Path("data-report"),
) -> None:
    """Examines a data set: counts, sizes, modes, a contact sheet, duplicates, leakage.

    Args:
        name: The data set: digits, mnist, fashion_mnist, binarized_mnist, stacked_mnist, usps, cifar10, cifar100, celeba, coloured_digits, lsun, or folder.
        root: Where data sets lie, by default $LIGHTNING_GEN_DATA, else ./data; for `folder` the folder of images.
        size: Height and width to serve, where the data set has a choice.
        on_corrupt: Whether to stop at an image that cannot be decoded, or to skip and list all such.
        output: Where the report and the contact sheet go.
    """
    import lightning_gen._torchvision  # noqa: F401
    from datamodules import DATASETS
    from datamodules.doctor import examine
    from lightning_gen.files import make_folder

    from .classes import arguments_of, nearest

    if name not in DATASETS:
        raise ValueError(f"there is no data set {name}; {nearest(name, list(DATASETS))}")
    given: dict[str, Any] = {"root": root, "size": size, "on_corrupt": on_corrupt}
    if size is not None and "size" not in arguments_of(DATASETS[name]):
        raise ValueError(f"{name} has images of one size only; leave --size out")
    module = DATASETS[name](**{key: value for key, value in given.items() if value is not None})
    make_folder(output)  # before what may take minutes
    try:
        examine(module, output)
    except Exception:
        with suppress(OSError):  # it has an older report
            output.rmdir()
        raise
    print((output / "report.txt").read_text(), end="")
    print(f"report       {output}")


def sample(
    checkpoint: Path,
    count: int = 64,
    output: Path = Path("samples.png"),
    seed: int = 0,
    batch_size: int = 64,
    labels: list[int] | None = None,
    temperature: float | None = None,
) -> None:
    """Draws images from a checkpoint into one picture; of a class-conditional model, all classes in turn.

    Args:
        checkpoint: A checkpoint written by `fit`.
        count: How many images.
        output: The picture to write, .png or .jpg.
        seed: The same seed gives the same images.
        batch_size: Images at a time, which does not change them.
        labels: The classes to draw in turn instead of all, such as [3,7].
        temperature: Of models that draw pixel by pixel: below 1 the likely gets likelier.
    """
    from .sampling import sample as run

    run(checkpoint, count, output, seed, batch_size, labels, temperature)


def evaluate(
    checkpoint: Path,
    metrics: str | None = None,
    data: str | None = None,
    root: str | None = None,
    count: int | None = None,
    extractor: str | None = None,
    split: str | None = None,
    importance: int = 250,
    weights: str | None = None,
) -> None:
    """Scores a checkpoint under one protocol; the scores join the run's result.json.

    Args:
        checkpoint: A checkpoint written by `fit`.
        metrics: Which scores, of fid, kid, is (inception score), pr (precision and recall), dc (density
            and coverage), bpd, iw (importance-weighted bound), ais (estimated likelihood) and speed; by
            default all. Those that the model cannot have are left out and said.
        data: A data set's name; by default that of the run's config.yaml.
        root: Where data sets lie; by default as in the run.
        count: How many samples the scores of samples take; by default as in the run, else 10000.
        extractor: Features that samples are scored in: digits, inception-tf1, seeded, or a path; by
            default as in the run, else digits.
        split: The part of the data that is compared with: test, val or train; by default as in the
            run, else test.
        importance: How many samples the importance-weighted bound takes. Those of an earlier
            evaluation are not drawn again.
        weights: A file with the features' weights, where they need one; by default as in the run.
    """
    from .evaluation import evaluate as run

    if count is not None and count < 2:
        raise ValueError(f"count must be at least 2 samples, got {count}")
    if importance < 1:
        raise ValueError(f"importance must be at least 1 sample, got {importance}")

    names = [metric.strip() for metric in metrics.split(",")] if metrics is not None else []
    choices = {"n": count, "extractor": extractor, "weights": weights, "reference_split": split}
    run(checkpoint, names, data, root, importance, **choices)


def probe(
    checkpoint: Path,
    labels: str = "100,1000",
    mode: str = "probe",
    subsets: int = 3,
    data: str | None = None,
    root: str | None = None,
) -> None:
    """Measures what an encoder is worth where few images have labels, beside its controls.

    Args:
        checkpoint: A checkpoint written by `fit`, of a model that encodes.
        labels: How many, such as 100,1000: as many of each class, all of training images.
        mode: probe (linear, on codes, pixels and principal components), finetune (the encoder learns
            on, slowly) or scratch (the same from fresh weights); several with commas between them.
        subsets: How many times, with other labels each.
        data: A data set's name; by default that of the run's config.yaml.
        root: Where data sets lie; by default as in the run.
    """
    from .probing import probe as run

    run(checkpoint, labels.split(","), mode.split(","), subsets, data, root)


def export(
    checkpoint: Path,
    network: str | None = None,
    output: Path = Path("export"),
    weights: Literal["averaged", "last"] = "averaged",
) -> None:
    """Writes networks of a checkpoint as NAME.safetensors and NAME.json, to be used without Lightning.

    `lightning_gen.export.load_network` reads them.

    Args:
        checkpoint: A checkpoint written by `fit`.
        network: Which networks, such as generator or encoder,decoder; by default all of the model.
        output: The folder to write them into.
        weights: The averaged weights where the model keeps them, or the last ones of training.
    """
    from .exporting import export as run

    names = [name.strip() for name in network.split(",")] if network else []
    run(checkpoint, names, output, averaged=weights == "averaged")


def reproduce(
    suite: str,
    scale: str = "short",
    output: Path = Path("runs/suites"),
    data: str | None = None,
    engine: str = "here",
    engine_options: dict[str, Any] | None = None,
    results: Path = Path("docs/results"),
    dry_run: bool = False,
) -> None:
    """Reproduces a published table: says the cost, makes the runs that are missing, judges them.

    The same command goes on where it was stopped. The exit code is 3 if a row does not pass.

    Args:
        suite: A name in benchmarks/suites, or a .yaml file.
        scale: How large: smoke, short or full.
        output: Where the runs go.
        data: Where data sets lie; by default $LIGHTNING_GEN_DATA, else ./data.
        engine: here, slurm (by submitit) or ray.
        engine_options: For here {jobs: 2}, how many runs at a time; for slurm as submitit takes them,
            such as {gpus_per_node: 1}; for ray as ray.remote does.
        results: Where the table goes, as SUITE.md and SUITE.json.
        dry_run: Only say what would be run and what it costs.
    """
    from .reproducing import reproduce as run

    run(suite, scale, output, data, engine, engine_options or {}, results, dry_run)


def sweep(
    file: Path,
    trials: int | None = None,
    output: Path = Path("runs/sweeps"),
    wandb: Path | None = None,
) -> None:
    """Searches settings of a config for the best score, by grid, at random or by TPE.

    The same command goes on where it was stopped.

    Args:
        file: A sweep, such as configs/sweeps/digits-gan.yaml.
        trials: How many, by default as the file says.
        output: Where the trials go, each a run, beside the study in SQLite.
        wandb: Only write the sweep as `wandb sweep` takes it, into this file.
    """
    from .sweeping import sweep as run

    run(file, trials, output, wandb)


def compare(
    runs: list[str],
    output: list[Path] | None = None,
    by: str = "model",
    baseline: str | None = None,
    strict: bool = False,
) -> None:
    """Compares runs: means with intervals over seeds, differences, curves, samples, settings.

    Args:
        runs: Run folders, folders of them, patterns, or wandb://entity/project[/run].
        output: A report to write, .html, .md, .csv or .tex, or a folder for one of each; may be given
            several times. By default the table is printed.
        by: What is a group: model (all settings but the seed), class, run, or settings such as data.
        baseline: The group that others are compared with; by default the best of each score.
        strict: Refuse to compare runs with scores under different protocols.
    """
    from .comparing import compare as run

    run(runs, output or [], by, baseline, strict)


TOOLS: dict[str, Callable[..., None]] = {
    "models": models,
    "data": data,
    "sample": sample,
    "evaluate": evaluate,
    "probe": probe,
    "export": export,
    "compare": compare,
    "reproduce": reproduce,
    "sweep": sweep,
}
