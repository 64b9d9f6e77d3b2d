"""What of how scores were measured tells two apart."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence

from lightning_gen.scores import family

ASKED = {  # what `evaluate` calls a metric that has another name in keys
    "fid_inf": "fid",
    "is_all": "is",
    "precision": "pr",
    "recall": "pr",
    "density": "dc",
    "coverage": "dc",
    "nll": "bpd",
    "sampling": "speed",
}
NEEDS = {  # which capability a model must have for a score
    **dict.fromkeys(("fid", "fid_inf", "kid", "is", "is_all", "sampling"), "Sampler"),
    **dict.fromkeys(("precision", "recall", "density", "coverage"), "Sampler"),
    **dict.fromkeys(("nll", "bpd"), "Likelihood"),
    **dict.fromkeys(("psnr", "ssim", "lpips"), "Encoder"),
}
WORDS = {
    "ImportanceLikelihood": "importance-weighted likelihood",
    "Unnormalised": "estimated likelihood",
}
UNSTATED = "not stated"  # of scores that only a tracker has

_KIND = re.compile(r"exact|bound|ais|ais_bound|iw\d+")
_DATA = re.compile(r"(.+)-(train|val|test|all)(?:-(\d+))?")
_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_FEATURES = re.compile(r"(.+)-([0-9a-f]{8,64})")
_NAMED = re.compile(r"([a-z][a-z_ ]*)[-=]([\w.+]+)")


def parts(protocol: str) -> dict[str, str]:
    """What a protocol says, by name: `fid@2000:digits-08444c34:digits-train-1297:6555043cdb7f`."""
    first, *rest = protocol.split(":")
    metric, at, drawn = first.partition("@")
    n, dash, how = drawn.partition("-")
    found = {"metric": metric, **({"n": n} if at else {}), **({"drawn in": how} if dash else {})}
    for k, part in enumerate(rest, start=2):
        if _KIND.fullmatch(part):
            found["kind"] = part
        elif (data := _DATA.fullmatch(part)) and "reference data" not in found:
            found["reference data"], found["reference split"] = data[1], data[2]
            if data[3]:
                found["reference images"] = data[3]
        elif _DIGEST.fullmatch(part):
            found["data fingerprint"] = part
        elif features := _FEATURES.fullmatch(part):
            found["features"], found["features digest"] = features[1], features[2]
        elif named := _NAMED.fullmatch(part):
            found[named[1]] = named[2]
        else:
            found["features" if k == 2 and "features" not in found else f"part {k}"] = part
    return found


def differing(protocols: Collection[str]) -> list[str]:
    """The names of the parts in which protocols differ."""
    every = [parts(protocol) for protocol in protocols]
    names = list(dict.fromkeys(name for each in every for name in each))
    return [name for name in names if len({each.get(name) for each in every}) > 1]


def telling(protocols: Collection[str]) -> list[str]:
    """As few of the differing parts as tell protocols apart, those that people choose first."""
    found = differing(protocols)
    order = ("kind", "n", "features", "reference data", "reference split", "features digest")
    found.sort(key=lambda name: order.index(name) if name in order else len(order))
    for k in range(1, len(found)):
        if len({tuple(parts(p).get(name) for name in found[:k]) for p in protocols}) == len(
            set(protocols)
        ):
            return found[:k]
    return found


def short(protocol: str, names: Sequence[str]) -> str:
    """Those parts of a protocol by which it is told from others."""
    found = parts(protocol)
    if protocol == UNSTATED:
        return "protocol not stated"
    return ", ".join(f"{name} {found.get(name, 'not stated')}" for name in names)


def command(checkpoint: str, protocol: str) -> str:
    """What measures a checkpoint again under a protocol, or the nearest to it that can be asked for."""
    found = parts(protocol)
    asked = ASKED.get(found["metric"], found["metric"])
    importance = found.get("kind", "").removeprefix("iw")
    if importance.isdigit():
        asked, found["importance"] = "iw", importance
    if found.get("kind", "").startswith("ais"):
        asked = "ais"
    words = [
        "run.py evaluate",
        f"--checkpoint {shlex.quote(checkpoint)}",
        f"--metrics {shlex.quote(asked)}",
    ]
    options = {"n": "count", "features": "extractor", "reference split": "split"}
    options["importance"] = "importance"
    given = {option: found[name] for name, option in options.items() if name in found}
    words += [f"--{option} {shlex.quote(value)}" for option, value in given.items()]
    return " ".join(words)


def impossible(
    key: str, model: str, others: Collection[str], capabilities: Mapping[str, Collection[str]]
) -> str:
    """Why a model cannot have a score, in a few words; empty if it can, or nothing is known.

    Arguments:
        key: The score's.
        model: The class path of the model.
        others: Keys that the model has scores under: a bound is no exact likelihood.
        capabilities: Of every known model, by its class's name.
    """
    name, metric = model.rpartition(".")[2], family(key)
    needed, can, kind = NEEDS.get(metric), capabilities.get(name), key.partition("/")[2]
    if needed == "Likelihood" and kind.startswith("iw") and can is not None and needed in can:
        needed = "ImportanceLikelihood"
    if needed == "Likelihood" and kind.startswith("ais"):
        needed = "Unnormalised"
    if needed and can is not None and needed not in can:
        return f"{name} has no {WORDS.get(needed, needed.lower())}"
    kinds = {other.partition("/")[2] for other in others if family(other) == metric}
    if kind in ("exact", "bound") and kinds & ({"exact", "bound"} - {kind}):
        return f"{name} has {(kinds & {'exact', 'bound'}).pop()} likelihoods"
    return ""
