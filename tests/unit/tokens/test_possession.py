"""From a bound token to a proved one: each step refuses by itself, and nothing is used up in vain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perhop.core.proof import CheckedProof, UsedProof
from perhop.core.token import BoundToken, Sender, SenderKey, SenderUnprovable
from perhop.errors import BearerRefused, SenderMismatch
from perhop.rules.audience import bind_audience
from perhop.rules.bearer import Scheme
from perhop.rules.dpop_nonce import Nonces
from perhop.rules.sender import check_scheme, prove_sender
from perhop.tokens.possession import ProofDesk, check_sender
from tests.support.dpop import ProofKey, a_proof
from tests.support.forge import NOW, RESOURCE, good_claims, sign
from tests.support.verifier import KEY as SIGNER
from tests.support.verifier import check

KEY, OTHER = ProofKey(), ProofKey()
RAW = sign(good_claims(cnf={"jkt": KEY.thumbprint}), SIGNER)
BOUND = bind_audience(check(RAW), RESOURCE)


def sent_by(sender: Sender | None) -> BoundToken:
    return bind_audience(replace(check(RAW), sender=sender), RESOURCE)


class Memory:
    """Takes every proof, and counts."""

    def __init__(self) -> None:
        self.used: list[CheckedProof] = []

    async def use_proof(self, proof: CheckedProof) -> None:
        self.used.append(proof)


@pytest.mark.parametrize("scheme", Scheme)
def test_a_scheme_is_for_its_kind_of_token(scheme: Scheme) -> None:
    """Of four combinations two pass; what is bound to anything else passes under none."""
    mine = SenderKey(KEY.thumbprint)
    for sender, fits in ((mine, Scheme.DPOP), (None, Scheme.BEARER), (SenderUnprovable(), None)):
        token = sent_by(sender).token
        if scheme is fits:
            assert check_scheme(token, scheme, must_be_bound=False) == sender
        else:
            with pytest.raises(SenderMismatch):
                check_scheme(token, scheme, must_be_bound=False)
    with pytest.raises(SenderMismatch):
        check_scheme(sent_by(None).token, scheme, must_be_bound=True)


@pytest.mark.parametrize(
    ("token", "due", "proof"),
    [
        (SenderKey("k"), None, None),
        (SenderKey("k"), SenderKey("k"), None),
        (SenderKey("k"), SenderKey("k"), UsedProof("j")),
        (SenderKey("k"), SenderKey("j"), UsedProof("j")),
        (SenderKey("k"), None, UsedProof("k")),
        (None, SenderKey("j"), UsedProof("j")),
        (None, None, UsedProof("j")),
        (SenderUnprovable(), None, None),
    ],
)
def test_nothing_but_the_tokens_own_key_proves_it(
    token: Sender | None, due: SenderKey | None, proof: UsedProof | None
) -> None:
    """The last step holds by itself: what was due is the token's key, and the proof is of that key, or both are not."""
    with pytest.raises(SenderMismatch):
        prove_sender(sent_by(token), due, proof)
    assert prove_sender(sent_by(None), None, None).bound.token.sender is None
    assert prove_sender(BOUND, SenderKey(KEY.thumbprint), UsedProof(KEY.thumbprint)).bound is BOUND


async def test_what_does_not_pass_is_not_used_up() -> None:
    """A proof of another key, or one that is not good, writes nothing; a good one is used up once."""
    nonces, memory = Nonces(b"k" * 32, RESOURCE), Memory()

    async def send(key: ProofKey, uri: str) -> None:
        proof = a_proof(key, "POST", uri, now=NOW, token=RAW, nonce=nonces.current(NOW))
        await check_sender(
            (("authorization", f"DPoP {RAW}"), ("dpop", proof)),
            BOUND,
            lambda: ProofDesk(nonces=nonces, memory=memory),
            method="POST",
            uri=RESOURCE,
            must_be_bound=False,
            now=NOW,
        )

    for key, uri in ((OTHER, RESOURCE), (KEY, f"{RESOURCE}x")):
        with pytest.raises(BearerRefused):
            await send(key, uri)
    assert memory.used == []
    await send(KEY, RESOURCE)
    assert [proof.key for proof in memory.used] == [KEY.thumbprint]
