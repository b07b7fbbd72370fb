"""The page on tokens that are bound to a key: what it shows client authors works as it stands."""

from __future__ import annotations

import re
from typing import Any

from joserfc.jwk import ECKey

from perhop.rules.dpop_nonce import Nonces
from perhop.tokens.proof import ProofFor, check_proof
from tests.support.sources import ROOT


def test_the_proof_that_the_page_makes_is_taken() -> None:
    """The Python of the page runs, and what it makes is a good proof at a token endpoint and at a resource."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/dpop.md").read_text("utf-8"), re.S)
    shown: dict[str, Any] = {}
    exec(compile(code, "docs/dpop.md", "exec"), shown)  # the page is ours
    key = ECKey.generate_key("P-256")
    now = int(shown["time"].time())
    for uri, token in (("https://auth.example.com/token", None), ("https://mcp.example.com/mcp", "a.b.c")):
        nonces = Nonces(b"k" * 32, uri)
        made = shown["proof"](key, "POST", uri, nonce=nonces.current(now), token=token)
        checked = check_proof(made, ProofFor(method="POST", uri=uri, nonces=nonces, token=token), now=now)
        assert checked.key == key.thumbprint()
