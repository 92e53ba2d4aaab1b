from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.roles import service


async def sync_on_start(context: Context) -> None:
    """Bring the built-in roles in step with what the modules declare."""
    async with context.database.transaction() as session:
        await service.sync(session, SYSTEM, context.features)
