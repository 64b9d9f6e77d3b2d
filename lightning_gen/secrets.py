"""Keeps keys, tokens and passwords out of what is written and printed.

A value is secret by its name, whose words are told apart by punctuation and camel case, or because
an environment variable of such a name holds it. A name is that of a secret if

- a word of it is `secret`, `password`, `passphrase`, `credential`, `apikey` or the like, or
- it is `key`, or `key` or `token` follow a word in it that makes them one: `api`, `access`, ...; or
- its last word is `token`, but for those of a vocabulary (`mask_token`), `auth` or `authorization`.

So `state_key`, `keys`, `tokens_per_image` and `author` are not. A number of fewer than eight digits
may be a password but is no key or token; true, false and null are nothing.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

REDACTED = "***"
SHORTEST = 8  # characters of a variable's content; shorter ones stand in innocent places too
ALWAYS = {
    *("secret", "secrets", "password", "passwords", "passwd", "passphrase"),
    *("credential", "credentials", "apikey", "accesskey", "secretkey", "privatekey"),
    *("authtoken", "accesstoken"),
}
LAST = {"token", "auth", "authorization", "bearer"}
OWNERS = {
    *("access", "account", "admin", "api", "app", "auth", "client", "deploy", "encryption"),
    *("license", "master", "private", "refresh", "service", "session", "shared", "signing"),
    *("ssh", "storage", "write"),
}
VOCABULARY = {
    *("bos", "class", "cls", "end", "eos", "image", "mask", "null", "pad", "register", "sep"),
    *("sos", "special", "start", "stop", "text", "unk"),
}

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NOTHING = re.compile(r"\*\*\*|none|null|true|false|", re.IGNORECASE)
_SMALL = re.compile(r"[-+]?(\d{1,7}|\d{0,7}\.\d{0,7})(e[-+]?\d{1,3})?", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^\s/'\"]+(?=@)")
_NAME = r"[\w.-]{0,99}(?:secret|passw|passphrase|credential|key|token|auth|bearer)[\w.-]{0,99}"
_VALUE = r"(?:(?:bearer|basic)\s+)?(?:\"[^\"]*\"|'[^']*'|(?!--)[^\s\"',;&{}\[\]]+)"
_PAIR = re.compile(rf"({_NAME})([\"']?\s*[=:]\s*)({_VALUE})", re.IGNORECASE)
_OPTION = re.compile(rf"(--{_NAME})(\s+)({_VALUE})", re.IGNORECASE)


def redact(value: Any) -> Any:
    """A value without its secrets: a text, or a dict or a list of what redact takes.

    A list may be a command line, where `--name` and the value are two of its parts.
    """
    if isinstance(value, Mapping):
        return {key: _redact_named(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        found = _redact_list(value)
        return tuple(found) if isinstance(value, tuple) else found
    if isinstance(value, str):
        return _redact_text(value)
    return REDACTED if _is_number(value) and str(value) in _contents() else value


def redact_message(text: str, arguments: Sequence[str]) -> str:
    """A text without secrets, those of a command's arguments in whichever form it quotes them."""
    for given, shown in zip(arguments, redact(list(arguments)), strict=True):
        secret = given.removeprefix(shown.removesuffix(REDACTED))
        if given != shown and len(secret) > 3:
            text = text.replace(secret, REDACTED)
    return redact(text)


def is_secret(name: str, value: Any = None) -> bool:
    """Whether a name is that of a secret, and the value, if one is given, can be one."""
    text = "" if value is None else str(value).strip()
    if value is not None and _NOTHING.fullmatch(text):
        return False
    parts = [[word.lower() for word in _WORD.findall(part)] for part in name.split(".")]
    if any(ALWAYS & set(words) for words in parts):
        return True
    words = parts[-1]
    if not words or _SMALL.fullmatch(text):
        return False
    before = ["", *words]
    owned = any(
        word in ("key", "keys", "token", "tokens") and owner in OWNERS
        for owner, word in zip(before, words, strict=False)
    )
    last = words[-1] in LAST and before[-2] not in VOCABULARY
    return owned or last or words == ["key"]


def _redact_named(name: str, value: Any) -> Any:
    """What stands under a name."""
    if isinstance(value, Mapping):
        return REDACTED if ALWAYS & {w.lower() for w in _WORD.findall(name)} else redact(value)
    if isinstance(value, list | tuple) and is_secret(name):
        return [_redact_named(name, each) for each in value]
    if isinstance(value, str) or _is_number(value):
        return REDACTED if is_secret(name, value) else redact(value)
    return redact(value)


def _redact_list(values: list[Any] | tuple[Any, ...]) -> list[Any]:
    """The parts of a list, of which one may name the next."""
    found = []
    for before, value in zip(["", *values], values, strict=False):
        option = isinstance(before, str) and before.startswith("--") and "=" not in before
        if option and not str(value).startswith("--"):
            found.append(_redact_named(before, value))
        elif isinstance(value, str) and re.match(r"--[\w.+-]+=", value):
            name, _, given = value.partition("=")
            found.append(f"{name}={_redact_named(name, given)}")
        else:
            found.append(redact(value))
    return found


def _redact_text(text: str) -> str:
    """A text without the logins of its addresses, without `name=value` and contents of variables."""
    text = _LOGIN.sub(REDACTED, text)
    for pattern in (_PAIR, _OPTION):
        text = pattern.sub(_hidden, text)
    for content in _contents():
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(content)}(?![A-Za-z0-9])", REDACTED, text)
    return text


def _hidden(found: re.Match[str]) -> str:
    name, between, value = found.groups()
    # In prose, `key: ` alone is rather that of a dict.
    if name.lower() == "key" or not is_secret(name, value.strip("\"'")):
        return found[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{name}{between}{quote}{REDACTED}{quote}"


def _contents() -> list[str]:
    """What the environment's secrets hold, longest first; a file that exists is only their place."""
    found = {
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST
        and (is_secret(name) or name.lower().endswith("_key"))
        and not os.path.exists(value)
    }
    return sorted(found, key=len, reverse=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
