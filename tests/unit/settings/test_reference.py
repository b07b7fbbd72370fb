"""What the documentation and the JSON Schema say of the settings is what loading does."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from perhop.settings import describe, load, schema
from perhop.settings.sources import read_file
from tests.support.configuration import EXAMPLE, write_example

SETTINGS = describe()


@pytest.mark.parametrize("setting", SETTINGS, ids=[each.key for each in SETTINGS])
def test_every_setting_is_explained(setting: object) -> None:
    """Every key has a type, a default or `required`, and words for what it means."""
    meaning, type_ = setting.meaning, setting.type  # type: ignore[attr-defined]
    assert len(meaning.split()) >= 3
    assert type_


def test_keys_are_written_as_in_the_file() -> None:
    """The list names keys as they are spelt, with `NAME` where the name is one's own."""
    keys = [each.key for each in SETTINGS]
    assert len(set(keys)) == len(keys)
    assert {"issuer", "listen.traffic", "resources.NAME.scopes.NAME.says", "hops[].from", "max_call"} <= set(keys)
    assert next(each for each in SETTINGS if each.key == "resources.NAME.risk").default == "medium"
    assert next(each for each in SETTINGS if each.key == "clients.NAME.owner").default == "required"


def test_only_switches_that_weaken_are_called_unsafe() -> None:
    """There are two settings that weaken anything, they are named so, and they are off."""
    unsafe = [(each.key, each.default) for each in SETTINGS if "unsafe" in each.key]
    assert unsafe == [
        ("resources.NAME.upstream.unsafe_open_upstream", "false"),
        ("client_documents[].unsafe_inner_networks", "none"),
    ]


def test_the_schema_takes_the_example(tmp_path: Path) -> None:
    """The JSON Schema is one, and accepts what loads."""
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(read_file(write_example(tmp_path)).values, schema())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    risk: medium", "    risc: medium"),
        ("risk: medium", "risk: extreme"),
        ("    purpose: plans business trips\n", ""),
        ("from: calendar", "source: calendar"),
        ("{method: none}", "{method: magic}"),
    ],
)
def test_the_schema_refuses_what_does_not_load(tmp_path: Path, old: str, new: str) -> None:
    """An editor that knows the schema shows these mistakes before they are loaded."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read_file(write_example(tmp_path, (old, new))).values, schema())


def test_our_yaml_is_yaml(tmp_path: Path) -> None:
    """Another reader of YAML understands the example as we do, but for dates, which we keep as text."""
    ours = read_file(write_example(tmp_path)).values
    theirs = yaml.load(EXAMPLE, Loader=yaml.SafeLoader)
    for client in theirs["clients"].values():
        client["expires"] = client["expires"].isoformat()
    assert ours == theirs
    load(tmp_path / "perhop.yaml", {})
