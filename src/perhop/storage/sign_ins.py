"""Sign-ins: browsers' sessions at the authorization server."""

from __future__ import annotations

from sqlalchemy import delete, false, func, insert, or_, select

from perhop.authorization_server.store import Place, SignIn
from perhop.storage.engine import Database
from perhop.storage.schema import account, federated_account, sign_in


class SqlSignIns:
    """Sign-ins in `perhop.db`, by the SHA-256 of the cookie's value."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, added: SignIn) -> None:
        """Durable when it returns.

        Raises: StorageUnavailable
        """
        await self._database.apply(
            insert(sign_in).values(
                id_hash=added.id_hash,
                subject=added.subject,
                signed_in_at=added.signed_in_at,
                expires_at=added.expires_at,
                place=added.place.value,
                auth_time=added.auth_time,
                acr=added.acr,
                occasion=added.occasion,
            )
        )

    async def get(self, id_hash: str, *, place: Place, now: int) -> SignIn | None:
        """None once expired, ended, or the account disabled or gone; and for one of another place.

        Raises: StorageUnavailable
        """
        statement = (
            select(
                sign_in,
                func.coalesce(account.c.email, federated_account.c.email, "").label("email"),
                federated_account.c.issuer,
            )
            .outerjoin(account, account.c.subject == sign_in.c.subject)
            .outerjoin(federated_account, federated_account.c.subject == sign_in.c.subject)
            .where(
                sign_in.c.id_hash == id_hash,
                sign_in.c.place == place.value,
                sign_in.c.expires_at > now,
                or_(account.c.disabled == false(), federated_account.c.disabled == false()),
            )
        )
        rows = await self._database.rows(statement)
        return SignIn(**{**rows[0]._mapping, "place": Place(rows[0].place)}) if rows else None

    async def end(self, id_hash: str) -> None:
        """Sign out; ending what has ended is no error.

        Raises: StorageUnavailable
        """
        await self._database.apply(delete(sign_in).where(sign_in.c.id_hash == id_hash))
