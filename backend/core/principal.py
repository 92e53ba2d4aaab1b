"""The caller, whose permissions routes and services check."""

from collections.abc import Set
from dataclasses import dataclass
from uuid import UUID

from backend.core.errors import PermissionDeniedError


@dataclass(frozen=True, slots=True)
class Principal:
    """The user of a request, with the permissions read for it.

    Requests by cookie that change anything must send `csrf_token`. If `wrote_recently`, the
    replica may lack writes of this session.
    """

    user_id: UUID
    session_id: UUID
    permissions: frozenset[str]
    csrf_token: str | None = None
    wrote_recently: bool = False

    def may(self, permission: str) -> bool:
        return permission in self.permissions

    def may_all(self, permissions: Set[str]) -> bool:
        return permissions <= self.permissions

    def must(self, permission: str) -> None:
        """Raise `PermissionDeniedError` unless the caller holds this permission."""
        if permission not in self.permissions:
            raise PermissionDeniedError

    def must_be_system(self) -> None:
        """Raise `PermissionDeniedError`: only trusted callers may."""
        raise PermissionDeniedError


@dataclass(frozen=True, slots=True)
class System:
    """The application itself: a job, a command, or a service that acts on its own account.

    It has every permission and no user id.
    """

    user_id: None = None

    def may(self, permission: str) -> bool:
        return True

    def may_all(self, permissions: Set[str]) -> bool:
        return True

    def must(self, permission: str) -> None:
        """Allow everything."""

    def must_be_system(self) -> None:
        """Allow everything."""


SYSTEM = System()
# The parameter `by` of a service function. None, where a function takes it, is an anonymous caller.
Caller = Principal | System
