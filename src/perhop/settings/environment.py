"""`PERHOP_SECTION__KEY`: one variable in place of one value of the file.

Names match without regard to case, and `_` stands for every character that a variable's name cannot hold. A variable
overrides: it makes no new owner, resource or client. One that names nothing is refused, and so is one that could name
two things, or that sets what another one sets.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, get_args, get_origin

from perhop.errors import SettingsError
from perhop.settings.model import File
from perhop.settings.problems import Findings, did_you_mean, dotted
from perhop.settings.shape import bare, is_section, keys_of
from perhop.settings.sources import Source, check_text, read_text

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
    taken: dict[tuple[str, ...], str] = {}
    # A whole section before its parts, however they are spelled: the narrower variable wins.
    for name in sorted(environ, key=lambda each: (each.count("__"), each)):
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE and not _SERVICE_LINK.fullmatch(name):
            places[(name,)] = f"environment variable `{name}`"
            path = _put(over, name, environ[name])
            if not path:
                continue
            places[path] = places[(name,)]
            one_of_twins = min(path[-1], _TWINS.get(path[-1], path[-1]))
            if (first := taken.setdefault((*path[:-1], one_of_twins), name)) != name:
                over.add((name,), f"it sets what `{first}` sets", "leave one of them out")
    return over


def _put(findings: Findings, name: str, text: str) -> tuple[str, ...]:
    """Replace one value; returns its path, empty if the name stands for nothing."""
    annotation: Any = File
    values: Any = findings.source.values
    path: tuple[str, ...] = ()
    segments = name.removeprefix(PREFIX).split("__")
    for segment in segments:
        annotation = bare(annotation)
        known = list(keys_of(annotation)) if is_section(annotation) else _names(annotation, values)
        keys = [each for each in known if _plain(each) == _plain(segment)]
        if not keys or not isinstance(values, dict):
            findings.add((name,), f"it names nothing: no `{segment.lower()}`", did_you_mean(_plain(segment), known))
            return ()
        if len(keys) > 1:
            names = " and ".join(f"`{dotted((*path, each))}`" for each in keys)
            findings.add((name,), f"it could name {names}", "a variable cannot tell them apart: write it in the file")
            return ()
        key = keys[0]
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
    """Text where text is wanted, else YAML: `600`, `true`, `[a, b]`.

    Raises: SettingsError
    """
    if annotation not in (str, date):
        return read_text(text)
    check_text(text, "value")
    return text
