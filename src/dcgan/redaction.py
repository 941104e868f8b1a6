"""Take passwords, keys and tokens out of whatever is written down, logged or shown."""

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
SECRET_LENGTH = 6  # a shorter value would also be found inside ordinary words
SECRET_NAME = re.compile(
    r"secret|token|passw|credential|api_?key|access_?key|private_?key", re.IGNORECASE
)
# name=value in an address or in an error's text.
SECRET_VALUE = re.compile(
    r"([\w-]*(?:secret|token|passw|credential|api_?key|access_?key|signature|\bsig)[\w-]*)"
    r"=[^&\s'\"]+",
    re.IGNORECASE,
)
# Keys of AWS, GitHub, GitLab, Hugging Face, Slack and OpenAI.
SECRET_SHAPE = re.compile(
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|hf_\w{20,}|xox[a-z]-[\w-]{10,}|sk-[\w-]{20,})"
)


def redact(text: str) -> str:
    """The text without passwords in addresses, and without keys and tokens.

    A key or a token is recognised by its name, by its shape, or because the environment holds it.
    """
    return _redact(text, _secrets())


def clean(value: Any) -> Any:
    """Plain JSON values whose strings are all redacted and printable.

    A string under a name such as `api_key` is always hidden. Characters that a terminal or a
    database should not receive are escaped.
    """
    secrets = _secrets()

    def walk(part: Any) -> Any:
        if isinstance(part, str):
            return "".join(
                char if char.isprintable() or char in "\n\t" else repr(char)[1:-1]
                for char in _redact(part, secrets)
            )
        if isinstance(part, Mapping):
            return {
                walk(key): HIDDEN
                if isinstance(item, str) and SECRET_NAME.search(key)
                else walk(item)
                for key, item in part.items()
            }
        return [walk(item) for item in part] if isinstance(part, list | tuple) else part

    return walk(value)


def _redact(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = re.sub(r"//[^/\s]*@", "//", text)
    text = SECRET_VALUE.sub(rf"\1={HIDDEN}", text)
    return SECRET_SHAPE.sub(HIDDEN, text)


def _secrets() -> list[str]:
    """The secrets in the environment, longest first, so that none hides only a part of another."""
    values = {value for name, value in os.environ.items() if SECRET_NAME.search(name)}
    values |= {
        password
        for value in os.environ.values()
        for password in re.findall(r"//[^/\s:]*:([^/\s]+)@", value)
    }
    return sorted((value for value in values if len(value) >= SECRET_LENGTH), key=len, reverse=True)
