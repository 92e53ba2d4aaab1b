"""The manifest: the declaration of a module."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from fastapi import APIRouter
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import (
    Authenticator,
    Context,
    Counts,
    Eraser,
    ExportPart,
    Inclusion,
    ReadinessCheck,
    RefusalObserver,
    WriteMarker,
)
from backend.core.events import Subscriber
from backend.core.features import Feature
from backend.core.jobs import Job
from backend.core.principal import Principal
from backend.core.settings import SettingsBase
from backend.core.stored_events import DurableSubscriber
from backend.core.stored_responses import ResponseStore

Seed = Callable[[Context, AsyncSession, Random, Sequence[Principal]], Awaitable[int]]


@dataclass(frozen=True)
class SecuritySchemes:
    """How the OpenAPI document describes the credentials that `authenticate` accepts.

    schemes   security schemes by name (OpenAPI 3.1, "Security Scheme Object")
    safe      alternatives for GET, HEAD and OPTIONS; each lists the schemes that a request must
              combine
    unsafe    alternatives for all other methods
    """

    schemes: Mapping[str, Mapping[str, Any]]
    safe: tuple[tuple[str, ...], ...]
    unsafe: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Module:
    """The declarations of a module. Its `manifest.py` binds them to the name `module`.

    name          name of the folder; manifests leave it out
    depends_on    modules whose service, schemas, exceptions or events it imports, or whose
                  tables its foreign keys refer to
    versions      routers of later versions of the API, with only the routes that differ; see
                  `core.http.versions`
    versioned     False puts its routes at the root instead of under /api/v1
    startup       idempotent work on the migrated database; several processes may run it at the
                  same time, and it is repeated until it succeeds
    lifespan      resources kept open while the application runs
    readiness     named checks; the application is `degraded` while one of them fails
    probes        True if its routes monitor the server: they accept any `Host` and have reserved
                  connections
    authenticate  returns the caller, or None without credentials; at most one module sets it
    mark_write    records that the session of a signed-in caller has written, in the same
                  transaction, so that its next reads use the primary; called only with a replica
    response_store  keeps the responses of requests with an Idempotency-Key; at most one module
                  sets it
    security      the OpenAPI description of these credentials; at most one module sets it
    built_in_roles  descriptions by name; at most one module sets them
    jobs          jobs, enqueued by the module or run on a schedule
    on_refusal    called for every `PermissionDeniedError`, before the response; at most one
                  module sets it
    subscribers   handlers of events that modules in `depends_on` publish; see `core.events`
    users_table   the table of users; at most one module sets it
    export        what the module holds about a user, as named parts of the user's export; `{}` if
                  it is nothing that concerns them; see `core.personal_data`
    erase         removes what the module holds about a user, in the transaction that deletes the
                  account and before its row is deleted; `by_cascade` if foreign keys remove it.
                  Modules whose tables refer to users declare both.
    owned         paths whose rows have an owner, with the permission for those of other users, or
                  None; `/notes/{id}` includes all paths below it, `GET /notes` is that route
                  alone. docs/permissions.md shows it, and tests compare it with the responses
    statistics    numbers of a user's rows, as members of the user's statistics
    inclusions    lists of its rows that requests may include in resources of modules in
                  `depends_on`; see `core.http.inclusions`
    seed          creates example rows for development, owned by these users, from these random
                  numbers; returns how many
    """

    name: str = ""
    router: APIRouter | None = None
    depends_on: tuple[str, ...] = ()
    versions: tuple[APIRouter, ...] = ()
    versioned: bool = True
    features: tuple[Feature, ...] = ()
    settings: type[SettingsBase] | None = None
    startup: Callable[[Context], Awaitable[None]] | None = None
    lifespan: Callable[[Context], AbstractAsyncContextManager[Any]] | None = None
    readiness: Mapping[str, ReadinessCheck] = field(default_factory=dict)
    probes: bool = False
    authenticate: Authenticator | None = None
    mark_write: WriteMarker | None = None
    response_store: ResponseStore | None = None
    security: SecuritySchemes | None = None
    built_in_roles: Mapping[str, str] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    on_refusal: RefusalObserver | None = None
    subscribers: tuple[Subscriber | DurableSubscriber, ...] = ()
    users_table: type[SQLModel] | None = None
    export: Mapping[str, ExportPart] | None = None
    erase: Eraser | None = None
    owned: Mapping[str, str | None] = field(default_factory=dict)
    statistics: Counts | None = None
    inclusions: tuple[Inclusion, ...] = ()
    seed: Seed | None = None

    @property
    def all_jobs(self) -> tuple[Job, ...]:
        """The jobs that workers run: its own, and the deliveries of events to it."""
        durable = [each.job for each in self.subscribers if isinstance(each, DurableSubscriber)]
        return (*self.jobs, *durable)
