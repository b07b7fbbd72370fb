"""Runs the suite's `authorization` command on our authorization server, with a person who signs in and consents."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx2

from conformance.installation import BROWSER_CLIENT, EMAIL, PASSWORD, Installation
from conformance.suite import SuiteRun, outcomes_in, suite_started
from tests.support.browsers import form_in

LEG = "authorization"
SCENARIOS = ("authorization-code-grant", "authorization-server-metadata-endpoint")

_SECONDS = 60.0
_PAUSE_S = 0.05
_ASKED = re.compile(r"^(http://\S+/authorize\?\S+)$", re.MULTILINE)


def run_authorization_leg(installation: Installation) -> SuiteRun:
    """Both scenarios; the suite prints an address, and Ann goes there."""
    words = ["authorization", "--url", installation.issuer, "--client-id", BROWSER_CLIENT]
    words += ["-p", str(installation.callback_port), "--resource", installation.resource]
    with suite_started(words, LEG) as (process, results):
        _sign_in(_address(process, results / "output.log"))
        code = process.wait(_SECONDS)
    return SuiteRun(code, outcomes_in(results), results)


def authorization_problems(run: SuiteRun) -> Iterator[str]:
    """Scenarios that did not pass without a warning."""
    for scenario in SCENARIOS:
        outcome = run.outcomes.get(scenario)
        if outcome is None or not outcome.is_passed:
            yield f"{LEG} {scenario}: {outcome.told if outcome else 'did not run'}"


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where the suite asks a person to go."""
    deadline = time.monotonic() + _SECONDS
    while (found := _ASKED.search(log.read_text(encoding="utf-8"))) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the suite asked nobody to sign in\n{log.read_text(encoding='utf-8')}")
        time.sleep(_PAUSE_S)
    return found[1]


def _sign_in(address: str) -> None:
    with httpx2.Client(timeout=_SECONDS) as http:
        signed_in = _send(http, http.get(address), {"email": EMAIL, "password": PASSWORD})
        consent = http.get(urljoin(str(signed_in.url), signed_in.headers["location"]))
        back = _send(http, consent, {"decision": "allow"})
        http.get(back.headers["location"])


def _send(http: httpx2.Client, page: httpx2.Response, filled: dict[str, str]) -> httpx2.Response:
    form = form_in(page)
    return http.post(urljoin(str(page.url), form.action), data=form.hidden | filled)
