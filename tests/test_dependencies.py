"""All imported packages are declared, with upper bounds if their internals are used."""

import importlib
import inspect
from importlib.metadata import packages_distributions, version
from typing import Any, NamedTuple

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from backend.product import NAME
from tests.architecture import Source, read
from tests.test_packaging import ROOT, development, runtime


class Internal(NamedTuple):
    """A name that its library does not document, and the file of `backend` that uses it.

    `path` is `module:name` or `module:Class.attribute`; an attribute may be set by a method.
    """

    library: str
    path: str
    used_in: str


FORMS, ROUTING, BODIES = "core/http/forms.py", "core/http/routing.py", "core/http/bodies.py"
PLAN, DEPENDANT = "core/http/route_plan.py", "fastapi.dependencies.models:Dependant"
INDEX, EFFECTIVE = "core/http/route_index.py", "fastapi.routing:_EffectiveRouteContext"
CHECKS, POOL = "core/http/request_checks.py", "db/transaction_pool.py"
PROTOCOL, WRITES, SERVER = "server/protocol.py", "server/slow_readers.py", "server/server.py"
HEAD = "server/response_head.py"
QUEUE, SUPERVISOR, EXECUTION = (
    "worker/job_queue.py",
    "worker/supervisor.py",
    "worker/job_execution.py",
)
METRICS = "telemetry/metrics.py"
HTTPTOOLS = "uvicorn.protocols.http.httptools_impl"
CONNECTION, CYCLE = f"{HTTPTOOLS}:HttpToolsProtocol", f"{HTTPTOOLS}:RequestResponseCycle"
MANAGER = "procrastinate.manager:JobManager"

# Members of a `Dependant` that plans know.
PLANNED = (
    "name",
    "call",
    "path",
    "use_cache",
    "scope",
    "dependencies",
    "path_params",
    "body_params",
    "request_param_name",
    "response_param_name",
)

