"""From sections to upstreams: a server at a URL, or one that is run by a command.

What does not parse becomes a problem. The values of environment variables are never part of one.
"""

from __future__ import annotations

import re
from pathlib import Path

from perhop.core.resource import CredentialKind, LocalCommand, Upstream
from perhop.core.secret import Secret
from perhop.rules.issuer_uri import is_loopback
from perhop.rules.resource_uri import HttpUri, parse_resource_uri
from perhop.settings.addresses import parse_uri
from perhop.settings.certificates import read_certificates
from perhop.settings.model import UpstreamSection
from perhop.settings.problems import Findings, dotted
from perhop.settings.sources import Key

ONLY_WITH_URL = (
    *("resource", "unsafe_open_upstream", "ca_file"),
    *("connect_timeout", "circuit_failures", "circuit_seconds"),
)
ONLY_WITH_COMMAND = (
    *("folder", "environment", "environment_file"),
    *("start_timeout", "max_sessions", "session_idle"),
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def build_upstream(
    path: tuple[Key, ...], section: UpstreamSection, folder: Path, findings: Findings
) -> Upstream | None:
    """The upstream; None if it cannot be made, and the problem is noted."""
    if (section.url is None) == (section.command is None):
        text = "has neither `url` nor `command`" if section.url is None else "has both `url` and `command`"
        findings.add(path, f"`{dotted(path)}` {text}", "`url` for a server that runs, `command` for one to be run")
        return None
    if section.command is not None:
        return _run_by(section.command, path, section, folder, findings)
    return _at(str(section.url), path, section, folder, findings)


def _at(
    url_text: str, path: tuple[Key, ...], section: UpstreamSection, folder: Path, findings: Findings
) -> Upstream | None:
    _refuse_keys(ONLY_WITH_COMMAND, "url", path, section, findings)
    url = parse_uri((*path, "url"), url_text, findings)
    resource = None
    if section.resource is not None:
        resource = parse_uri((*path, "resource"), section.resource, findings)
        if resource is None:
            return None
    if url is None:
        return None
    _check_credential(url, resource, path, section, findings)
    return Upstream(
        url=str(url),
        resource=None if resource is None else parse_resource_uri(str(resource)),
        credential=section.credential.kind,
        unsafe_open_upstream=section.unsafe_open_upstream,
        ca_certificates=_read_certificates(url, path, section, folder, findings),
        connect_timeout=section.connect_timeout,
        answer_timeout=section.answer_timeout,
        circuit_failures=section.circuit_failures,
        circuit_seconds=section.circuit_seconds,
    )


def _check_credential(
    url: HttpUri, resource: HttpUri | None, path: tuple[Key, ...], section: UpstreamSection, findings: Findings
) -> None:
    kind = section.credential.kind
    if kind.is_token and resource is None:
        findings.add(path, f"`{dotted(path)}` has no `resource`: the audience of the tokens that it is sent")
    if kind is CredentialKind.NONE and not is_loopback(url.host) and not section.unsafe_open_upstream:
        findings.add(
            (*path, "credential"),
            f"`{dotted(path)}.credential` is `none` for a server that is not on this machine",
            "use `kind: exchange`; `unsafe_open_upstream: true` leaves the server open to whoever reaches it",
        )
    if kind.is_token and url.scheme == "http" and not is_loopback(url.host):
        findings.add(
            (*path, "url"),
            f"`{dotted(path)}.url` must be https, since tokens are sent there: only a loopback address may be http",
        )


def _read_certificates(
    url: HttpUri, path: tuple[Key, ...], section: UpstreamSection, folder: Path, findings: Findings
) -> str | None:
    """The text of the file, so that a file that changed makes another upstream."""
    if section.ca_file is None:
        return None
    where = (*path, "ca_file")
    if url.scheme != "https":
        findings.add(where, f"`{dotted(where)}` is for a `url` that is https")
    return read_certificates(where, folder / section.ca_file, findings)


def _run_by(
    command: list[str], path: tuple[Key, ...], section: UpstreamSection, folder: Path, findings: Findings
) -> Upstream:
    _refuse_keys(ONLY_WITH_URL, "command", path, section, findings)
    kind = section.credential.kind
    if kind is not CredentialKind.NONE:
        findings.add(
            (*path, "credential"),
            f"`{dotted(path)}.credential` is `{kind.value}` for a `command`, which can be given no token",
            "write `credential: {kind: none}`",
        )
    runs_in = folder / section.folder if section.folder is not None else folder
    if not runs_in.is_dir():
        findings.add((*path, "folder"), f"`{runs_in}` is not a folder")
    return Upstream(
        command=LocalCommand(
            words=tuple(command),
            folder=str(runs_in),
            environment=_build_environment(path, section, folder, findings),
            start_timeout=section.start_timeout,
            max_sessions=section.max_sessions,
            session_idle=section.session_idle,
        ),
        resource=None,
        credential=CredentialKind.NONE,
        answer_timeout=section.answer_timeout,
    )


def _build_environment(
    path: tuple[Key, ...], section: UpstreamSection, folder: Path, findings: Findings
) -> dict[str, Secret]:
    """The variables of the section and of its file; a name stands once."""
    variables: dict[str, Secret] = {}
    for name, value in section.environment.items():
        _add_variable((*path, "environment", name), name, value, variables, findings)
    if section.environment_file is not None:
        where = (*path, "environment_file")
        for name, value in _read_variables(where, folder / section.environment_file, findings):
            _add_variable(where, name, value, variables, findings)
    return variables


def _read_variables(where: tuple[Key, ...], file: Path, findings: Findings) -> list[tuple[str, str]]:
    """The lines `NAME=value`, values as they stand; empty lines and those that begin with `#` are left out."""
    try:
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        findings.add(where, f"`{file}` cannot be read: {error.strerror}")
        return []
    except UnicodeDecodeError:
        findings.add(where, f"`{file}` is not UTF-8 text")
        return []
    variables = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        name, separator, value = line.partition("=")
        if not line.strip() or line.startswith("#"):
            continue
        if not separator:
            # The line itself may be a secret.
            findings.add(where, f"`{file}`: line {number} is not `NAME=value`")
            continue
        variables.append((name, value))
    return variables


def _add_variable(
    where: tuple[Key, ...], name: str, value: str, variables: dict[str, Secret], findings: Findings
) -> None:
    if not _VARIABLE.fullmatch(name):
        findings.add(where, f"`{name}` is not the name of a variable: letters, digits and `_`, no digit first")
    elif "\x00" in value:
        findings.add(where, f"the value of `{name}` holds a NUL character")
    elif name in variables:
        findings.add(where, f"`{name}` stands twice among the variables of a server")
    else:
        variables[name] = Secret(value)


def _refuse_keys(
    keys: tuple[str, ...], beside: str, path: tuple[Key, ...], section: UpstreamSection, findings: Findings
) -> None:
    for key in keys:
        if key in section.model_fields_set:
            findings.add((*path, key), f"`{dotted(path)}.{key}` does not go with `{beside}`")
