"""Passwords, keys and tokens are taken out of what is shown, and nothing else is."""

import pytest

from dcgan import redaction


@pytest.mark.holds("R-84")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://me:canary@example.org/a", "at https://example.org/a"),
        ("https://me:can@canary@example.org/a", "https://example.org/a"),
        ("https://example.org/a?token=canary&x=1", "https://example.org/a?token=***&x=1"),
        ("key AKIACANARYTWOCANARY2 refused", "key *** refused"),
        ("mail to me@example.org, step 3", "mail to me@example.org, step 3"),
    ],
)
def test_addresses_and_keys_lose_their_secrets(text: str, shown: str) -> None:
    assert redaction.redact(text) == shown


def test_a_secret_of_the_environment_is_hidden_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "canary-token")
    monkeypatch.setenv("DATABASE", "postgresql://me:canary-word@example.org/a")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    assert redaction.redact("canary-token, canary-word, abc") == "***, ***, abc"


def test_values_are_cleaned_through_and_through() -> None:
    value = {
        "api_key": "canary",
        "api_keys": 3,
        "list": ["a\0b", ("\x1b[31m", None)],
        "text": "a\n",
    }
    assert redaction.clean(value) == {
        "api_key": "***", "api_keys": 3, "list": ["a\\x00b", ["\\x1b[31m", None]], "text": "a\n",
    }  # fmt: skip
