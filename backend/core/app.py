"""Assembly of the application from settings and modules."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy.exc import ProgrammingError
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.types import ASGIApp, Scope

from backend.addresses.host_names import admission
from backend.core.authorization import policies
from backend.core.background import in_background
from backend.core.client_info import current_principal
from backend.core.context import (
    Context,
    NotReadyError,
    ReadinessCheck,
    always_anonymous,
    ignore_refusal,
)
from backend.core.events import durable_by_event, handlers_by_event
from backend.core.http import docs
from backend.core.http.deprecations import HEADERS
from backend.core.http.exception_handlers import install_error_handlers
from backend.core.http.inclusions import inclusions_of
from backend.core.http.middleware.ambiguous_headers import AmbiguousHeadersMiddleware
from backend.core.http.middleware.anonymous_throttle import AnonymousThrottleMiddleware
from backend.core.http.middleware.compression import CompressionMiddleware
from backend.core.http.middleware.cors import CORSMiddleware
from backend.core.http.middleware.normalize_path import NormalizePathMiddleware
from backend.core.http.middleware.proxy_headers import ProxyHeadersMiddleware
from backend.core.http.middleware.request_context import RequestContextMiddleware
from backend.core.http.middleware.root_path import RootPathMiddleware
from backend.core.http.middleware.server_error import ServerErrorMiddleware
from backend.core.http.middleware.traces import TracesMiddleware
from backend.core.http.middleware.trusted_host import TrustedHostMiddleware
from backend.core.http.openapi import openapi_document, operation_id
from backend.core.http.proxy_watch import proxies_watched, proxy_watch
from backend.core.http.route_index import RouteIndex
from backend.core.http.routing import Route
from backend.core.http.versions import router_of, versions_of
from backend.core.metrics import sampled
from backend.core.module import Module
from backend.core.personal_data import personal_data_of
from backend.core.registry import literal_paths, prefix_of, probe_paths
from backend.core.security import derive_key, secret_keys
from backend.core.settings import Settings, SettingsBase, SettingsError
from backend.core.stores import make_cache, make_temporary, using_cache
from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.errors import EncodingError, PoolerError, driver_error, is_unavailable
from backend.db.query_runner import QueryRunner
from backend.db.troubles import database_trouble
from backend.product import VERSION
from backend.ratelimit.limiter import RateLimiter, make_limiter, redis_check
from backend.ratelimit.rules import parse_rules
from backend.telemetry.database import DatabaseObserver
from backend.telemetry.spans import request_name
from backend.telemetry.tracing import Tracing, active_trace_id

if TYPE_CHECKING:
    from backend.telemetry.error_reports import ErrorReports
    from backend.telemetry.metrics import Metrics

log = structlog.get_logger()

STARTUP_RETRY_SECONDS = 1.0


def create_context(
    modules: Sequence[Module],
    loaded: Mapping[type[SettingsBase], SettingsBase],
    metrics: "Metrics | None" = None,
    tracing: Tracing | None = None,
    error_reports: "ErrorReports | None" = None,
) -> Context:
    """Return the context of an application or a command; the caller closes its database."""
    settings = loaded[Settings]
    assert isinstance(settings, Settings)
    if settings.database_url is None:
        raise SettingsError(
            ["DATABASE_URL is not set: `backend dev` and `backend serve` bring a database."]
        )
    replica = settings.database_replica_url
    database = Database(
        settings.database_url.get_secret_value(),
        replica_url=replica.get_secret_value() if replica else None,
        replica_max_lag=settings.replica_max_lag,
        before_commit=_write_marker(modules) if replica else None,
        size=settings.database_pool_size // 2,
        timeouts=_timeouts(settings),
        observer=DatabaseObserver(settings.database_slow_statement, metrics),
    )
    keys = secret_keys(settings)
    try:
        limits = _limiter(settings, derive_key(keys[0], "limits"), database.primary)
        response_cache = make_cache(settings, derive_key(keys[0], "cache"), metrics)
        secrets = [derive_key(key, "temporary values") for key in keys]
        temporary = make_temporary(settings, secrets, database.primary)
    except ValueError:
        raise SettingsError(
            ["REDIS_URL: must be like redis://user:password@host:6379/0, with known options."]
        ) from None
    subscribers = [each for module in modules for each in module.subscribers]
    return Context(
        settings=settings,
        module_settings=loaded,
        database=database,
        temporary=temporary,
        secret_keys=keys,
        features=tuple(feature for module in modules for feature in module.features),
        authenticate=next((m.authenticate for m in modules if m.authenticate), always_anonymous),
        on_refusal=next((m.on_refusal for m in modules if m.on_refusal), ignore_refusal),
        subscribers=handlers_by_event(subscribers),
        durable_subscribers=durable_by_event(subscribers),
        personal_data=personal_data_of(modules),
        inclusions=inclusions_of(modules),
        limits=limits,
        cache=response_cache,
        checks=_checks(settings, modules),
        response_store=next((m.response_store for m in modules if m.response_store), None),
        probe_paths=probe_paths(modules),
        metrics=metrics,
        tracing=tracing,
        error_reports=error_reports,
        literal_paths=literal_paths(modules),
        versions=versions_of(modules),
    )


def _checks(settings: Settings, modules: Sequence[Module]) -> dict[str, ReadinessCheck]:
    checks = {name: check for module in modules for name, check in module.readiness.items()}
    if settings.redis_url is not None:
        checks["redis"] = redis_check(settings.redis_url)
    if settings.database_replica_url is not None:
        checks["replica"] = _check_replica
    return checks


def _timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        pool=settings.database_pool_timeout,
        statement=settings.database_statement_timeout,
        expensive_read=settings.database_expensive_read_timeout,
        pooled=settings.database_pooler == "transaction",
    )


def _write_marker(modules: Sequence[Module]) -> Callable[[AsyncSession], Awaitable[None]]:
    mark = next((module.mark_write for module in modules if module.mark_write), None)

    async def mark_write(session: AsyncSession) -> None:
        principal = current_principal()
        if mark is not None and principal is not None:
            await mark(session, principal)

    return mark_write


async def _check_replica(context: Context) -> None:
    if problem := context.database.replica_problem():
        raise NotReadyError(problem)


def _limiter(settings: Settings, secret: bytes, reader: QueryRunner) -> RateLimiter | None:
    if not settings.rate_limit_enabled:
        return None
    return make_limiter(
        settings.limit_storage,
        parse_rules(settings.rate_limit_default),
        secret=secret,
        reader=reader,
        redis_url=settings.redis_url,
    )


def create_app(context: Context, modules: Sequence[Module]) -> FastAPI:
    """Return the application of `modules`, which are in the order of the registry."""
    settings = context.settings

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with running(context, modules):
            yield

    app = FastAPI(
        title=settings.product_name,
        version=VERSION,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # Its own spans contain queries and addresses.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        generate_unique_id_function=operation_id,
    )
    app.state.context = context
    # The order is irrelevant: the registry refuses modules whose routes could hide each other.
    for number in versions_of(modules):
        for module in modules:
            router = router_of(module, number)
            if router is not None:
                app.include_router(router, prefix=prefix_of(module, number))
    app.include_router(docs.error_pages)
    if settings.shows_docs:
        docs.mount_documentation(app, later=versions_of(modules)[1:])
    _describe(app, modules)
    install_error_handlers(app)
    _add_middleware(app, context)

    # Layers that add nothing to a response return the awaitable of the next one. A coroutine of
    # their own would resume at the end of each wait.
    def build() -> ASGIApp:
        layers: ASGIApp = RouteIndex(app, app.router, is_local=settings.is_local)
        for each, arguments, options in reversed(app.user_middleware):
            layers = each(layers, *arguments, **options)
        return layers

    # FastAPI calls it at the start, and would add layers outside and inside of these.
    app.build_middleware_stack = build  # type: ignore[method-assign]
    return app


def _describe(app: FastAPI, modules: Sequence[Module]) -> None:
    """Set FastAPI's hook for the OpenAPI document, of the first or another version of the API."""
    security = next((module.security for module in modules if module.security), None)
    features = [feature for module in modules for feature in module.features]
    permissions = {name: text for each in features for name, text in each.permissions.items()}

    @cache
    def openapi(version: int = 1) -> dict[str, Any]:
        return openapi_document(
            app,
            security,
            personal_data_of(modules),
            inclusions_of(modules),
            permissions,
            version=version,
            versions=versions_of(modules),
        )

    app.openapi = openapi  # type: ignore[method-assign]


