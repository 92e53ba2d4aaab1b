from backend.core.module import Module
from backend.modules.health.router import router

module = Module(router=router, versioned=False, probes=True)
