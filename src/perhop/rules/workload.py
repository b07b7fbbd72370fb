"""Workloads: which rule of the configuration a workload's claims fit. Exactly, but for `*` in a subject.

A `*` stands for one or more characters, and for none of `:` and `/`: the separators of the names that platforms give.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from perhop.core.assertion import WorkloadRule

ANY = "*"
_ABSENT = object()


def find_rule(rules: Iterable[WorkloadRule], claims: Mapping[str, Any], *, client: str | None) -> WorkloadRule | None:
    """The first rule that these claims fit; where the request names a client, the first that leads to it."""
    for rule in rules:
        if client in (None, rule.client) and is_fit(rule, claims):
            return rule
    return None


def is_fit(rule: WorkloadRule, claims: Mapping[str, Any]) -> bool:
    """True if the subject is one that the rule means, and every claim that it names has its value, type and all."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or _pattern(rule.subject).fullmatch(subject) is None:
        return False
    return all(_is_same(_claim(claims, name), wanted) for name, wanted in rule.claims.items())


def is_pattern(text: str) -> bool:
    """True if a subject of the configuration begins with a text of its own: a lone `*` would take in whoever comes."""
    return bool(text) and not text.startswith(ANY)


@lru_cache(maxsize=1024)
def _pattern(subject: str) -> re.Pattern[str]:
    return re.compile("[^:/]+".join(re.escape(part) for part in subject.split(ANY)))


def _is_same(found: object, wanted: str | int | bool) -> bool:
    return type(found) is type(wanted) and found == wanted


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """The claim of this name; of a name that begins with `/`, what the JSON pointer leads to. Spec: RFC 6901 §4."""
    if not name.startswith("/"):
        return claims.get(name, _ABSENT)
    found: object = claims
    for part in name[1:].split("/"):
        if not isinstance(found, Mapping):
            return _ABSENT
        found = found.get(part.replace("~1", "/").replace("~0", "~"), _ABSENT)
    return found