def _add_middleware(app: FastAPI, context: Context) -> None:
    settings = context.settings
    contexts = iter_route_contexts(app.routes)
    routes = [route for route in contexts if isinstance(route.original_route, APIRoute)]
    templates = {str(route.path_format) for route in routes}
    anonymous = {
        str(route.path_format)
        for route in routes
        if "POST" in (route.methods or ()) and _ignores_credentials(route.original_route)
    }
    probes = [path for path in templates if context.is_probe(path)]
    # The first one added is the innermost.
    app.add_middleware(AnonymousThrottleMiddleware, paths=anonymous)
    if settings.compression_enabled:
        secret = {route.endpoint for route in routes if _carries_secrets(route.original_route)}
        app.add_middleware(CompressionMiddleware, carries_secrets=secret.__contains__)
    app.add_middleware(NormalizePathMiddleware)
    # Against DNS rebinding: a page of another site whose name resolves to this machine.
    admits = admission(settings.allowed_hosts, local_only=settings.is_development)
    if admits is not None:
        app.add_middleware(TrustedHostMiddleware, admits=admits, is_probe=context.is_probe)
    app.add_middleware(AmbiguousHeadersMiddleware)
    app.add_middleware(
        ServerErrorMiddleware,
        seconds=settings.request_timeout,
        show_details=settings.is_development,
        report=_reporter(context),
    )
    allows = settings.allows_origin if settings.cors_origins or settings.is_development else None
    announces = any(_is_deprecated(route.original_route) for route in routes)
    app.add_middleware(CORSMiddleware, allows=allows, also_readable=HEADERS if announces else ())
    if settings.root_path or settings.trusted_proxies:
        roots = {template.split("/", 2)[1] for template in templates}
        app.add_middleware(RootPathMiddleware, root_path=settings.root_path, roots=roots)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted=settings.trusted_proxies)
    app.add_middleware(
        RequestContextMiddleware,
        hsts=settings.hsts,
        probes=probes,
        metrics=context.metrics,
        watch=proxy_watch(context),
    )
    if context.tracing is not None:
        app.add_middleware(
            TracesMiddleware,
            tracing=context.tracing,
            is_probe=lambda path: context.is_probe(path.removeprefix(settings.root_path)),
        )


