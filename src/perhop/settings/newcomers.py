"""From sections to rules of admission: hosts and networks are parsed once, here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perhop.core.newcomer import Admission, TrustRule
from perhop.errors import ClientDocumentRefused
from perhop.rules.client_id_url import host_of, parse_client_id_url
from perhop.rules.public_address import Network, parse_network
from perhop.settings.certificates import read_certificates
from perhop.settings.model import File
from perhop.settings.newcomer_sections import ClientDocumentsSection
from perhop.settings.problems import Findings
from perhop.settings.sources import Key

SECTION = "client_documents"


def build_admission(file: File, folder: Path, findings: Findings) -> Admission:
    """Who may come; a rule whose host does not parse is left out, and the problem is noted."""
    rules: dict[str, TrustRule] = {}
    for index, section in enumerate(file.client_documents):
        path = (SECTION, index)
        rule = _build_rule(path, section, folder, findings)
        if rule is None:
            continue
        if rule.host in rules:
            findings.add((*path, "host"), f"`{rule.host}` stands twice in `{SECTION}`")
        rules[rule.host] = rule
    return Admission(rules=rules, registers=file.client_registration == "adopted")


def _build_rule(
    path: tuple[Key, ...], section: ClientDocumentsSection, folder: Path, findings: Findings
) -> TrustRule | None:
    networks = _build_networks((*path, "unsafe_inner_networks"), section.unsafe_inner_networks, findings)
    ca_pem = None
    if section.ca_file is not None:
        ca_pem = read_certificates((*path, "ca_file"), folder / section.ca_file, findings)
    try:
        host = host_of(parse_client_id_url(f"https://{section.host}/x"))
    except ClientDocumentRefused:
        host = ""
    if host != section.host:
        text = f"`{section.host}` is not a host as URLs have it"
        findings.add(
            (*path, "host"), text, "write it as client.example.com, in lower case, without `https://` and path"
        )
        return None
    return TrustRule(
        host=host,
        owner=section.owner,
        expires=section.expires,
        reaches={name: tuple(scopes) for name, scopes in section.reaches.items()},
        inner_networks=networks,
        ca_pem=ca_pem,
    )


def _build_networks(path: tuple[Key, ...], texts: Sequence[str], findings: Findings) -> tuple[Network, ...]:
    networks = []
    for index, text in enumerate(texts):
        try:
            networks.append(parse_network(text))
        except ValueError:
            findings.add((*path, index), f"`{text}` is neither an address nor a network")
    return tuple(networks)
