"""Who is calling."""

from dataclasses import dataclass
from uuid import UUID

from backend.core.errors import PermissionDeniedError


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of this request, as of now: permissions are read anew for each request.

    `csrf_token` is what callers by cookie have to send with everything that changes something.
    """

    user_id: UUID
    session_id: UUID
    permissions: frozenset[str]
    csrf_token: str | None = None

    def may(self, permission: str) -> bool:
        return permission in self.permissions

    def must(self, permission: str) -> None:
        """Raise `PermissionDeniedError` without this permission."""
        if permission not in self.permissions:
            raise PermissionDeniedError
