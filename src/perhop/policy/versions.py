"""Versions of the policies: a set is known by the digest of its files, and may need the approval of a second person.

Names of authors and reviewers are those that operators give: whoever may open the files may claim any. What is required
here is that two names stand behind a set, and that both are on record.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from perhop.errors import NotFound, PolicyError
from perhop.policy.policy_set import digest_of

SHORT = 16
"""Letters of a digest that records and commands show: the version."""

LONGEST_NAME = 128
_LEAST_LETTERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who approved a version; `entered_by` is the operator at whose hands it was entered."""

    reviewer: str
    entered_by: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeInForce:
    """When a version was put in force, and by whom."""

    by: str
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One set as it was kept: all its files, who brought it in, and what became of it, the latest last."""

    digest: str
    sources: Mapping[str, str]
    author: str
    kept_at: int
    approval: Approval | None = None
    in_force: Sequence[TimeInForce] = ()

    @property
    def version(self) -> str:
        """The short form, as every decision names it."""
        return self.digest[:SHORT]

    @property
    def is_intact(self) -> bool:
        """True if the files are those that the digest stands for."""
        return digest_of(self.sources) == self.digest


class PolicyVersionRows(Protocol):
    async def all(self) -> Sequence[PolicyVersion]:
        """Every version, in the order in which they were kept.

        Raises: StorageUnavailable, as every verb here
        """
        ...

    async def get(self, digest: str) -> PolicyVersion | None: ...

    async def keep(self, digest: str, sources: Mapping[str, str], *, author: str, now: int) -> PolicyVersion:
        """Keep a set; one that is kept already stays as it is, with its author."""
        ...

    async def approve(self, digest: str, approval: Approval) -> bool:
        """False if it is approved already: the first approval stays."""
        ...

    async def put_in_force(self, digest: str, *, by: str, now: int) -> None:
        """Note that this one is in force from now on; nothing if it was the last one noted."""
        ...

    async def last_in_force(self, *, approved: bool = False) -> PolicyVersion | None:
        """The one that was put in force last; with `approved`, the last that somebody has approved."""
        ...


def check_name(name: str) -> str:
    """The name of an author or reviewer, in one spelling.

    Raises: PolicyError
    """
    plain = " ".join(unicodedata.normalize("NFC", name).split())
    if not plain or len(plain) > LONGEST_NAME or not plain.isprintable():
        raise PolicyError(f"`{name}` names nobody", advice=f"give a name of 1 to {LONGEST_NAME} letters")
    return plain


def check_reviewer(reviewer: str, version: PolicyVersion) -> None:
    """Whoever brought a version in does not approve it.

    Raises: PolicyError
    """
    if _folded(reviewer) == _folded(version.author):
        raise PolicyError(
            f"`{reviewer}` brought version `{version.version}` in, and cannot approve it",
            advice="somebody else must look at it: `perhop policy approve VERSION --by NAME`",
        )


def check_approved(version: str, kept: PolicyVersion | None) -> None:
    """A version may be put in force only if somebody has approved it.

    Raises: PolicyError
    """
    if kept is None or kept.approval is None:
        steps = "" if kept is not None else "`perhop policy propose`, then "
        raise PolicyError(
            f"nobody has approved version `{version}` of the policies, and `policy_review` is `required`",
            advice=f"run {steps}`perhop policy approve {version} --by NAME`, by somebody else than its author",
        )


def find_version(wanted: str, versions: Sequence[PolicyVersion]) -> PolicyVersion:
    """The version with this name, or whose name begins so.

    Raises: NotFound
    """
    found = [each for each in versions if each.digest.startswith(wanted)] if len(wanted) >= _LEAST_LETTERS else []
    if len(found) == 1:
        return found[0]
    problem = f"`{wanted}` could be several versions" if found else f"there is no version `{wanted}` of the policies"
    raise NotFound(problem, advice="run `perhop policy list`")


def _folded(name: str) -> str:
    return name.removeprefix("operator:").casefold()
