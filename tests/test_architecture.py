"""The backend keeps the architecture rules, and each rule detects violations."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from backend.core.registry import discover
from backend.db.base import Base
from tests.architecture import (
    MAX_FILE,
    MAX_FUNCTION,
    MAX_PRIVATE_FILES,
    MAX_TEST_FILE,
    PUBLIC,
    ROOT,
    USUAL_FILE,
    Source,
    commit_violations,
    direction_violations,
    environment_violations,
    http_violations,
    layer_violations,
    middleware_violations,
    module_violations,
    name_violations,
    package_violations,
    path_violations,
    permission_violations,
    print_violations,
    read,
    short,
    size_violations,
    table_violations,
    usual_size_violations,
    vocabulary_violations,
)

MODULES = discover()
DEPENDS_ON = {module.name: module.depends_on for module in MODULES}
BACKEND = read("backend")


def owned_tables() -> dict[str, set[sa.Table]]:
    """Return the tables by module: those of its classes and those that its models.py names."""
    tables: dict[str, set[sa.Table]] = {}
    for module in MODULES:
        models = f"backend.modules.{module.name}.models"
        bound = vars(sys.modules[models]).values() if models in sys.modules else ()
        tables[module.name] = {value for value in bound if isinstance(value, sa.Table)}
        tables[module.name] |= {
            mapper.local_table
            for mapper in Base._sa_registry.mappers
            if mapper.class_.__module__.startswith(f"backend.modules.{module.name}.")
            and isinstance(mapper.local_table, sa.Table)
        }
    return tables


def placeless(violations: Iterator[str]) -> list[str]:
    """Return the sentences without file and line."""
    return [re.sub(r"^\S+\.py:\d+: ", "", violation) for violation in violations]


def assert_none(violations: Iterator[str]) -> None:
    sentences = list(violations)
    assert not sentences, "\n" + "\n".join(sentences)


def test_imports_go_down_the_layers() -> None:
    assert_none(layer_violations(BACKEND))


def test_some_packages_are_for_some_others_only() -> None:
    assert_none(package_violations(BACKEND))


def test_modules_know_only_the_public_files_of_declared_dependencies() -> None:
    assert_none(module_violations(BACKEND, DEPENDS_ON))


def test_core_knows_no_module_by_name() -> None:
    assert_none(name_violations(BACKEND, DEPENDS_ON))


def test_modules_are_made_of_the_same_few_files() -> None:
    assert_none(vocabulary_violations(BACKEND))


def test_imports_inside_a_module_go_from_manifest_to_models() -> None:
    assert_none(direction_violations(BACKEND))


def test_services_know_no_http() -> None:
    assert_none(http_violations(BACKEND))


def test_the_permissions_that_are_checked_are_declared() -> None:
    declared = {name for each in MODULES for f in each.features for name in f.permissions}
    assert_none(permission_violations(BACKEND, declared))


def test_nobody_but_the_database_layer_commits() -> None:
    assert_none(commit_violations(BACKEND))


def test_each_table_has_one_owner_and_refers_only_to_declared_dependencies() -> None:
    assert_none(table_violations(owned_tables(), Base.metadata, DEPENDS_ON))


def test_only_settings_read_the_environment() -> None:
    assert_none(environment_violations(BACKEND))


def test_middleware_is_pure_asgi() -> None:
    assert_none(middleware_violations(BACKEND))


def test_nothing_prints_but_the_command_line() -> None:
    assert_none(print_violations(BACKEND))


def test_files_and_functions_are_short() -> None:
    assert_none(size_violations([*BACKEND, *read("bench", "tests", "tools")]))
    assert_none(usual_size_violations(BACKEND))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone knows its files")
def test_no_file_names_a_path_of_somebodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    names = listed.stdout.decode().strip("\0").split("\0")
    texts = {
        name: (ROOT / name).read_text("utf-8", errors="replace")
        for name in names
        if (ROOT / name).is_file()
    }
    assert_none(path_violations(texts))


# The tests below check that each rule detects violations, and the sentence it yields.


def tree(**texts: str) -> list[Source]:
    """Return sources by keyword: `items__service="import os"` is backend.modules.items.service."""
    return [Source(f"backend.modules.{k.replace('__', '.', 1)}", v) for k, v in texts.items()]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("db.base", "from backend.core.errors import AppError", "db.base imports core.errors;"),
        ("core.app", "from backend.modules.users import service", "core.app imports users.service"),
        ("core.app", "def f():\n import backend.modules.users.service", "imports users.service;"),
        (
            "core.app",
            "if TYPE_CHECKING:\n from backend.modules.users.service import x",
            "core.app imports users.service; imports go cli -> main -> dev -> server -> worker -> ",
        ),
        ("core.app", "from backend import modules", "core.app imports modules;"),
        ("core.app", "from ..modules.users import service", "imports users.service;"),
        ("core.app", "import_module('backend.modules.users.service')", "imports users.service;"),
        ("core.app", "importlib.import_module('backend.main')", "core.app imports main;"),
        ("modules.users.service", "from backend.main import app", "users.service imports main.app"),
        ("main", "from backend.cli import main", "main imports cli.main;"),
        (
            "helpers.text",
            "",
            "helpers.text is in none of the layers product, telemetry, db, addresses, ratelimit",
        ),
    ],
)
def test_an_upward_import_is_named(name: str, text: str, sentence: str) -> None:
    (violation,) = layer_violations([Source(f"backend.{name}", text)])
    assert sentence in violation


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "server.config",
            "from backend.worker.supervisor import work",
            "server.config imports worker.supervisor; only cli may",
        ),
        ("main", "from backend.dev import lifeline", "main imports dev.lifeline; only cli may"),
        (
            "core.authorization",
            "def f():\n from backend.core.http.routing import Router",
            "core.authorization imports backend.core.http.routing.Router; core.http imports core",
        ),
    ],
)
def test_an_import_of_a_package_for_others_is_named(name: str, text: str, sentence: str) -> None:
    assert placeless(package_violations([Source(f"backend.{name}", text)])) == [sentence]


def test_packages_may_be_imported_where_they_are_meant_to_be() -> None:
    sources = [
        Source("backend.cli.worker", "from backend.worker.supervisor import work"),
        Source("backend.core.app", "from backend.core.http import docs"),
        Source("backend.dev.processes", "from backend.dev import lifeline"),
    ]
    assert list(package_violations(sources)) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "from backend.modules.users.models import User",
            "articles.service imports users.models; use users.service",
        ),
        (
            "def late():\n    from backend.modules.users import queries",
            "articles.service imports users.queries; use users.service",
        ),
        ("import backend.modules.users", "articles.service imports users; use users.service"),
        (
            "from backend.modules import users",
            "articles.service imports users; use users.service",
        ),
        (
            "from backend.modules.items.service import get_item",
            'articles.service imports items.service; add "items" to depends_on of articles',
        ),
    ],
)
def test_an_import_across_modules_is_named(text: str, sentence: str) -> None:
    found = module_violations(tree(articles__service=text), {"articles": ["users"]})
    assert placeless(found) == [sentence]


def test_a_breach_is_named_with_file_and_line() -> None:
    text = "import re\n\n\ndef late():\n    from backend.modules.users.models import User\n"
    (violation,) = module_violations(tree(articles__service=text), {"articles": ["users"]})
    assert violation == (
        "backend/modules/articles/service.py:5: articles.service imports users.models; use "
        "users.service"
    )


@pytest.mark.parametrize(
    "check",
    ['by.must("items:raed")', 'by.may("items:raed")', 'READ = "items:raed"\nby.must(READ)'],
)
def test_a_permission_that_nobody_declares_is_named(check: str) -> None:
    sources = tree(items__service=check)
    line = check.count("\n") + 1
    (violation,) = permission_violations(sources, {"items:read"})
    assert violation == (
        f"backend/modules/items/service.py:{line}: items.service checks the permission items:raed, "
        "which no module declares; add the action to a Feature of its manifest"
    )
    assert list(permission_violations(sources, {"items:raed"})) == []


def test_public_files_and_own_files_may_be_imported() -> None:
    text = "".join(f"from backend.modules.users.{file} import x\n" for file in sorted(PUBLIC))
    own = "from backend.modules.articles.models import Article"
    sources = tree(articles__service=text + own)
    assert list(module_violations(sources, {"articles": ["users"]})) == []
    roots = [Source("backend.cli.dev", "from backend.modules.users.settings import x")]
    assert list(module_violations(roots, {})) == []
    roots = [Source("backend.cli.dev", "from backend.modules.users.models import x")]
    assert placeless(module_violations(roots, {})) == [
        "cli.dev imports users.models; use users.service"
    ]


@pytest.mark.parametrize(
    "line",
    [
        'URL = f"{API_PREFIX}/users/login"',
        'require("users:read")',
        "# Also `/api/v1/users`, as everybody knows.",
        'if module.name == "users":',
        'JOB = "users.purge"',
    ],
)
def test_a_module_named_below_the_modules_is_named(line: str) -> None:
    for layer in ("core.app", "server.config", "db.database"):
        (violation,) = name_violations([Source(f"backend.{layer}", f"x = 1\n{line}")], ["users"])
        assert violation == (
            f"backend/{layer.replace('.', '/')}.py:2: {layer} names the module users; let its "
            "manifest declare what is needed"
        )
    assert list(name_violations(tree(items__service=line), ["users"])) == []
    assert list(name_violations([Source("backend.core.app", line)], ["items"])) == []


def test_unusual_files_are_named() -> None:
    many = {f"items__own{number}": "" for number in range(MAX_PRIVATE_FILES + 1)}
    (violation,) = vocabulary_violations(tree(**many))
    assert violation.startswith(f"items has {MAX_PRIVATE_FILES + 1} files of its own (own0, own1,")
    (violation,) = vocabulary_violations([Source("backend.modules.items.helpers.text", "")])
    assert violation == "items has a folder helpers; modules are flat, split the module"
    for text in ("", "import os", '"""Items."""\nx = 1'):
        (violation,) = vocabulary_violations(tree(items____init__=text))
        assert violation.startswith("items.__init__ must contain only a docstring")


@pytest.mark.parametrize(
    ("file", "imported", "sentence"),
    [
        ("service", "router", "items.service imports items.router; inside: manifest -> router"),
        ("models", "service", "items.models imports items.service;"),
        ("models", "schemas", "items.models imports items.schemas;"),
        ("router", "manifest", "items.router imports items.manifest;"),
        ("queries", "service", "items.queries imports items.service;"),
        ("exceptions", "schemas", "items.exceptions imports items.schemas;"),
    ],
)
def test_an_import_against_the_direction_is_named(file: str, imported: str, sentence: str) -> None:
    text = f"from backend.modules.items import {imported}"
    (violation,) = placeless(direction_violations([Source(f"backend.modules.items.{file}", text)]))
    assert sentence in violation


def test_an_import_against_the_direction_through_another_file_is_named() -> None:
    sources = tree(
        items__service="from backend.modules.items.helpers import x",
        items__helpers="def late():\n    from backend.modules.items.router import x",
    )
    (violation,) = placeless(direction_violations(sources))
    assert violation.startswith("items.service imports items.router through helpers;")


def test_a_circle_inside_a_module_is_named() -> None:
    sources = tree(
        items__jobs="from backend.modules.items import events",
        items__events="from backend.modules.items import jobs",
    )
    (violation,) = placeless(direction_violations(sources))
    assert violation.startswith("items has files that import each other: ")


def test_http_in_a_service_is_named() -> None:
    direct = tree(items__service="from starlette.requests import Request")
    assert placeless(http_violations(direct)) == [
        "items.service imports starlette; services must not depend on HTTP"
    ]
    hidden = tree(
        items__service="from backend.modules.items import helpers",
        items__helpers="import fastapi.responses",
    )
    assert placeless(http_violations(hidden)) == [
        "items.service imports fastapi through helpers; services must not depend on HTTP"
    ]


@pytest.mark.parametrize("call", ["await session.commit()", "session.rollback()"])
def test_a_commit_in_a_module_is_named(call: str) -> None:
    text = f"async def f(session):\n    {call}"
    for name in ("modules.items.service", "modules.items.router", "core.app"):
        (violation,) = placeless(commit_violations([Source(f"backend.{name}", text)]))
        assert violation.startswith(f"{short('backend.' + name)} calls ")
    assert list(commit_violations([Source("backend.db.database", text)])) == []


def test_a_foreign_key_into_an_undeclared_module_is_named() -> None:
    metadata = sa.MetaData()
    users = sa.Table("users", metadata, sa.Column("id", sa.Uuid, primary_key=True))
    items = sa.Table("items", metadata, sa.Column("owner", sa.ForeignKey("users.id")))
    tables = {"users": [users], "items": [items]}
    # A dependency of a dependency is not enough.
    declared = {"items": ["roles"], "roles": ["users"], "users": []}
    assert list(table_violations(tables, metadata, declared)) == [
        'items.models refers to table users of users; add "users" to depends_on of items'
    ]
    assert list(table_violations(tables, metadata, {"items": ["users"]})) == []


def test_a_table_without_owner_and_one_with_two_are_named() -> None:
    metadata = sa.MetaData()
    table = sa.Table("notes", metadata, sa.Column("id", sa.Uuid))
    assert list(table_violations({}, metadata, {})) == [
        "table notes has no owner; define it in the models.py of one module"
    ]
    assert list(table_violations({"a": [table], "b": [table]}, metadata, {})) == [
        "table notes is owned by both a and b"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.environ['X']",
        "import os\ndef f():\n    return os.getenv('X')",
        "from os import environ",
        "from os import getenv as read",
        "from pydantic_settings import BaseSettings",
    ],
)
def test_reading_the_environment_is_named(text: str) -> None:
    (violation,) = placeless(environment_violations(tree(items__service=text)))
    assert violation.startswith("items.service uses ")
    assert list(environment_violations(tree(items__settings=text))) == []
    assert list(environment_violations([Source("backend.cli.dev", text)])) == []


@pytest.mark.parametrize(
    "text",
    [
        "from starlette.middleware.base import BaseHTTPMiddleware",
        "from starlette.middleware import base\nclass A(base.BaseHTTPMiddleware): ...",
        "@app.middleware('http')\nasync def f(request, call_next): ...",
    ],
)
def test_middleware_of_the_slow_kind_is_named(text: str) -> None:
    (violation,) = placeless(middleware_violations([Source("backend.core.app", text)]))
    assert violation.startswith("core.app uses BaseHTTPMiddleware")


def test_a_print_is_named() -> None:
    source = tree(items__service="x = 1\nprint(x)")
    assert list(print_violations(source)) == [
        "backend/modules/items/service.py:2: items.service calls print; log it"
    ]
    assert list(print_violations([Source("backend.cli.dev", "print(1)")])) == []


def test_long_functions_and_files_are_named() -> None:
    long = "def work():\n" + "    x = 1\n" * MAX_FUNCTION
    (violation,) = size_violations(tree(items__service=long))
    assert violation.startswith("items.service.work has 61 lines, the limit is 60;")
    (violation,) = size_violations(tree(items__service="x = 1\n" * (MAX_FILE + 1)))
    assert violation.startswith("items.service has 401 lines, the limit is 400;")
    assert list(size_violations([Source("tests.test_x", "x = 1\n" * (MAX_FILE + 1))])) == []
    (violation,) = size_violations([Source("tests.test_x", "x = 1\n" * (MAX_TEST_FILE + 1))])
    assert violation.startswith("tests.test_x has 601 lines, the limit is 600;")


def test_too_many_long_ones_are_named() -> None:
    fine = [Source(f"backend.core.fine{number}", "def f(): ...") for number in range(38)]
    long = [
        Source(f"backend.core.long{number}", "def f():\n" + "    x = 1\n" * USUAL_FILE)
        for number in range(2)
    ]
    elsewhere = Source("backend.db.long", "x = 1\n" * (USUAL_FILE + 1))
    assert list(usual_size_violations([*fine, *long, elsewhere])) == []
    violations = list(usual_size_violations([*fine[20:], *long, elsewhere]))
    assert [violation.partition(";")[0] for violation in violations] == [
        "2 of 20 functions have more than 30 lines",
        "2 of 20 files of backend.core have more than 250 lines",
    ]
    # Each package has its own share, so that no module spends the share of another.
    two = [elsewhere, Source("backend.db.more", elsewhere.text)]
    assert [each.partition("; ")[2] for each in usual_size_violations([*fine, *two])] == [
        "the limit is 1: more (251), long (251)"
    ]


@pytest.mark.parametrize("folder", ["work/main", "root/.cache", "tmp/w/v", "root"])
def test_a_path_of_a_machine_is_named(folder: str) -> None:
    texts = {"README.md": f"Fine.\nSee '/{folder}'."}
    assert list(path_violations(texts)) == ["README.md:2 contains a path of a developer's machine"]


@pytest.mark.parametrize("text", ["https://example.com/work", "a/root/b", "/workers", "./work"])
def test_other_paths_are_fine(text: str) -> None:
    assert list(path_violations({"README.md": text})) == []
