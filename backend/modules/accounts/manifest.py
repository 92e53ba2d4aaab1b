from backend.core.module import Module

module = Module(name="accounts")
