from backend.core.module import Module
from backend.modules.audit import service  # noqa: F401
from backend.core.permissions import Feature

module = Module(
    name="audit",
    features=(Feature("audit", "The record of what was done.", {"read": "Read the record."}),),
)
