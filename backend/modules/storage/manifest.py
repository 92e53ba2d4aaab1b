from backend.core.module import Module
from backend.modules.storage.settings import StorageSettings

module = Module(depends_on=("users",), settings=StorageSettings)
