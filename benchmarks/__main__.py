"""python -m benchmarks [NAME ...] [--json]"""

import argparse
import importlib
import inspect
import json
import os
import sys
from collections.abc import Sequence

BENCHMARKS = {
    "step": "a training step of ours over the same algorithm in a bare loop",
    "importance": "bounds of 128 importance samples over their decoder alone",
    "likelihood": "a step of a network of pixels of ours over the same one in a bare loop",
    "textbook": "a step of the GAN of Lightning's documentation over ours",
    "data": "batches of MNIST per second: ours over torchvision's class in a DataLoader",
    "startup": "run.py's answers over importing torch",
    "ema": "averaging weights by a loop over state_dict over our averaging",
    "sampling": "the naive sampler of networks of pixels over the one that keeps what it computed",
    "penalty": "a critic's step with a gradient penalty over one without",
    "processes": "a step of two processes that stay equal over one of two that do not",
    "checkpoints": "writing and reading a checkpoint of 200 MB over plain torch.save and torch.load",
    "frechet": "the Fréchet distance by scipy's sqrtm and by torchmetrics over ours",
    "quality": "scores of samples over their features: time, and memory for 50,000 of each",
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs benchmarks and prints their ratios. A goal that is missed is no error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed as ratios measured in one run: CPU time, one thread, medians of pairs, "
        "or as it says.",
        epilog="\n".join(f"  {name:10}{what}" for name, what in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; by default all, below")
    parser.add_argument("--json", action="store_true", help="print a list of objects instead")
    parser.add_argument(
        "--threads", type=int, default=2, help="of benchmarks that are timed by the clock as well"
    )
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads must be at least 1, got {options.threads}")
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    os.environ.update(dict.fromkeys(THREADS, "1"))  # before numpy and torch look
    found = []
    for name in options.names or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name]}", file=sys.stderr if options.json else sys.stdout)
        run = importlib.import_module(f"benchmarks.{name}").run
        more = (
            {"threads": options.threads} if "threads" in inspect.signature(run).parameters else {}
        )
        for ratio in run(**more):
            found.append({"benchmark": name, **ratio.as_dict()})
            if not options.json:
                print(f"  {ratio}", flush=True)
    if options.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
