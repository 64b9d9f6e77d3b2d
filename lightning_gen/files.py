"""Files that outlive a process: written whole or not at all, and where what is fetched is kept."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes a file that is either the old one or the new one, whenever the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where fetched weights, statistics of real images and digests of image files are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = os.environ.get("LIGHTNING_GEN_CACHE") or Path(home) / "lightning_gen"
    return Path(folder).expanduser()
