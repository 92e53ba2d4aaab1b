"""Settings as `dev` and `serve` need them: all of them checked, before anything is started."""

from collections.abc import Mapping

from backend.cli.terminal import require_writable
from backend.core.module import Module
from backend.core.registry import discover
from backend.core.security import secret_keys
from backend.core.settings import Settings, SettingsBase, load_settings

Loaded = Mapping[type[SettingsBase], SettingsBase]


def load() -> tuple[Settings, Loaded, tuple[Module, ...]]:
    """The core's settings, everybody's, and the modules; an error if any is not usable."""
    modules = discover()
    loaded = load_settings(module.settings for module in modules if module.settings)
    settings = loaded[Settings]
    assert isinstance(settings, Settings)
    if settings.secret_key is None:
        require_writable(settings.data_dir)
        secret_keys(settings)
    return settings, loaded, modules
