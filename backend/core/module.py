"""The manifest: everything the application knows about a feature, as data."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter

from backend.core.context import (
    Authenticator,
    Context,
    ReadinessCheck,
    RefusalObserver,
    WriteMarker,
)
from backend.core.events import Subscriber
from backend.core.jobs import Job
from backend.core.permissions import Feature
from backend.core.settings import SettingsBase


@dataclass(frozen=True)
class SecuritySchemes:
    """How the OpenAPI document describes the credentials that `authenticate` accepts.

    schemes   security schemes by name (OpenAPI 3.1, "Security Scheme Object")
    safe      alternatives for GET, HEAD and OPTIONS; each lists the schemes that one request needs
              together
    unsafe    alternatives for all other methods
    """

    schemes: Mapping[str, Mapping[str, Any]]
    safe: tuple[tuple[str, ...], ...]
    unsafe: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Module:
    """What a feature folder offers. `manifest.py` binds one to the name `module`.

    name          that of the folder; manifests leave it out
    depends_on    modules whose service, schemas, exceptions or events it imports, or whose
                  tables its foreign keys name
    versioned     False puts its routes at the root instead of under /api/v1
    startup       idempotent work that needs the migrated database; several processes may run it
                  at once, and it is repeated until it succeeds
    lifespan      resources held as long as the application runs
    readiness     named checks; the application is `degraded` while one of them fails
    probes        True if its routes are called to watch the server: they answer under any `Host`,
                  and on connections that are reserved for them
    authenticate  who is calling, or None without credentials; at most one module has it
    mark_write    stores, in each transaction of a signed-in caller, that their session writes, so
                  that the following reads of the session see it; called with a replica only
    security      the OpenAPI description of these credentials; at most one module has it
    built_in_roles  description by name; at most one module has them
    jobs          what it does later or from time to time
    on_refusal    is told of every `PermissionDeniedError`, before it is answered; at most one
                  module has it
    subscribers   handlers of events that modules in `depends_on` publish; see `core.events`
    """

    name: str = ""
    router: APIRouter | None = None
    depends_on: tuple[str, ...] = ()
    versioned: bool = True
    features: tuple[Feature, ...] = ()
    settings: type[SettingsBase] | None = None
    startup: Callable[[Context], Awaitable[None]] | None = None
    lifespan: Callable[[Context], AbstractAsyncContextManager[Any]] | None = None
    readiness: Mapping[str, ReadinessCheck] = field(default_factory=dict)
    probes: bool = False
    authenticate: Authenticator | None = None
    mark_write: WriteMarker | None = None
    security: SecuritySchemes | None = None
    built_in_roles: Mapping[str, str] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    on_refusal: RefusalObserver | None = None
    subscribers: tuple[Subscriber, ...] = ()
