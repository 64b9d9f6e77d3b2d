"""Reading runs from W&B: its offline files, and its service where there is a login.

An offline file is a log of LevelDB's form: a header of seven bytes, then blocks of 32 KiB with chunks
of (checksum, length, kind), of which one or several make a record of W&B's own protocol buffers.

References:
    | https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_gen.scores import direction
from lightning_gen.secrets import redact

from .extra import load
from .protocols import UNSTATED
from .runs import REMOTE, Run, Score, complete, finite, is_number, scores_of, tidy

HEADER, BLOCK, CHUNK = 7, 32768, struct.Struct("<IHB")
FULL, FIRST, LAST = 1, 2, 4
MANY = 1000  # rows of a history at a time


def read_offline(folder: Path) -> Run:
    """A run of a wandb/offline-run-* folder; what cannot be read of it is among its problems."""
    run = Run(str(folder), finished=False)
    path = next(iter(sorted(folder.glob("*.wandb"))), None)
    config: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    try:
        if path is None:
            raise ValueError("it has no .wandb file")
        for record in _records(path.read_bytes()):
            kind = record.WhichOneof("record_type")
            if kind in ("run", "config"):
                _update(config, (record.run.config if kind == "run" else record.config).update)
            elif kind == "history":
                rows.append(_update({}, record.history.item))
            elif kind == "summary":
                _update(summary, record.summary.update)
            elif kind == "exit":
                run.finished = record.exit.exit_code == 0
    except (OSError, ValueError, RecursionError) as error:
        run.problems.append(f"its file cannot be read to the end: {error}")
    _fill(run, config, rows, summary)
    return run


def read_online(address: str) -> list[Run]:
    """The runs of wandb://entity/project, or the one of wandb://entity/project/run.

    Raises:
        ValueError: If W&B cannot be asked, or has no such run.
    """
    wandb = load("wandb")
    path = address.removeprefix(REMOTE).strip("/")
    if path.count("/") not in (1, 2):
        raise ValueError(f"{address} is no {REMOTE}entity/project or {REMOTE}entity/project/run")
    try:
        api = wandb.Api(timeout=20)
        there = list(api.runs(path)) if path.count("/") == 1 else [api.run(path)]
        return [_online(f"{REMOTE}{'/'.join(each.path)}", each) for each in there]
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(
            f"W&B could not be asked for {path}: {said}; check the address, the login and the network"
        ) from error


def _online(address: str, found: Any) -> Run:
    run = Run(address, finished=found.state == "finished")
    rows = list(found.scan_history(page_size=MANY))
    _fill(run, dict(found.config), rows, dict(found.summary))
    return run


def _fill(run: Run, config: dict[str, Any], rows: list[dict[str, Any]], summary: Any) -> None:
    """What W&B knows, as what a run folder holds."""
    result, stated = config.get("result"), config.get("run")
    if isinstance(stated, Mapping):
        run.config = redact(dict(stated))
    else:
        run.problems.append("left out, as W&B does not have its whole config")
    if isinstance(result, Mapping):
        budget = result.get("budget")
        if isinstance(budget, Mapping):
            run.budget = finite(budget)
        run.scores = list(scores_of(run, result.get("scores", {})))
    known = {score.key for score in run.scores}
    for key, value in summary.items() if isinstance(summary, Mapping) else ():
        if direction(key) and key not in known and is_number(value) and math.isfinite(value):
            run.scores.append(Score(key, float(value), UNSTATED))
    if not run.finished:
        run.problems.append("unfinished")
    numbers = [{k: v for k, v in row.items() if is_number(v) and k[0] != "_"} for row in rows]
    if numbers:
        run.history = tidy(load("pandas").DataFrame(numbers))
    if run.history is None:
        run.problems.append("W&B has no history with images_seen")
    complete(run)
    run.problems = [redact(problem) for problem in run.problems]


def _records(data: bytes) -> Iterator[Any]:
    """The records of an offline file.

    Raises:
        ValueError: Where it is damaged.
    """
    protocol = load("wandb.proto.wandb_internal_pb2")
    if data[:4] != b":W&B":
        raise ValueError("it is no file of W&B")
    position, parts = HEADER, b""
    while position + CHUNK.size <= len(data):
        left = BLOCK - position % BLOCK
        if left < CHUNK.size:  # too few bytes for a chunk: filled up with zeros
            position += left
            continue
        checksum, length, kind = CHUNK.unpack_from(data, position)
        chunk = data[position + CHUNK.size : position + CHUNK.size + length]
        if len(chunk) < length:
            raise ValueError("it ends in the middle of a record")
        if zlib.crc32(bytes([kind]) + chunk) != checksum:
            raise ValueError("a checksum in it is wrong")
        position += CHUNK.size + length
        parts = chunk if kind in (FULL, FIRST) else parts + chunk
        if kind in (FULL, LAST):
            try:
                yield protocol.Record.FromString(parts)
            except Exception as error:  # of protobuf, which has its own
                raise ValueError("a record in it is damaged") from error


def _update(content: dict[str, Any], items: Iterable[Any]) -> dict[str, Any]:
    """Sets values by their keys, or by their paths."""
    for item in items:
        *outer, last = list(item.nested_key) or [item.key]
        inside = content
        for name in outer:
            inside = inside.setdefault(name, {})
            if not isinstance(inside, dict):
                break
        else:
            inside[last] = json.loads(item.value_json)
    return content
