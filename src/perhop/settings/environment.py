"""`PERHOP_SECTION__KEY`: one variable in place of one value of the file.

Names match without regard to case, and `_` stands for every character that a variable's name cannot hold. A variable
overrides: it makes no new owner, resource or client, and one that names nothing is refused.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, get_args, get_origin

from perhop.errors import SettingsError
from perhop.settings.model import File
from perhop.settings.problems import Findings, did_you_mean
from perhop.settings.shape import bare, is_section, keys_of
from perhop.settings.sources import Key, Source, read_text

PREFIX = "PERHOP_"
CONFIG_VARIABLE = "PERHOP_CONFIG"
"""Names the file; read by the commands, not a setting."""

# What Kubernetes sets in every pod beside a service called `perhop`: nobody's settings.
_SERVICE_LINK = re.compile(r"PERHOP_(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")
_TWINS = {"secret": "secret_file", "secret_file": "secret", "jwks": "jwks_file", "jwks_file": "jwks"}


def overlay(findings: Findings, environ: Mapping[str, str]) -> Findings:
    """The same findings over a source in which the variables have replaced what they name."""
    values = copy.deepcopy(findings.source.values)
    places = dict(findings.source.places)
    over = Findings(Source(values, places), findings.problems)
    for name in sorted(environ):
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE and not _SERVICE_LINK.fullmatch(name):
            places[(name,)] = f"environment variable `{name}`"
            path = _put(over, name, environ[name])
            if path:
                places[path] = places[(name,)]
    return over


def _put(findings: Findings, name: str, text: str) -> tuple[Key, ...]:
    """Replace one value; returns its path, empty if the name stands for nothing."""
    annotation: Any = File
    values: Any = findings.source.values
    path: tuple[str, ...] = ()
    segments = name.removeprefix(PREFIX).split("__")
    for segment in segments:
        annotation = bare(annotation)
        known = list(keys_of(annotation)) if is_section(annotation) else _names(annotation, values)
        key = next((each for each in known if _plain(each) == _plain(segment)), None)
        if key is None or not isinstance(values, dict):
            findings.add((name,), f"it names nothing: no `{segment.lower()}`", did_you_mean(_plain(segment), known))
            return ()
        annotation = keys_of(annotation)[key] if is_section(annotation) else get_args(annotation)[1]
        path = (*path, key)
        if len(path) < len(segments):
            values = _below(values, key)
    try:
        values[path[-1]] = _value(text, bare(annotation))
    except SettingsError as error:
        findings.add((name,), f"its value is {error.problem.partition(': ')[2]}")
        return ()
    values.pop(_TWINS.get(path[-1], ""), None)
    return path


def _below(values: dict[str, Any], key: str) -> Any:
    if values.get(key) is None:
        values[key] = {}
    return values[key]


def _names(annotation: Any, values: Any) -> list[str]:
    return list(values) if get_origin(annotation) is dict and isinstance(values, dict) else []


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def _value(text: str, annotation: Any) -> Any:
    """Text where text is wanted, else YAML: `600`, `true`, `[a, b]`."""
    return text if annotation in (str, date) else read_text(text)
