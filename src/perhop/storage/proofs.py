"""Proofs of possession: each is good once, at token endpoint and gateway together.

Spec: RFC 9449 §11.1
"""

from __future__ import annotations

from sqlalchemy import literal
from sqlalchemy.dialects.sqlite import insert

from perhop.core.proof import CheckedProof
from perhop.errors import ProofReplayed
from perhop.storage.engine import Database
from perhop.storage.schema import used_proof


class SqlProofs:
    """Used proofs in `perhop.db`, by the digest of key and `jti`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def use_proof(self, proof: CheckedProof) -> None:
        """Use this proof up: one statement decides who is first, and it is on disk when this returns.

        Raises: ProofReplayed, StorageUnavailable
        """
        use = (
            insert(used_proof)
            .values(digest=proof.digest, expires_at=proof.until)
            .on_conflict_do_nothing()
            .returning(literal(1))
        )
        if not await self._database.apply(use):
            raise ProofReplayed("the proof came before")
