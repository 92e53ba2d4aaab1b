"""The context: settings, database, keys and state of one application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.features import Feature
from backend.core.lists import ListQuery, Page
from backend.core.principal import Principal
from backend.core.response_cache import ResponseCache
from backend.core.schemas import Schema
from backend.core.security import derive_key
from backend.core.settings import Settings, SettingsBase
from backend.core.stored_events import DurableSubscriber
from backend.core.stored_responses import ResponseStore
from backend.db.database import Database
from backend.db.queries import Query
from backend.db.query_runner import QueryRunner
from backend.db.read_limits import PerCallerLimiter
from backend.integrations.values import TemporaryStore
from backend.ratelimit.limiter import RateLimiter

if TYPE_CHECKING:
    from backend.telemetry.error_reports import ErrorReports
    from backend.telemetry.metrics import Metrics
    from backend.telemetry.tracing import Tracing

# Pages of up to 2 MiB; rendering one takes several times that much memory.
LARGE_PAGES = 8
S = TypeVar("S", bound=SettingsBase)
Authenticator = Callable[[Request], Awaitable[Principal | None]]
ReadinessCheck = Callable[["Context"], Awaitable[None]]
RefusalObserver = Callable[[Request], Awaitable[None]]
WriteMarker = Callable[[AsyncSession, Principal], Awaitable[None]]
EventHandler = Callable[["Context", AsyncSession, Any], Awaitable[None]]
Eraser = Callable[["Context", AsyncSession, UUID], Awaitable[None]]
ExportPages = AsyncIterator[Sequence[BaseModel]]
T = TypeVar("T")


class NotReadyError(Exception):
    """The failure of a readiness check; its text is public."""


async def always_anonymous(_: Request) -> None:
    """The default authenticator."""


async def ignore_refusal(_: Request) -> None:
    """The default observer of refusals."""


@dataclass(frozen=True)
class ExportPart:
    """A part of the export of a user's data: rows of `schema`, or with `single` one object.

    `read` yields the rows that belong to the principal, in pages that fit into memory.
    """

    schema: type[BaseModel]
    read: Callable[["Context", QueryRunner, Principal], ExportPages]
    single: bool = False


@dataclass(frozen=True)
class Counts:
    """Numbers of a user's rows by name, counted by one query whose parameter `owner` is the id."""

    names: tuple[str, ...]
    query: Query
    owner: str


@dataclass(frozen=True)
class PersonalData:
    """The declarations of the modules about the data of users; see `core.personal_data`."""

    export: Mapping[str, ExportPart] = field(default_factory=dict)
    statistics: Sequence[Counts] = ()
    erasers: Sequence[Eraser] = ()


@dataclass(frozen=True)
class Inclusion:
    """Rows that belong to a resource of the module `of`, included in it by `?include={name}`.

    `load` is a service function. It returns the first page of the rows, whose schema is `schema`,
    for the resource with this id. It checks the rights of the principal before it reads, so that
    ids that do not exist get the same refusal.
    """

    of: str
    name: str
    schema: type[Schema]
    load: Callable[[QueryRunner, Principal, UUID, ListQuery], Awaitable[Page[Any]]]


@dataclass
class State:
    """The state that changes while the application runs."""

    started: bool = False
    draining: bool = False


@dataclass(frozen=True, eq=False)
class Context:
    """The context of one application; `context_of(request)` returns it.

    `checks` are the readiness checks of all modules by name; each raises when it fails.
    `secret_keys` begins with the one that is used for everything new. `subscribers` are the
    handlers of each class of events, and `durable_subscribers` get it after the commit.
    `response_store` keeps the responses of requests that may be
    repeated. `personal_data` exports, counts and erases what modules hold about a user.
    `inclusions` are those of all modules. `limits` and `cache` are None where they are off;
    `temporary` stores values for all processes. `large_pages` admits those whose rows are in memory
    at once. Requests whose path begins with one of `probe_paths` watch the server. `literal_paths`
    are those of routes without parameters. `versions` are those of the API. `metrics`, `tracing`
    and `error_reports` are None where settings do not ask for them.
    """

    settings: Settings
    module_settings: Mapping[type[SettingsBase], SettingsBase]
    database: Database
    temporary: TemporaryStore
    secret_keys: tuple[bytes, ...]
    features: tuple[Feature, ...] = ()
    authenticate: Authenticator = always_anonymous
    on_refusal: RefusalObserver = ignore_refusal
    subscribers: Mapping[type[Any], Sequence[EventHandler]] = field(default_factory=dict)
    durable_subscribers: Mapping[type[Any], Sequence[DurableSubscriber]] = field(
        default_factory=dict
    )
    personal_data: PersonalData = field(default_factory=PersonalData)
    inclusions: Sequence[Inclusion] = ()
    limits: RateLimiter | None = None
    cache: ResponseCache | None = None
    checks: Mapping[str, ReadinessCheck] = field(default_factory=dict)
    response_store: ResponseStore | None = None
    probe_paths: tuple[str, ...] = ()
    metrics: "Metrics | None" = None
    tracing: "Tracing | None" = None
    error_reports: "ErrorReports | None" = None
    literal_paths: frozenset[str] = frozenset()
    versions: Sequence[int] = (1,)
    state: State = field(default_factory=State)
    large_pages: PerCallerLimiter = field(
        default_factory=lambda: PerCallerLimiter(LARGE_PAGES, 5, "place for a page")
    )

    _single: dict[object, Any] = field(default_factory=dict, repr=False)

    def get_or_create(self, make: Callable[["Context"], T]) -> T:
        """Return the value of `make(self)`, which is called only the first time.

        For a module's state in memory, which two applications in one process must not share.
        """
        try:
            return cast(T, self._single[make])
        except KeyError:
            return cast(T, self._single.setdefault(make, make(self)))

    async def close(self) -> None:
        """Close the connections of all stores, then send the traces and reports that are left."""
        async with AsyncExitStack() as stack:
            # In reverse order, and each of them even if another one fails.
            stack.push_async_callback(self._send_left)
            for store in (self.database, self.temporary, self.limits, self.cache):
                if store is not None:
                    stack.push_async_callback(store.close)

    async def _send_left(self) -> None:
        senders = (self.tracing, self.error_reports)
        # Together, because a stop has a limit.
        await asyncio.gather(*(each.close() for each in senders if each is not None))

    def is_probe(self, path: str) -> bool:
        """Return whether requests for this path monitor the server."""
        return f"{path}/".startswith(self.probe_paths)

    def settings_of(self, kind: type[S]) -> S:
        return cast(S, self.module_settings[kind])

    def key(self, purpose: str) -> bytes:
        """Return a 32-byte key derived for this purpose alone."""
        return derive_key(self.secret_keys[0], purpose)

    def keys(self, purpose: str) -> tuple[bytes, ...]:
        """Return `key(purpose)`, then the keys of the previous secrets."""
        return tuple(derive_key(secret, purpose) for secret in self.secret_keys)

    @cached_property
    def cursor_key(self) -> bytes:
        return self.key("cursors")


def context_of(request: Request) -> Context:
    # As an attribute, it would be found only after a failed lookup, several times a request.
    context: Context = request.scope["app"].state["context"]
    return context
