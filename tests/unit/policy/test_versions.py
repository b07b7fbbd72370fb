"""Versions of the policies: how one is named, and who may approve it."""

from __future__ import annotations

import pytest

from perhop.errors import NotFound, PolicyError
from perhop.policy.policy_set import digest_of, parse_policies
from perhop.policy.versions import Approval, PolicyVersion, check_approved, check_name, check_reviewer, find_version
from tests.support.policies import PERMIT_ALL

SOURCES = {"a.cedar": PERMIT_ALL}


def a_version(digest: str = "", author: str = "ann", approval: Approval | None = None) -> PolicyVersion:
    """One version."""
    digest = digest or digest_of(SOURCES)
    return PolicyVersion(digest=digest, sources=SOURCES, author=author, kept_at=1, approval=approval)


def test_the_version_is_that_of_every_decision() -> None:
    """What a record names is the beginning of the digest; other files have another digest."""
    version = a_version()
    assert version.version == parse_policies(SOURCES).version
    assert version.is_intact
    assert not a_version("0" * 64).is_intact


@pytest.mark.parametrize("reviewer", ["ann", "Ann", "operator:ann"])
def test_the_author_does_not_approve(reviewer: str) -> None:
    """In whatever spelling."""
    with pytest.raises(PolicyError, match="brought version"):
        check_reviewer(reviewer, a_version())
    check_reviewer("bob", a_version())


def test_only_what_was_approved_may_be_put_in_force() -> None:
    """The advice says what is missing: proposing, or the approval."""
    with pytest.raises(PolicyError, match="nobody has approved version `x`") as refused:
        check_approved("x", None)
    assert "perhop policy propose" in refused.value.advice()
    with pytest.raises(PolicyError) as refused:
        check_approved("x", a_version())
    assert "propose" not in refused.value.advice()
    check_approved("x", a_version(approval=Approval(reviewer="bob", entered_by="o", at=1)))


@pytest.mark.parametrize("name", ["", "  ", "a\nb\x00", "x" * 129])
def test_a_name_that_names_nobody(name: str) -> None:
    """Empty, unprintable or endless."""
    with pytest.raises(PolicyError, match="names nobody"):
        check_name(name)
    assert check_name("  Ann   Lee ") == "Ann Lee"


def test_a_version_is_found_by_its_beginning() -> None:
    """Four letters or more, if no other begins so."""
    versions = [a_version("abcd" + "0" * 60), a_version("abcd" + "1" * 60)]
    assert find_version("abcd1", versions) is versions[1]
    for wanted in ("abcd", "abc", "", "ffff"):
        with pytest.raises(NotFound):
            find_version(wanted, versions)
