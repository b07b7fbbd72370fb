"""The installation with a long past: made once, by its own key, kept in .cache/drill, and copied for every run."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from drill import installation
from drill.installation import INTEGRATION, TENANTS, DrillFailed, Site, found, free_site, port_of
from perhop.journal.keys import load_journal_key
from perhop.storage.journal_schema import VERSION
from tests.support import busy_journals
from tests.support.busy_journals import SECONDS_BETWEEN, Place, Worker, fill
from tests.support.journals import JournalFolder
from tests.support.processes import answers
from tests.support.sources import ROOT

CACHE = ROOT / ".cache" / "drill"
OLDEST_SECONDS = 7 * 24 * 3600.0
"""Habits are looked for in the last 30 days, so a past that ended long ago is made anew."""

_SITE = "site.json"


def busy_site(records: int, folder: Path, *, tell: Callable[[str], None]) -> Site:
    """A copy of an installation with so many records in its journal, in this folder; nothing serves it.

    Raises: DrillFailed
    """
    kept = CACHE / f"{records}-{_key()}"
    if (kept / _SITE).exists() and time.time() - (kept / _SITE).stat().st_mtime > OLDEST_SECONDS:
        tell("the journal that was kept has grown old")
        shutil.rmtree(kept)
    if not (kept / _SITE).exists():
        _make(records, kept, tell=tell)
    site = Site(**json.loads((kept / _SITE).read_text(encoding="utf-8")) | {"folder": folder})
    # The log's name has the port in it, and a key cannot change the name of its log.
    for address in (site.traffic, site.console, site.ops, site.hub, *site.tenants.values()):
        if answers(port_of(address)):
            raise DrillFailed(f"{address} is taken: end what listens there, or remove `{kept}` to begin anew")
    tell(f"copying {(kept / 'journal.db').stat().st_size / 1e6:.0f} MB of journal")
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    return site


def _key() -> str:
    """Another format, or another generator, makes another journal."""
    sources = "".join(inspect.getsource(module) for module in (busy_journals, installation))
    own = Path(__file__).read_text(encoding="utf-8")
    return hashlib.sha256(f"{VERSION}{sources}{own}".encode()).hexdigest()[:16]


def _make(records: int, kept: Path, *, tell: Callable[[str], None]) -> None:
    draft = kept.with_name(f"{kept.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    site = free_site(draft, TENANTS)
    found(site)
    made = JournalFolder(folder=draft, key=load_journal_key(draft / "keys"))
    began = time.monotonic()

    def told(written: int) -> None:
        if written % 50_000 == 0:
            tell(f"{written} of {records} records written, after {time.monotonic() - began:.0f} s")

    # An hour before now it was all as always.
    beginning = time.time() - 3600 - records * SECONDS_BETWEEN
    fill(made, records, seed=1, timer=time.perf_counter, workers=_workers(site), beginning=beginning, tell=told)
    (draft / _SITE).write_text(json.dumps({**asdict(site), "folder": ""}), encoding="utf-8")
    draft.replace(kept)


def _workers(site: Site) -> list[Worker]:
    """The integration, which uses all that it may at the hub, and the people's applications at the tenants' servers."""
    hub = Place(
        name="hub",
        uri=site.uri("hub"),
        server=f"http://{site.hub}/mcp",
        tenant="vendor",
        tools=("search", "export_page"),
    )
    tenants = [
        Place(
            name=f"crm-{tenant}",
            uri=site.uri(f"crm-{tenant}"),
            server=f"http://{address}/mcp",
            tenant=tenant,
            tools=("list_contacts", "get_contact"),
        )
        for tenant, address in site.tenants.items()
    ]
    applications = [Worker(name=f"crm-app-{number:02}", places=tuple(tenants)) for number in range(19)]
    return [Worker(name=INTEGRATION, places=(hub,), has_people=False), *applications]
