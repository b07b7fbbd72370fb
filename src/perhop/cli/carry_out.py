"""How a command gets at the installation: its settings, a change of it, a look at it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perhop.cli.options import config_path

if TYPE_CHECKING:
    from perhop.settings import Settings


def load_settings(config: Path | None) -> Settings:
    """The configuration of this command.

    Raises: SettingsError
    """
    from perhop.settings import load

    return load(config_path(config), os.environ)


def carry_out(config: Path | None, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run one operation, in the running server or here, and give its result.

    Raises: OperatorError, Refused, Unavailable
    """
    import asyncio

    from perhop.control.local import carry_out as carry_out_anywhere

    return dict(asyncio.run(carry_out_anywhere(load_settings(config), operation, arguments)))


def groups_of_people(settings: Settings) -> dict[str, frozenset[str]]:
    """The groups that providers last said people are in, by subject; none where there is no database beside it all.

    Raises: OperatorError, StorageUnavailable
    """
    import asyncio

    from perhop.control.lookup import look_up as look_up_files

    if not settings.registry.sign_in.providers or not settings.database_path.exists():
        return {}
    accounts = asyncio.run(look_up_files(settings, "accounts"))
    return {each["subject"]: frozenset(each["groups"]) for each in accounts if each.get("groups") is not None}


def look_up(config: Path | None, what: str) -> list[dict[str, Any]]:
    """Rows for a list command, from the files.

    Raises: OperatorError, StorageUnavailable
    """
    import asyncio

    from perhop.control.lookup import look_up as look_up_files

    return asyncio.run(look_up_files(load_settings(config), what))
