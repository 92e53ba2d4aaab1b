from backend.core.module import Module
from backend.modules.health.router import router

module = Module(name="health", router=router, versioned=False, probes=True)
