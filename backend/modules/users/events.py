"""Changes of accounts that other modules act upon, in the transaction of the change."""

from dataclasses import dataclass
from uuid import UUID

from backend.core.events import Event


@dataclass(frozen=True)
class PasswordChanged(Event):
    """`keep_session` is the session in which the owner changed it; None after a reset by mail."""

    user_id: UUID
    keep_session: UUID | None


@dataclass(frozen=True)
class SessionsRevoked(Event):
    """`by` ends all sessions of the account, which is locked."""

    user_id: UUID
    by: UUID | None


@dataclass(frozen=True)
class EmailChangeRequested(Event):
    """The owner asks for another address, which waits until it is verified.

    `is_repeated` says that the account already waits for this address.
    """

    user_id: UUID
    email: str
    former_email: str
    is_repeated: bool


@dataclass(frozen=True)
class EmailChangeCancelled(Event):
    """The account waits for no other address any more."""

    user_id: UUID


@dataclass(frozen=True)
class EmailChanged(Event):
    """Another address, or another spelling of it, has taken effect.

    `by_owner` by a mailed link; otherwise an administrator changed it. `is_invited` says that an
    invitation goes to the new address.
    """

    user_id: UUID
    former_email: str
    email: str
    by_owner: bool
    is_invited: bool = False


@dataclass(frozen=True)
class UserInvited(Event):
    """An account without a password is to receive a link that sets the first one."""

    user_id: UUID
    email: str


@dataclass(frozen=True)
class UserDeleted(Event):
    """The account is gone, with all rows that refer to it and cascade."""

    user_id: UUID
