from backend.core.module import Module
from backend.modules.storage.settings import StorageSettings

module = Module(name="storage", depends_on=("users",), settings=StorageSettings)
