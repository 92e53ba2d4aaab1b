"""Checks of names and descriptions that modules declare beside their routes."""

import re
import sys
from collections.abc import Iterator, Sequence

from backend.core.errors import all_errors
from backend.core.module import Module
from backend.core.settings import Settings, SettingsBase
from backend.core.telemetry_settings import TelemetrySettings

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def manifest_problems(modules: Sequence[Module]) -> Iterator[str]:
    """Yield a sentence with the remedy for each name or description that does not suffice."""
    yield from _feature_problems(modules)
    yield from _setting_problems(modules)
    yield from _error_problems(modules)


def _feature_problems(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        for feature in module.features:
            for name in (feature.name, *feature.actions):
                if not _NAME.fullmatch(name):
                    yield (
                        f"Module '{module.name}' declares the feature '{feature.name}' with the "
                        f"name '{name}': use lower-case letters, digits and underscores."
                    )
            for permission, text in feature.permissions.items():
                if not text.strip() or not feature.description.strip():
                    yield (
                        f"Module '{module.name}' does not describe the permission "
                        f"'{permission}': administrators read the texts of features and actions."
                    )


def _setting_problems(modules: Sequence[Module]) -> Iterator[str]:
    owners: dict[str, str] = {}
    kinds: list[tuple[str, type[SettingsBase]]] = [
        ("core", Settings),
        ("core", TelemetrySettings),
        *((module.name, module.settings) for module in modules if module.settings),
    ]
    for owner, kind in kinds:
        for name, field in kind.model_fields.items():
            variable = name.upper()
            if not (field.description or "").strip():
                yield (
                    f"Module '{owner}' does not describe the setting {variable}: "
                    "Field(..., description=...)."
                )
            if name in owners and not any(name in base.model_fields for base in _parents(kind)):
                yield (
                    f"Module '{owner}' declares the setting {variable}, which '{owners[name]}' "
                    "declares already: choose another name."
                )
            owners.setdefault(name, owner)


def _parents(kind: type[SettingsBase]) -> list[type[SettingsBase]]:
    return [base for base in kind.__bases__ if issubclass(base, SettingsBase)]


def _error_problems(modules: Sequence[Module]) -> Iterator[str]:
    """Yield the codes of two modules. A module may use a code of core for a case of its own."""
    names = {module.name for module in modules}
    owners: dict[str, str] = {}
    for error in all_errors():
        owner = error.__module__.rpartition(".")[0].rpartition(".")[2]
        # Classes of modules that are no longer loaded remain until they are garbage collected.
        is_loaded = getattr(sys.modules.get(error.__module__), error.__name__, None) is error
        if owner not in names or not is_loaded:
            continue
        other = owners.setdefault(error.code, owner)
        if other != owner:
            yield (
                f"Module '{owner}' gives {error.__name__} the code {error.code}, which module "
                f"'{other}' has already: choose another one, because clients branch on codes."
            )