def _reporter(context: Context) -> Callable[[Scope, Exception], None] | None:
    """Return a function that reports an unhandled error of a request; None without reports."""
    reports = context.error_reports
    if reports is None:
        return None

    def report(scope: Scope, error: Exception) -> None:
        place = request_name(scope["method"], scope.get("path_template"))
        tags = {"request_id": scope.get("request_id"), "trace_id": active_trace_id()}
        reports.report(error, place, **tags, **database_trouble(error))

    return report


def _ignores_credentials(route: Any) -> bool:
    return any(policy.kind == "ignored" and policy.limited for policy in policies(route.dependant))


def _is_deprecated(route: Any) -> bool:
    return isinstance(route, Route) and bool(route.deprecations)


def _carries_secrets(route: Any) -> bool:
    return isinstance(route, Route) and route.carries_secrets


@asynccontextmanager
async def running(context: Context, modules: Sequence[Module]) -> AsyncIterator[None]:
    """Start the modules; at the end of the block close their resources and the database."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(context.close)
        await stack.enter_async_context(context.database.maintained())
        await stack.enter_async_context(sampled(context))
        await stack.enter_async_context(proxies_watched(context))
        await stack.enter_async_context(
            using_cache(context.cache, context.settings, context.database)
        )
        for module in modules:
            if module.lifespan:
                await stack.enter_async_context(module.lifespan(context))
        starting = await stack.enter_async_context(in_background(_start_up(context, modules)))
        # Usually the databases are available, and the work is complete before the first request.
        async with in_background(context.database.replica_checked()) as checked:
            await asyncio.wait([starting, checked], timeout=STARTUP_RETRY_SECONDS)
        # Present objects live as long as the process; garbage collection can skip them.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        yield


async def _start_up(context: Context, modules: Sequence[Module]) -> None:
    """Run the startup work of each module, and repeat it until it succeeds."""
    pending = [(module.name, module.startup) for module in modules if module.startup]
    while pending:
        name, startup = pending[0]
        try:
            await startup(context)
        except Exception as error:  # tried again after any error
            if is_unavailable(error) or isinstance(error, ProgrammingError):
                # Down or not migrated. The driver's message would disclose hosts and users.
                reason = type(driver_error(error)).__name__
                if isinstance(error, EncodingError | PoolerError):
                    reason = str(error)
                log.warning("startup_waits", module=name, reason=reason, **database_trouble(error))
            else:
                log.exception("startup_failed", module=name, **database_trouble(error))
                if context.error_reports is not None:
                    context.error_reports.report(error, f"startup {name}")
            await asyncio.sleep(STARTUP_RETRY_SECONDS)
        else:
            pending.pop(0)
    context.state.started = True
