"""Rules of the service for bodies that fail type validation, so that all errors are reported."""

from contextlib import suppress

from backend.core.errors import FieldError
from backend.core.http.body_checks import InvalidBody
from backend.core.principal import SYSTEM
from backend.modules.roles import service
from backend.modules.roles.exceptions import RoleNotFoundError, UnknownPermissionError


async def permissions(refused: InvalidBody) -> list[FieldError]:
    """Return an error for each permission that is neither declared nor held by the role."""
    context, sent = refused.context, refused.sent.get("permissions", ())
    known = {name for feature in context.features for name in feature.permissions}
    if "name" in refused.path:
        with suppress(RoleNotFoundError):
            role = await service.get_role(context.database.primary, SYSTEM, refused.path["name"])
            known.update(role.permissions)
    unknown = [position for position, name in enumerate(sent) if name not in known]
    return list(UnknownPermissionError(unknown).errors)
