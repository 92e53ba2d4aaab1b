"""Who is calling: the authenticator that this module gives to the core."""

from starlette.requests import Request

from backend.core.context import context_of
from backend.core.errors import InvalidTokenError
from backend.core.principal import Principal
from backend.modules.auth import queries
from backend.modules.auth.tokens import issuer_of
from backend.modules.users.service import permission_set


async def authenticate(request: Request) -> Principal | None:
    """The caller, or None without credentials. Bad credentials raise; they are never anonymous."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidTokenError
    context = context_of(request)
    claims = issuer_of(context).verify(token.strip())
    row = await context.database.fresh.first(
        queries.IDENTITY, session_id=claims.session_id, user_id=claims.user_id
    )
    if row is None:
        raise InvalidTokenError
    return Principal(claims.user_id, claims.session_id, permission_set(row["permissions"]))
