"""Modules and validated settings, loaded before a command starts anything."""

from collections.abc import Mapping

from backend.cli.terminal import require_writable
from backend.core.module import Module
from backend.core.registry import discover, setting_kinds
from backend.core.security import secret_keys
from backend.core.settings import Settings, SettingsBase, load_settings

Loaded = Mapping[type[SettingsBase], SettingsBase]


def load() -> tuple[Settings, Loaded, tuple[Module, ...]]:
    """Return the core's settings, all settings by class, and the modules.

    Raise `RegistryError`, `SettingsError` or `CommandError` if any of them is unusable.
    """
    modules = discover()
    loaded = load_settings(setting_kinds(modules))
    settings = loaded[Settings]
    assert isinstance(settings, Settings)
    if settings.secret_key is None:
        require_writable(settings.data_dir)
        secret_keys(settings)
    return settings, loaded, modules
