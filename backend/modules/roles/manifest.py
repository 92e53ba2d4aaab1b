from backend.core.module import Module
from backend.modules.roles.service import sync_on_start

module = Module(name="roles", startup=sync_on_start)
