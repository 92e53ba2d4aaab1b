"""Where the request that is being answered comes from, and where its answer points to."""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from uuid import UUID

from starlette.datastructures import Headers
from starlette.types import Scope

MAX_USER_AGENT = 255
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")
_MAX_PREFIX = 200
# Set by the outermost middleware. Handing the request down would teach every service HTTP.
current_scope: ContextVar[Scope | None] = ContextVar("current_scope", default=None)


@dataclass(frozen=True)
class ClientInfo:
    """Who asks, and from where; all None outside a request, as in a job."""

    user_id: UUID | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


def client_info() -> ClientInfo:
    """The origin of the request that this task is answering."""
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


def client_address(scope: Scope) -> str | None:
    """The client's IP address; None where there is none, as on a Unix socket."""
    client = scope.get("client")
    return None if client is None else plain_address(client[0])


@lru_cache(4096)
def plain_address(text: str) -> str | None:
    """An IP address in its usual spelling, as it is counted and written down; else None."""
    try:
        address = ip_address(text)
        # A socket that takes both kinds writes the old kind in the form of the new.
        return str(getattr(address, "ipv4_mapped", None) or address)
    except ValueError:
        # Some servers put into it whatever a forwarding header says.
        return None


def address(path: str) -> str:
    """The address of a path of this application as the client has to write it.

    Below a proxy's prefix it begins with that. For addresses in bodies, pages and cookies;
    `Location` and `Link` get the prefix on their way out.
    """
    scope = current_scope.get()
    prefix: str = scope.get("prefix", "") if scope else ""
    return prefix + path


def parse_prefix(text: str) -> str | None:
    """A prefix of paths without the slash at its end; None for what is no plain path."""
    prefix = text.removesuffix("/")
    return prefix if len(prefix) <= _MAX_PREFIX and _PREFIX.fullmatch(prefix) else None
