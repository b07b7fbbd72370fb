"""An installation for tests of commands: made once, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.commands import make_installation


@pytest.fixture(scope="session")
def installation_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation as `perhop init` leaves it; nobody changes it."""
    folder = tmp_path_factory.mktemp("installation") / "made"
    make_installation(folder)
    return folder


@pytest.fixture
def folder(installation_template: Path, tmp_path: Path) -> Path:
    """An installation of one's own, which nothing serves."""
    return Path(shutil.copytree(installation_template, tmp_path / "installation"))
