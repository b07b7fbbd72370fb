"""From a section to a webhook: the URL and the secret are parsed once, here. The secret is never part of a problem."""

from __future__ import annotations

from pathlib import Path

from perhop.core.owner import Webhook
from perhop.rules.issuer_uri import is_loopback
from perhop.rules.webhook import parse_signing_key
from perhop.settings.addresses import parse_uri
from perhop.settings.clients import parse_secret
from perhop.settings.model import WebhookSection
from perhop.settings.problems import Findings, dotted
from perhop.settings.sources import Key

_SECRETS = ("secret", "secret_file")


def build_webhook(
    path: tuple[Key, ...], section: WebhookSection | None, folder: Path, findings: Findings
) -> Webhook | None:
    """The webhook of an owner; None where there is none, or a problem was noted."""
    if section is None:
        return None
    url = parse_uri((*path, "url"), section.url, findings)
    if url is not None and url.scheme == "http" and not is_loopback(url.host):
        findings.add((*path, "url"), f"`{dotted(path)}.url` must be https: only a loopback address may be http")
    given = [name for name in _SECRETS if getattr(section, name) is not None]
    if len(given) != 1:
        findings.add(path, f"`{dotted(path)}` needs {' or '.join(f'`{name}`' for name in _SECRETS)}, one of them")
        return None
    where, whose = (*path, given[0]), f"the secret of `{dotted(path)}`"
    secret = parse_secret(where, section.secret, folder / str(section.secret_file), findings, whose=whose)
    if secret is None or url is None:
        return None
    try:
        parse_signing_key(secret)
    except ValueError as error:
        findings.add(where, f"{whose} {error}", "make one with `echo whsec_$(openssl rand -base64 32)`")
        return None
    return Webhook(url=str(url), secret=secret)