INTERNALS = (
    Internal("fastapi", "fastapi._compat:ModelField", FORMS),
    Internal("fastapi", "fastapi._compat:field_annotation_is_sequence", FORMS),
    Internal("fastapi", "fastapi._compat:lenient_issubclass", FORMS),
    Internal("fastapi", "fastapi.dependencies.utils:request_body_to_args", FORMS),
    Internal("fastapi", "fastapi.dependencies.models:Dependant.body_params", FORMS),
    Internal(
        "fastapi", "fastapi.dependencies.models:Dependant.dependencies", "core/authorization.py"
    ),
    Internal(
        "fastapi",
        "fastapi.dependencies.models:Dependant.query_params",
        "core/http/request_checks.py",
    ),
    Internal("fastapi", "fastapi.routing:iter_route_contexts", "core/registry.py"),
    Internal("fastapi", "fastapi.routing:RouteContext", "core/registry.py"),
    Internal("fastapi", f"{EFFECTIVE}.app", INDEX),
    Internal("fastapi", f"{EFFECTIVE}.param_convertors", INDEX),
    Internal("fastapi", f"{EFFECTIVE}.path_regex", INDEX),
    Internal("fastapi", f"{EFFECTIVE}.dependant", PLAN),
    Internal("fastapi", "fastapi._compat:Undefined", PLAN),
    *(Internal("fastapi", f"{DEPENDANT}.{name}", PLAN) for name in PLANNED),
    Internal("fastapi", "fastapi.dependencies.utils:request_params_to_args", PLAN),
    Internal("fastapi", "fastapi.dependencies.utils:request_body_to_args", PLAN),
    Internal("fastapi", "fastapi.routing:APIRoute._embed_body_fields", PLAN),
    Internal("fastapi", "fastapi.routing:APIRoute._embed_body_fields", ROUTING),
    Internal("fastapi", "fastapi.routing:APIRoute.body_field", ROUTING),
    Internal("fastapi", "fastapi.routing:APIRoute.dependant", ROUTING),
    Internal("fastapi", "fastapi.routing:APIRoute.get_route_handler", ROUTING),
    Internal("starlette", "starlette._utils:get_route_path", INDEX),
    Internal("starlette", "starlette.applications:Starlette.build_middleware_stack", "core/app.py"),
    Internal("prometheus-client", "prometheus_client:Histogram._buckets", METRICS),
    Internal("prometheus-client", "prometheus_client:Histogram._sum", METRICS),
    Internal("prometheus-client", "prometheus_client:Histogram._upper_bounds", METRICS),
    Internal("starlette", "starlette.requests:cookie_parser", "modules/auth/session_cookies.py"),
    Internal("starlette", "starlette.requests:Request._form", BODIES),
    Internal("starlette", "starlette.requests:Request._get_form", BODIES),
    Internal("starlette", "starlette.formparsers:MultiPartParser._current_part", FORMS),
    Internal("starlette", "starlette.formparsers:MultiPartParser.on_part_end", FORMS),
    Internal("uvicorn", "uvicorn._types:ASGI3Application", WRITES),
    Internal("uvicorn", f"{HTTPTOOLS}:STATUS_LINE", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}._start_asgi_task", WRITES),
    Internal("uvicorn", f"{CONNECTION}.flow", WRITES),
    Internal("uvicorn", f"{CYCLE}.scope", HEAD),
    Internal("uvicorn", f"{CYCLE}.transport", HEAD),
    Internal("uvicorn", f"{CONNECTION}._unset_keepalive_if_required", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.connections", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.cycle", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.headers", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.on_body", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.on_headers_complete", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.on_message_complete", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.parser", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.pipeline", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.timeout_keep_alive_handler", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.timeout_keep_alive_task", PROTOCOL),
    Internal("uvicorn", f"{CONNECTION}.url", PROTOCOL),
    Internal("uvicorn", f"{CYCLE}.disconnected", PROTOCOL),
    Internal("uvicorn", f"{CYCLE}.keep_alive", PROTOCOL),
    Internal("uvicorn", f"{CYCLE}.message_event", PROTOCOL),
    Internal("uvicorn", f"{CYCLE}.response_complete", PROTOCOL),
    Internal("uvicorn", f"{CYCLE}.response_started", PROTOCOL),
    Internal("uvicorn", f"{CYCLE}.waiting_for_100_continue", PROTOCOL),
    Internal("uvicorn", "uvicorn.server:ServerState.default_headers", PROTOCOL),
    Internal("uvicorn", "uvicorn.server:ServerState.tasks", SERVER),
    Internal("uvicorn", "uvicorn:Config.http_protocol_class", SERVER),
    Internal("uvicorn", "uvicorn:Config.loaded_app", SERVER),
    Internal("uvicorn", "uvicorn:Server._wait_tasks_to_complete", SERVER),
    Internal("uvicorn", "uvicorn:Server.handle_exit", SERVER),
    Internal("uvicorn", "uvicorn:Server.lifespan", SERVER),
    Internal("uvicorn", "uvicorn:Server.on_tick", SERVER),
    Internal("uvicorn", "uvicorn:Server.servers", SERVER),
    Internal("uvicorn", "uvicorn:Server.shutdown", SERVER),
    Internal("uvicorn", "uvicorn:Server.startup", SERVER),
    Internal("uvicorn", "uvicorn.config:STARTUP_FAILURE", SERVER),
    Internal("psycopg", "psycopg.waiting:wait_async", "db/connections.py"),
    Internal("psycopg", "psycopg:AsyncConnection.wait", "db/connections.py"),
    Internal("psycopg", "psycopg.generators:execute", "db/session_features.py"),
    Internal("psycopg", "psycopg.pq:PGconn.send_prepare", "db/session_features.py"),
    Internal("psycopg", "psycopg.pq:PGconn.send_query_prepared", "db/session_features.py"),
    Internal("procrastinate", f"{MANAGER}.connector", QUEUE),
    Internal("procrastinate", f"{MANAGER}.defer_periodic_job", QUEUE),
    Internal("procrastinate", f"{MANAGER}.fetch_job", QUEUE),
    Internal("procrastinate", f"{MANAGER}.finish_job", QUEUE),
    Internal("procrastinate", f"{MANAGER}.listen_for_jobs", QUEUE),
    Internal("procrastinate", f"{MANAGER}.prune_stalled_workers", QUEUE),
    Internal("procrastinate", f"{MANAGER}.register_worker", QUEUE),
    Internal("procrastinate", f"{MANAGER}.retry_job", QUEUE),
    Internal("procrastinate", f"{MANAGER}.unregister_worker", QUEUE),
    Internal("procrastinate", f"{MANAGER}.update_heartbeat", QUEUE),
    Internal("procrastinate", "procrastinate.psycopg_connector:PsycopgConnector.pool", QUEUE),
    Internal("procrastinate", "procrastinate:App.job_manager", SUPERVISOR),
    Internal("procrastinate", "procrastinate.worker:Worker.run", SUPERVISOR),
    Internal("procrastinate", "procrastinate.worker:Worker.stop", SUPERVISOR),
    Internal("procrastinate", "procrastinate:BaseRetryStrategy.get_retry_decision", EXECUTION),
    Internal("procrastinate", "procrastinate:JobContext.abort_reason", EXECUTION),
    Internal("sqlalchemy", "sqlalchemy.dialects.postgresql.psycopg:dialect", "db/queries.py"),
    Internal("sqlalchemy", "sqlalchemy.sql.compiler:SQLCompiler.bind_names", "db/queries.py"),
    Internal("sqlalchemy", "sqlalchemy:BindParameter.effective_value", "db/queries.py"),
    Internal("sqlalchemy", "sqlalchemy.pool:Pool._create_connection", POOL),
    Internal("sqlalchemy", "sqlalchemy.pool:Pool._do_get", POOL),
    Internal("sqlalchemy", "sqlalchemy.pool:Pool._do_return_conn", POOL),
    Internal("sqlalchemy", "sqlalchemy.util.concurrency:greenlet_spawn", POOL),
    Internal("cashews", "cashews.backends.redis:Redis._client", "integrations/values/redis.py"),
    Internal("alembic", "alembic.autogenerate.render:_repr_type", "db/schema/rendering.py"),
    Internal("pydantic", "pydantic:BaseModel.__pydantic_fields__", "core/schemas.py"),
    Internal("pydantic", "pydantic:BaseModel.__pydantic_fields_set__", "core/schemas.py"),
    Internal("pydantic", "pydantic:BaseModel.__pydantic_extra__", "core/schemas.py"),
    Internal("pydantic", "pydantic:BaseModel.__pydantic_private__", "core/schemas.py"),
)
# FastAPI keeps the exit stack of a request under this name.
SCOPE_KEY = "fastapi_function_astack"
LIBRARIES = sorted({each.library for each in INTERNALS})


