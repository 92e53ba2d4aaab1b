"""Modules that a test adds to those of the application."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import backend.modules
from backend.core.module import Module
from backend.core.registry import discover


@contextmanager
def discovered_with(folder: Path) -> Iterator[tuple[Module, ...]]:
    """Yield the discovered modules, including the one in `folder`; then unload that one.

    The folder lies alone in its parent. Its tables stay in the metadata.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend.modules, "__path__", [*backend.modules.__path__, str(folder.parent)])
        yield discover()
    package = f"backend.modules.{folder.name}"
    for name in [each for each in sys.modules if f"{each}.".startswith(f"{package}.")]:
        del sys.modules[name]
    # Importing a folder binds it.
    delattr(backend.modules, folder.name)
