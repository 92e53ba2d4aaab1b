"""Events of changed accounts, for subscribers in the transaction of the change."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from backend.core.events import Event


@dataclass(frozen=True)
class PasswordChanged(Event):
    """The password was changed in the session `keep_session`, or reset by mail if that is None."""

    user_id: UUID
    keep_session: UUID | None


@dataclass(frozen=True)
class SessionsRevoked(Event):
    """User `by` ends all sessions of the account, which is locked."""

    user_id: UUID
    by: UUID | None


@dataclass(frozen=True)
class EmailChangeRequested(Event):
    """The owner has requested another address, which is pending until it is verified.

    `is_repeated` is true if the same address was pending already.
    """

    user_id: UUID
    email: str
    former_email: str
    is_repeated: bool


@dataclass(frozen=True)
class EmailChangeCancelled(Event):
    """The account no longer has a pending address."""

    user_id: UUID


@dataclass(frozen=True)
class EmailChanged(Event):
    """The address, or its spelling, has changed.

    `by_owner` is true if the owner followed a mailed link, and false if an administrator changed
    it. `is_invited` is true if an invitation is mailed to the new address.
    """

    user_id: UUID
    former_email: str
    email: str
    by_owner: bool
    is_invited: bool = False


@dataclass(frozen=True)
class ProfileChanged(Event):
    """The username, the full name or `is_active` of the account has changed."""

    user_id: UUID


@dataclass(frozen=True)
class UsersInvited(Event):
    """Accounts without passwords need mailed links that set their first ones.

    `emails` are the addresses by user id.
    """

    emails: Mapping[UUID, str]


@dataclass(frozen=True)
class UserDeleted(Event):
    """The account was deleted, with all rows whose foreign keys cascade."""

    user_id: UUID