def missing(internal: Internal) -> str | None:
    """Return the sentence about an internal that the installed library does not have."""
    module_name, _, path = internal.path.partition(":")
    sentence = (
        f"{internal.library} {version(internal.library)} has no {module_name}.{path}, which "
        f"backend/{internal.used_in} uses: adapt it, or install an older version"
    )
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError:
        return sentence
    for name in path.split("."):
        if not hasattr(found, name):
            return None if _sets(found, name) else sentence
        found = getattr(found, name)
    return None


def _sets(found: Any, name: str) -> bool:
    """Return whether instances of a class have this attribute."""
    if not inspect.isclass(found):
        return False
    return any(
        name in inspect.get_annotations(each) or f"self.{name}" in inspect.getsource(each)
        for each in found.__mro__[:-1]
    )


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda each: each.path)
def test_the_library_has_what_is_used(internal: Internal) -> None:
    assert missing(internal) is None


def test_fastapi_names_its_exit_stack() -> None:
    assert f'"{SCOPE_KEY}"' in inspect.getsource(importlib.import_module("fastapi.routing"))


def test_a_missing_internal_is_named() -> None:
    for path in ("uvicorn.gone:x", "uvicorn:gone", "uvicorn:Server.gone"):
        message = missing(Internal("uvicorn", path, PROTOCOL))
        assert message == (
            f"uvicorn {version('uvicorn')} has no {path.replace(':', '.')}, which "
            "backend/server/protocol.py uses: adapt it, or install an older version"
        )


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda each: each.path)
def test_the_table_names_the_file_that_uses_it(internal: Internal) -> None:
    name = internal.path.rpartition(":")[2].rpartition(".")[2]
    assert name in (ROOT / "backend" / internal.used_in).read_text()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_with_used_internals_ends_below_the_next_minor_version(library: str) -> None:
    installed = Version(version(library))
    following = f"{installed.major}.{installed.minor + 1}.0"
    assert not runtime()[library].specifier.contains(following)


def test_private_imports_are_in_the_table() -> None:
    listed = {each.path.replace(":", ".") for each in INTERNALS}
    assert list(private_imports(read("backend", "migrations"), listed)) == []
    source = Source("backend.core.app", "from fastapi._compat import other\nfrom a import _b")
    assert list(private_imports([source], listed)) == ["fastapi._compat.other", "a._b"]


def private_imports(sources: list[Source], listed: set[str]) -> list[str]:
    """Return the imported names with a private part that the table does not have."""
    return [
        name
        for source in sources
        for name in source.imports
        if any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
        if name not in listed
    ]


def undeclared(sources: list[Source], declared: set[str]) -> set[str]:
    """Return the imported packages that are installed and belong to no declared distribution."""
    distributions = packages_distributions()
    imported = {name.partition(".")[0] for source in sources for name in source.imports}
    return {
        name
        for name in imported & distributions.keys()
        if not {canonicalize_name(each) for each in distributions[name]} & declared
    }


def test_every_imported_package_is_declared() -> None:
    production = [
        each for each in read("backend", "migrations") if not each.name.startswith("backend.dev.")
    ]
    declared = {*runtime(), NAME}
    assert undeclared(production, declared) == set()
    everything = read("backend", "bench", "migrations", "tools")
    assert undeclared(everything, declared | development().keys()) == set()
    # Packages that are installed only as dependencies of others.
    source = Source("backend.core.app", "import httpcore\nfrom anyio import to_thread\nimport os")
    assert undeclared([source], declared) == {"httpcore", "anyio"}


def test_every_declared_package_is_used() -> None:
    """Every declared package is named somewhere in the code, except those of `INDIRECT`."""
    imported = {name.partition(".")[0] for each in read("backend") for name in each.imports}
    distributions = packages_distributions()
    used = {canonicalize_name(each) for name in imported for each in distributions.get(name, ())}
    assert runtime().keys() - used == INDIRECT


# fastapi-offline carries files; FastAPI and uvicorn import python-multipart and uvloop.
INDIRECT = {"fastapi-offline", "python-multipart", "uvloop"}
