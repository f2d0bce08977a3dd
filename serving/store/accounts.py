"""People and programs: accounts, what they prove themselves with, sessions and API keys.

Belongs here: the rows, and what is valid at an instant. Does not: hashing passwords, roles and what they may do (the
caller's). No secret is kept, only what checks one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, insert, or_, select, update

from serving.store.errors import StoreError, UnknownRow
from serving.store.schema import accounts, api_keys, credentials, sessions
from serving.store.units import money, money_of


@dataclass(frozen=True)
class Account:
    """A person who may sign in.

    Attributes:
        account_id: its id, the author of what it does.
        name: as shown.
        role: one role.
        sites: the locations it is for, None = every one.
        approval_limit: money up to which it may approve alone, None = any.
        state: invited, active or disabled.
    """

    account_id: str
    name: str
    role: str
    sites: tuple[str, ...] | None = None
    approval_limit: Any = None
    state: str = "active"


@dataclass(frozen=True)
class Credential:
    """What an account proves itself with.

    Attributes:
        credential_id: its id.
        account_id: whose.
        kind: password, passkey, invitation or the name of an identity provider.
        verifier: what checks the secret.
        detail: JSON values beside it.
        expires_at: instant in microseconds, None = never.
    """

    credential_id: str
    account_id: str
    kind: str
    verifier: str
    detail: Mapping[str, Any]
    expires_at: int | None = None


@dataclass(frozen=True)
class Session:
    """A sign-in that lasts; instants in microseconds."""

    session_id: str
    account_id: str
    device: str
    used_at: int
    expires_at: int


@dataclass(frozen=True)
class ApiKey:
    """A key of a program; `secret_sha256` checks it, instants in microseconds."""

    key_id: str
    secret_sha256: str
    name: str
    role: str
    sites: tuple[str, ...] | None
    expires_at: int


def put_account(connection: Connection, account: Account, author: str, now: int) -> None:
    """Add an account, or change the one of its id."""
    limit = None if account.approval_limit is None else money_of("approval_limit", account.approval_limit)
    row: dict[str, Any] = {
        "name": account.name,
        "role": account.role,
        "sites": _sites_text(account.sites),
        "state": account.state,
    }
    row |= {"approval_limit_ten_thousandths": limit, "changed_at": now}
    is_it = accounts.c.account_id == account.account_id
    if connection.execute(update(accounts).where(is_it).values(row)).rowcount == 0:
        made = {"account_id": account.account_id, "created_by": author, "created_at": now}
        connection.execute(insert(accounts).values(row | made))


def all_accounts(connection: Connection) -> list[Account]:
    """Return every account by id."""
    return [_account(row) for row in connection.execute(select(accounts).order_by(accounts.c.account_id))]


def account(connection: Connection, account_id: str) -> Account:
    """Return one account.

    Raises:
        UnknownRow: there is none of that id.
    """
    row = connection.execute(select(accounts).where(accounts.c.account_id == account_id)).one_or_none()
    if row is None:
        raise UnknownRow(f"There is no account {account_id!r}.")
    return _account(row)


def add_credential(connection: Connection, made: Credential, now: int) -> None:
    """Give an account something to prove itself with."""
    detail = json.dumps(dict(made.detail), sort_keys=True)
    row: dict[str, Any] = {"credential_id": made.credential_id, "account_id": made.account_id, "kind": made.kind}
    row |= {"verifier": made.verifier, "detail": detail, "created_at": now, "expires_at": made.expires_at}
    connection.execute(insert(credentials).values(row))


def credentials_of(connection: Connection, account_id: str, now: int) -> list[Credential]:
    """Return what an account may prove itself with at an instant; of one that is disabled nothing."""
    query = (
        select(credentials)
        .join(accounts, accounts.c.account_id == credentials.c.account_id)
        .where(credentials.c.account_id == account_id, accounts.c.state != "disabled", _is_valid(credentials, now))
    )
    return [
        Credential(row.credential_id, row.account_id, row.kind, row.verifier, json.loads(row.detail), row.expires_at)
        for row in connection.execute(query.order_by(credentials.c.created_at, credentials.c.credential_id))
    ]


def use_credential(connection: Connection, credential_id: str, detail: Mapping[str, Any], now: int) -> None:
    """Note that a credential was used, with its detail as it is now, as the counter of a passkey."""
    change = {"used_at": now, "detail": json.dumps(dict(detail), sort_keys=True)}
    connection.execute(update(credentials).where(credentials.c.credential_id == credential_id).values(change))


def use_once(connection: Connection, credential_id: str, now: int) -> bool:
    """Use up a credential that serves once, as an invitation; False where it is used up or not valid."""
    is_it = (credentials.c.credential_id == credential_id) & _is_valid(credentials, now)
    change = {"used_at": now, "revoked_at": now}
    return connection.execute(update(credentials).where(is_it).values(change)).rowcount == 1


def open_session(connection: Connection, session: Session, token_sha256: str, now: int) -> None:
    """Let an account be signed in.

    Raises:
        StoreError: the account is disabled.
    """
    if account(connection, session.account_id).state == "disabled":
        raise StoreError(f"Account {session.account_id!r} is disabled.")
    row: dict[str, Any] = {"session_id": session.session_id, "account_id": session.account_id, "device": session.device}
    row |= {"token_sha256": token_sha256, "created_at": now, "used_at": now, "expires_at": session.expires_at}
    connection.execute(insert(sessions).values(row))


def session_of(connection: Connection, token_sha256: str, now: int) -> Session | None:
    """Return the session of a token that is valid at an instant, None where there is none."""
    query = (
        select(sessions)
        .join(accounts, accounts.c.account_id == sessions.c.account_id)
        .where(sessions.c.token_sha256 == token_sha256, accounts.c.state != "disabled", _is_valid(sessions, now))
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _session(row)


def sessions_of(connection: Connection, account_id: str, now: int) -> list[Session]:
    """Return the sessions of an account that are valid at an instant, the latest first."""
    query = select(sessions).where(sessions.c.account_id == account_id, _is_valid(sessions, now))
    return [_session(row) for row in connection.execute(query.order_by(sessions.c.created_at.desc()))]


def use_session(connection: Connection, session_id: str, now: int) -> None:
    """Note that a session was used."""
    connection.execute(update(sessions).where(sessions.c.session_id == session_id).values(used_at=now))


def add_key(connection: Connection, made: ApiKey, author: str, now: int) -> None:
    """Give a program a key."""
    row: dict[str, Any] = {
        "key_id": made.key_id,
        "secret_sha256": made.secret_sha256,
        "name": made.name,
        "role": made.role,
    }
    row |= {"sites": _sites_text(made.sites), "created_by": author, "created_at": now, "expires_at": made.expires_at}
    connection.execute(insert(api_keys).values(row))


def key(connection: Connection, key_id: str, now: int) -> ApiKey | None:
    """Return a key that is valid at an instant, None where there is none."""
    row = connection.execute(
        select(api_keys).where(api_keys.c.key_id == key_id, _is_valid(api_keys, now))
    ).one_or_none()
    if row is None:
        return None
    return ApiKey(row.key_id, row.secret_sha256, row.name, row.role, _sites(row.sites), row.expires_at)


def revoke(connection: Connection, kind: str, named: str, now: int) -> bool:
    """End a `credential`, `session` or `key` by its id, or every session of an `account`.

    Returns:
        False where none stood.
    """
    column = {
        "credential": credentials.c.credential_id,
        "session": sessions.c.session_id,
        "key": api_keys.c.key_id,
        "account": sessions.c.account_id,
    }[kind]
    table: Any = column.table
    is_it = (column == named) & table.c.revoked_at.is_(None)
    return connection.execute(update(table).where(is_it).values(revoked_at=now)).rowcount > 0


def _is_valid(table: Table, now: int) -> Any:
    return table.c.revoked_at.is_(None) & or_(table.c.expires_at.is_(None), table.c.expires_at > now)


def _account(row: Any) -> Account:
    limit = row.approval_limit_ten_thousandths
    named = (row.account_id, row.name, row.role, _sites(row.sites))
    return Account(*named, None if limit is None else money(limit), row.state)


def _session(row: Any) -> Session:
    return Session(row.session_id, row.account_id, row.device, row.used_at, row.expires_at)


def _sites_text(sites: Sequence[str] | None) -> str | None:
    return None if sites is None else json.dumps(sorted(sites))


def _sites(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(json.loads(text))
