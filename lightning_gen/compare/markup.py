"""Texts as Markdown and LaTeX have them: nothing in a name is markup."""

import re
from collections.abc import Sequence

_TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "±": "$\\pm$",
}


def joined(parts: Sequence[str]) -> str:
    """Parts with a blank line between them, but for the lines of a list."""
    text = ""
    for before, part in zip(["", *parts], parts, strict=False):
        both = before.startswith("- ") and part.startswith("- ")
        text += ("\n" if both else "\n\n") * bool(text) + part
    return text


def pipes(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [[plain(text) for text in row] for row in [head, *rows]]
    ruled = [lines[0], ["---", *["---:"] * (len(head) - 1)], *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def plain(text: str) -> str:
    """A text that is nothing but text in Markdown, stars of bold cells apart."""
    return line(re.sub(r"([|\\`<>_\[\]])", r"\\\1", text))


def code(text: str) -> str:
    """A text as code in Markdown, which no tick in it ends."""
    said = line(text)
    ticks = "`" * (1 + max(map(len, re.findall("`+", said)), default=0))
    return f"{ticks} {said} {ticks}" if "`" in said else f"{ticks}{said}{ticks}"


def line(text: str) -> str:
    """A text on one line, without signs that cannot be seen."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def tex(text: str) -> str:
    """A text that is nothing but text in LaTeX."""
    return "".join(_TEX.get(c, c) for c in text)
