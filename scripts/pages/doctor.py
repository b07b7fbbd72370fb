"""docs/reference/doctor.md: every check of `perhop doctor`, from the table of checks itself."""

from __future__ import annotations

import inspect

from perhop.control.doctor import CHECKS

_HEAD = """# What `perhop doctor` looks at

<!-- written by `make docs` from perhop.control.doctor -->

`perhop doctor` looks at an installation as a whole: at its files, at the issuer and the resources as the outside sees
them, and at the MCP servers. It works with and without a running `perhop serve`; without one, what only a server can
show is `skipped`. It changes nothing, records nothing, and sends no token of ours anywhere.

Each finding is `ok`, `warning` (it works, and somebody should look), `failed` or `skipped`. Of a warning and a failure
it says why it matters and what to do. The exit code is 7 if something failed. `--json` prints
`{ok, checks: [{name, check, part, status, seen, why, fix, page}]}`; `part` is the resource that the finding is about,
of `revocation bound` the place, of `console` the team, or null.
"""


def render() -> str:
    """The page."""
    parts = [_HEAD]
    for check in CHECKS:
        looks_at = inspect.getdoc(check.run) or ""
        parts.append(f"\n## {check.name}\n\n{looks_at.partition('Spec:')[0].strip()}\n\nWhy: {check.why}.\n")
    return "".join(parts)
