"""`owners.NAME.webhook`: a URL that nobody else can read, and a secret that is not told."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from perhop.errors import SettingsError
from perhop.settings import load, render, show
from tests.support.configuration import load_example

SECRET = "whsec_" + base64.b64encode(bytes(range(50, 82))).decode()
PLAIN = "plain-text-of-32-characters-and-1"
OWNER = "contact: travel@example.com"


def hooked(*pairs: str) -> tuple[str, str]:
    """A change that gives the team a webhook with these keys."""
    return OWNER, f"{OWNER}, webhook: {{{', '.join(pairs)}}}"


def test_without_it_nobody_is_told(tmp_path: Path) -> None:
    """A team has no webhook unless it says so."""
    assert [each.webhook for each in load_example(tmp_path).registry.owners.values()] == [None]


@pytest.mark.parametrize("secret", [SECRET, PLAIN], ids=["encoded", "plain"])
@pytest.mark.parametrize("url", ["https://hooks.example.com/a?key=k-1", "http://127.0.0.1:9000/a", "http://[::1]/a"])
def test_a_url_comes_with_a_secret(tmp_path: Path, url: str, secret: str) -> None:
    """Written down or in a file; neither the secret nor a key in the URL is shown."""
    (tmp_path / "hook.secret").write_text(f"{secret}\n", encoding="utf-8")
    for given in (f"secret: {secret}", "secret_file: hook.secret"):
        settings = load_example(tmp_path, hooked(f'url: "{url}"', given))
        webhook = settings.registry.owners["travel-team"].webhook
        assert webhook is not None
        assert (webhook.url, webhook.secret.reveal()) == (url, secret)
        shown = render(show(tmp_path / "perhop.yaml", {}))
        assert secret not in shown
        assert "k-1" not in shown
        assert secret not in repr(settings)


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ((f"secret: {SECRET}",), "`owners.travel-team.webhook` has no `url`"),
        (("url: https://hooks.example.com/a",), "needs `secret` or `secret_file`, one of them"),
        (("url: https://hooks.example.com/a", f"secret: {SECRET}", "secret_file: x"), "one of them"),
        (("url: https://hooks.example.com/a", "secret: short"), "shorter than 32 characters"),
        (("url: https://hooks.example.com/a", "secret_file: missing"), "cannot be read"),
        (("url: https://hooks.example.com/a", f"secret: whsec_{'-' * 40}"), "is not base64 after `whsec_`"),
        (("url: https://hooks.example.com/a", f"secret: whsec_{'A' * 100}"), "must encode 24 to 64 bytes"),
        (("url: http://hooks.example.com/a", f"secret: {SECRET}"), "must be https: only a loopback address"),
        (("url: http://10.0.0.1/a", f"secret: {SECRET}"), "must be https: only a loopback address"),
        (('url: "https://ann:pw@hooks.example.com/a"', f"secret: {SECRET}"), "user information"),
        (('url: "https://hooks.example.com/a#b"', f"secret: {SECRET}"), "fragment"),
        (("url: ftp://hooks.example.com/a", f"secret: {SECRET}"), "neither http nor https"),
        (("url: https://hooks.example.com/a", f"secret: {SECRET}", "retries: 3"), "unknown key `retries`"),
    ],
)
def test_a_webhook_that_others_could_read_or_forge_is_refused(
    tmp_path: Path, pairs: tuple[str, ...], problem: str
) -> None:
    """Each with its place; the secret is no part of what is said."""
    with pytest.raises(SettingsError) as refusal:
        load_example(tmp_path, hooked(*pairs))
    told = f"{refusal.value.problem}\n{refusal.value.advice()}"
    assert problem in told
    assert SECRET not in told
    assert "perhop.yaml:" in told


def test_the_environment_brings_the_file_of_a_secret(tmp_path: Path) -> None:
    """`PERHOP_OWNERS__TRAVEL_TEAM__WEBHOOK__SECRET_FILE` takes the place of a secret in the file."""
    (tmp_path / "hook.secret").write_text(PLAIN, encoding="utf-8")
    load_example(tmp_path, hooked("url: https://hooks.example.com/a", f"secret: {SECRET}"))
    environ = {"PERHOP_OWNERS__TRAVEL_TEAM__WEBHOOK__SECRET_FILE": "hook.secret"}
    webhook = load(tmp_path / "perhop.yaml", environ).registry.owners["travel-team"].webhook
    assert webhook is not None
    assert webhook.secret.reveal() == PLAIN
