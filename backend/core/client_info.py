"""The client of the current request."""

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

from starlette.datastructures import Headers
from starlette.types import Scope

from backend.addresses.ip_addresses import plain_address
from backend.core.principal import Principal

MAX_USER_AGENT = 255
# Set by the outermost middleware. As an argument, the request would tie services to HTTP.
current_scope: ContextVar[Scope | None] = ContextVar("current_scope", default=None)


@dataclass(frozen=True)
class ClientInfo:
    """The client of a request; all fields are None outside a request, such as in a job."""

    user_id: UUID | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


def client_info() -> ClientInfo:
    """Return the client of the request that this task serves."""
    scope = current_scope.get()
    if scope is None:
        return ClientInfo()
    principal = scope.get("principal")
    return ClientInfo(
        user_id=principal.user_id if principal else None,
        ip=client_address(scope),
        user_agent=Headers(scope=scope).get("user-agent", "")[:MAX_USER_AGENT] or None,
        request_id=scope["request_id"],
    )


def current_principal() -> Principal | None:
    """Return the signed-in user of the request that this task serves, or None."""
    scope = current_scope.get()
    return None if scope is None else scope.get("principal")


def header_lines(scope: Scope, name: bytes) -> list[bytes]:
    """Return the values of all lines of this header; `name` is in lower case.

    Starlette's `Headers` take several times as long, which counts for what each request is asked.
    """
    return [value for key, value in scope["headers"] if key == name]


def client_address(scope: Scope) -> str | None:
    """Return the client's IP address, or None, such as on a Unix socket."""
    client = scope.get("client")
    return None if client is None else plain_address(client[0])
