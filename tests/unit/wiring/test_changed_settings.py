"""Which settings are told of when another configuration is put in force."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perhop.core.newcomer import Admission
from perhop.core.rate_limits import RateLimits
from perhop.settings.model import File
from perhop.wiring.changes import SETTINGS, changed_settings
from perhop.wiring.reload import NEEDS_RESTART
from tests.support.configuration import load_example

OBJECTS = {"owners", "resources", "clients", "client_documents", "hops", "trusted_issuers", "sign_in"}


def test_no_key_of_the_file_changes_untold() -> None:
    """Each needs a restart, is told object by object, or is told as a setting."""
    restart = {*NEEDS_RESTART} - {"database_path"} | {"database"}
    assert restart | OBJECTS | {*SETTINGS} | {"limits"} == {*File.model_fields}


def test_settings_are_told_by_name(tmp_path: Path) -> None:
    """Each by itself, of `limits` the one that differs; nothing where nothing differs."""
    old = load_example(tmp_path)
    assert changed_settings(old, old) == ()
    new = replace(
        old,
        max_call=old.max_call + 1,
        policy_review_required=not old.policy_review_required,
        admission=Admission(registers=not old.admission.registers),
        rate_limits=RateLimits(requests_per_client=1),
    )
    told = changed_settings(old, new)
    assert {(each.kind, each.change, each.members) for each in told} == {("setting", "changed", ())}
    assert [each.name for each in told] == [
        "policy_review",
        "max_call",
        "client_registration",
        "limits.requests_per_client",
    ]
