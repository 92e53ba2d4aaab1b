"""Invalid modules prevent the start, each with a sentence that names the remedy."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from backend.core.app import create_app
from backend.core.context import Context, ignore_refusal
from backend.core.features import Feature
from backend.core.module import Module, SecuritySchemes
from backend.core.registry import RegistryError, discover, ordered, prefix_of, routes_of
from tests.actors import ActorFactory
from tests.applications import MODULES

MANIFEST = """
from backend.core.module import Module

module = Module(name="{name}", depends_on={depends_on!r})
"""
ROUTES = """
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from backend.core.errors import NotFoundError, error_responses
from backend.core.authorization import CurrentPrincipal, credentials_ignored, public, require
from backend.core.module import Module
from backend.core.features import Feature
from backend.core.principal import Principal
from backend.core.http.caching import cached
from backend.core.http.routing import Router

router = Router(prefix="/{name}", tags=["{name}"])
{routes}
module = Module(name="{name}", router=router, versioned={versioned})
"""

ROUTES_ANYWHERE = ROUTES.replace('prefix="/{name}", ', "").replace("{versioned}", "True")


class Package:
    """A package of modules, written for one test."""

    def __init__(self, folder: Path) -> None:
        self.name = f"made_{uuid4().hex}"
        self.folder = folder / self.name
        self.write("__init__.py", "")

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def module(self, name: str, manifest: str) -> None:
        self.write(f"{name}/__init__.py", "")
        self.write(f"{name}/manifest.py", manifest)

    def plain(self, name: str, *depends_on: str) -> None:
        self.module(name, MANIFEST.format(name=name, depends_on=depends_on))

    def routes(self, name: str, routes: str, *, versioned: bool = True) -> None:
        self.module(name, ROUTES.format(name=name, routes=routes, versioned=versioned))

    def discover(self) -> list[str]:
        return [module.name for module in discover(self.name)]

    def refusal(self) -> str:
        with pytest.raises(RegistryError) as caught:
            discover(self.name)
        return str(caught.value)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    made = Package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield made
    for name in [each for each in sys.modules if each.partition(".")[0] == made.name]:
        del sys.modules[name]


def route(path: str, *, method: str = "get", policy: str = "public", name: str = "f") -> str:
    return f"""
@router.{method}(
    "{path}",
    status_code=204,
    dependencies=[{policy}],
    responses=error_responses(NotFoundError),
)
async def {name}() -> None:
    \'\'\'Text.\'\'\'
"""


def feature(name: str, *actions: str, **granted_to: tuple[str, ...]) -> Feature:
    return Feature(name, "Text.", dict.fromkeys(actions, "Text."), granted_to)


def refusal_of(*modules: Module) -> str:
    with pytest.raises(RegistryError) as caught:
        ordered(modules)
    return str(caught.value)


def test_no_modules_are_fine(package: Package) -> None:
    assert package.discover() == []


def test_modules_come_by_name(package: Package) -> None:
    for name in ("zebras", "birds", "cats"):
        package.plain(name)
    assert package.discover() == ["birds", "cats", "zebras"]


def test_modules_come_after_what_they_depend_on(package: Package) -> None:
    package.plain("apples", "zebras")
    package.plain("cats", "apples", "birds")
    package.plain("birds")
    package.plain("zebras")
    found = package.discover()
    assert sorted(found) == ["apples", "birds", "cats", "zebras"]
    assert found.index("zebras") < found.index("apples") < found.index("cats")
    assert found.index("birds") < found.index("cats")


def test_our_own_modules_are_in_order() -> None:
    names = [module.name for module in MODULES]
    for module in MODULES:
        assert all(names.index(each) < names.index(module.name) for each in module.depends_on)


def test_a_folder_without_manifest(package: Package) -> None:
    package.write("notes/__init__.py", "")
    assert package.refusal() == (
        "Module 'notes' has no manifest.py: add one that sets `module = Module(...)`."
    )


@pytest.mark.parametrize("manifest", ["", "module = 'notes'", "module = object"])
def test_a_manifest_without_module(package: Package, manifest: str) -> None:
    package.module("notes", manifest)
    assert package.refusal() == "Module 'notes': manifest.py must set `module = Module(...)`."


def test_a_name_that_differs_from_the_folder(package: Package) -> None:
    package.module("notes", MANIFEST.format(name="note", depends_on=()))
    assert package.refusal() == (
        "Module 'notes' has the name 'note': leave `name` out of its manifest."
    )


def test_a_module_is_called_as_its_folder(package: Package) -> None:
    package.module("notes", "from backend.core.module import Module\nmodule = Module()")
    assert package.discover() == ["notes"]


def test_a_file_instead_of_a_folder(package: Package) -> None:
    package.write("notes.py", MANIFEST.format(name="notes", depends_on=()))
    assert package.refusal() == (
        f"{package.name}.notes is a file: a module is a folder with a manifest.py."
    )


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("import no_such_library", "No module named 'no_such_library'."),
        ("from backend.core.module import Nothing", "ImportError: cannot import name 'Nothing'"),
        ("raise RuntimeError('out of cheese')", "RuntimeError: out of cheese"),
        ("module = Module(", "SyntaxError: '(' was never closed"),
        ("from backend.core.module import Module\nmodule = Module(nane='')", "TypeError: "),
    ],
)
def test_an_error_while_importing(package: Package, manifest: str, reason: str) -> None:
    package.module("notes", manifest)
    assert package.refusal().startswith(f"Module 'notes' does not load: {reason}")


def test_a_missing_file_of_the_module_is_no_missing_manifest(package: Package) -> None:
    package.module("notes", f"from {package.name}.notes.router import router")
    assert package.refusal() == (
        f"Module 'notes' does not load: No module named '{package.name}.notes.router'."
    )


def test_an_unknown_dependency(package: Package) -> None:
    package.plain("notes", "paper")
    assert package.refusal() == "Module 'notes' depends on 'paper', which does not exist."


@pytest.mark.parametrize(
    ("depends_on", "circle"),
    [
        ({"notes": "notes"}, {"notes -> notes"}),
        (
            {"ink": "notes", "notes": "ink"},
            {"ink -> notes -> ink", "notes -> ink -> notes"},
        ),
    ],
)
def test_a_circle(package: Package, depends_on: dict[str, str], circle: set[str]) -> None:
    for name, dependency in depends_on.items():
        package.plain(name, dependency)
    assert package.refusal() in {
        f"Modules depend on each other in a circle: {each}." for each in circle
    }


@pytest.mark.parametrize(
    "second", ["/{id}", "/{item_id}", "/{id:int}", "/{id:path}"], ids=lambda path: path[1:-1]
)
def test_two_routes_with_one_method_and_path(package: Package, second: str) -> None:
    package.routes("notes", route("/{id}") + route(second, name="g"))
    refusal = package.refusal()
    assert refusal.startswith("Module 'notes', GET /notes/{")
    assert refusal.endswith(": module 'notes' has that route already.")


def test_two_modules_with_one_route(package: Package) -> None:
    package.routes("notes", route("/{id}"))
    clash = route("/{note_id}").replace("@router", "other")
    text = ROUTES.format(name="paper", routes="", versioned=True)
    other = "other = router = Router(prefix='/notes')\n@" + clash.strip()
    package.module("paper", text.replace("\nmodule =", f"\n{other}\nmodule ="))
    assert package.refusal() == (
        "Module 'paper', GET /notes/{note_id}: module 'notes' has that route already."
    )


def test_other_methods_and_other_prefixes_do_not_clash(package: Package) -> None:
    routes = route("/{id}") + route("/{id}", method="put", name="g") + route("/new", name="h")
    package.routes("notes", routes)
    package.routes("paper", route(""), versioned=False)
    assert package.discover() == ["notes", "paper"]
    notes, paper = discover(package.name)
    assert (prefix_of(notes), prefix_of(paper)) == ("/api/v1", "")
    assert [each.path for each in routes_of(notes)] == ["/notes/{id}", "/notes/{id}", "/notes/new"]


def test_a_slash_at_the_end_would_never_be_reached(package: Package) -> None:
    package.routes("notes", route("/"))
    assert package.refusal() == (
        "Module 'notes', GET /notes/: leave out the slash at the end; requests may have one anyway."
    )


def test_a_route_without_policy(package: Package) -> None:
    package.routes("notes", "@router.get('')\nasync def f() -> None: ...\n")
    assert package.refusal() == (
        "Module 'notes', GET /notes: it has no access policy; take exactly one of "
        "backend.core.authorization's."
    )


@pytest.mark.parametrize(
    "routes",
    [
        route("", policy="public, credentials_ignored"),
        "@router.post('', dependencies=[public])\nasync def f(p: CurrentPrincipal) -> None: ...\n",
        "@router.get('', dependencies=[require('a:b')])\nasync def f(p: CurrentPrincipal): ...\n",
    ],
)
def test_two_policies(package: Package, routes: str) -> None:
    package.routes("notes", routes)
    assert package.refusal().endswith(
        " /notes: it has more than one access policy; take exactly one of "
        "backend.core.authorization's."
    )


@pytest.mark.parametrize(
    ("policy", "method"),
    [
        ("credentials_ignored", "get"),
        ("public", "post"),
    ],
)
def test_only_public_reads_are_cached(package: Package, policy: str, method: str) -> None:
    package.routes("notes", route("", policy=f"{policy}, cached('notes')", method=method))
    assert package.refusal() == (
        f"Module 'notes', {method.upper()} /notes: its responses cannot be cached; `cached` is for "
        "GET routes that take an OptionalPrincipal, or are `public`."
    )


def test_one_policy_said_twice_is_one(package: Package) -> None:
    package.routes(
        "notes",
        "@router.get('', status_code=204, dependencies=[public])\n"
        "async def f(p: Annotated[Principal | None, public]) -> None:\n    'Text.'\n",
    )
    assert package.discover() == ["notes"]


def test_an_unknown_permission(package: Package) -> None:
    package.routes("notes", route("", policy="require('notes:raed')"))
    assert package.refusal() == (
        "Module 'notes', GET /notes: no module declares the permission 'notes:raed'."
    )


def test_a_permission_that_another_module_declares_will_do() -> None:
    users = next(module for module in MODULES if module.name == "users")
    declaring = Module("declaring", features=users.features)
    using = Module("using", router=users.router)
    assert [module.name for module in ordered([using, declaring])] == ["declaring", "using"]
    assert "no module declares the permission 'users:" in refusal_of(using)


def test_a_plain_router(package: Package) -> None:
    package.routes("notes", "router = APIRouter(prefix='/notes')\n" + route(""))
    assert package.refusal() == (
        "Module 'notes', GET /notes: make the router with backend.core.http.routing.Router instead "
        "of APIRouter, so that it follows the HTTP contract."
    )


def test_a_plain_router_inside_a_good_one(package: Package) -> None:
    inner = "inner = APIRouter()\n@inner.get('/open')\nasync def f() -> None: ...\n"
    package.routes("notes", inner + "router.include_router(inner)\n")
    assert package.refusal().startswith("Module 'notes', GET /notes/open: make the router with ")


def test_a_router_inside_another_is_checked_like_it(package: Package) -> None:
    inner = (
        "inner = Router(prefix='/inner')\n"
        "@inner.get('/open', status_code=204{})\nasync def f() -> None: 'Text.'\n"
    )
    include = "router.include_router(inner{})\n"
    policy = ", dependencies=[public]"
    package.routes("good", inner.format(policy) + include.format(""))
    assert package.discover() == ["good"]
    package.routes("notes", inner.format("") + include.format(""))
    assert package.refusal().startswith("Module 'notes', GET /notes/inner/open: it has no access")


@pytest.mark.parametrize(
    ("own", "added", "problem"),
    [
        ("", "public", "it has no access policy"),
        (", dependencies=[public]", "require('notes:read')", "it has more than one access policy"),
    ],
)
def test_a_policy_added_where_a_router_is_nested_does_not_count(
    package: Package, own: str, added: str, problem: str
) -> None:
    inner = f"inner = Router()\n@inner.get('/open'{own})\nasync def f() -> None: ...\n"
    include = f"router.include_router(inner, dependencies=[{added}])\n"
    package.routes("notes", inner + include)
    assert package.refusal().startswith(f"Module 'notes', GET /notes/open: {problem};")


@pytest.mark.parametrize(
    ("routes", "kind"),
    [
        ("@router.websocket('/live')\nasync def f(socket) -> None: ...\n", "APIWebSocketRoute"),
        ("router.add_route('/live', print)\n", "Route"),
        ("router.mount('/live', print)\n", "Mount"),
    ],
)
def test_what_cannot_have_a_policy(package: Package, routes: str, kind: str) -> None:
    package.routes("notes", routes)
    refusal = package.refusal()
    assert refusal.startswith("Module 'notes', ")
    assert refusal.endswith(
        f"/live: a {kind} takes no access policy; declare routes with the router's get, post, "
        "put, patch and delete."
    )


@pytest.mark.parametrize("second", ["notes", "paper"])
def test_a_permission_declared_twice(second: str) -> None:
    again = feature("notes", "write", "read")
    modules = {"notes": [feature("notes", "read")]}
    modules.setdefault(second, []).append(again)
    made = [Module(name, features=tuple(features)) for name, features in modules.items()]
    assert refusal_of(*made) == (
        f"Permission 'notes:read' is declared by both 'notes' and '{second}'."
    )


def test_a_granted_action_that_is_not_declared() -> None:
    module = Module("notes", features=(feature("notes", "read", member=("read", "wriet")),))
    assert refusal_of(module, Module("roles", built_in_roles={"member": "Text."})) == (
        "Module 'notes' grants 'notes:wriet' to the role 'member' but does not declare that action."
    )


def test_a_grant_to_an_unknown_role() -> None:
    module = Module("notes", features=(feature("notes", "read", member=("read",)),))
    refused = (
        "Module 'notes' grants 'notes' to the role 'member', which is not one of the built-in "
    )
    assert refusal_of(module) == f"{refused}roles: there are none."
    roles = Module("roles", built_in_roles={"reader": "Text.", "writer": "Text."})
    assert refusal_of(module, roles) == f"{refused}roles: reader, writer."


@pytest.mark.parametrize(
    ("options", "action"),
    [
        ({"security": SecuritySchemes({}, (), ())}, "describe credentials"),
        ({"built_in_roles": {"reader": "Text."}}, "declare built-in roles"),
        ({"on_refusal": ignore_refusal}, "observe refusals"),
    ],
)
def test_two_modules_that_do_what_one_may(options: dict[str, Any], action: str) -> None:
    both = [Module(name, **options) for name in ("keys", "auth")]
    assert refusal_of(*both) == f"Only one module can {action}: auth and keys both do."


def test_two_authenticators() -> None:
    auth = next(module for module in MODULES if module.authenticate)
    both = [Module(name, authenticate=auth.authenticate) for name in ("keys", "auth")]
    assert refusal_of(*both) == "Only one module can authenticate: auth and keys both do."


EVENTS = """
from dataclasses import dataclass

from backend.core.events import Event


@dataclass(frozen=True)
class Rung(Event):
    pass
"""
SUBSCRIBING = """
from backend.core.events import on
from backend.core.module import Module
from {events} import Rung


async def hear(context, session, event):
    pass


module = Module(name="door", depends_on={depends_on!r}, subscribers=(on(Rung, hear),))
"""


@pytest.mark.parametrize("depends_on", [(), ("bell",)])
def test_a_subscriber_depends_on_the_publisher(
    package: Package, depends_on: tuple[str, ...]
) -> None:
    package.plain("bell")
    package.write("bell/events.py", EVENTS)
    events = f"{package.name}.bell.events"
    package.module("door", SUBSCRIBING.format(events=events, depends_on=depends_on))
    if depends_on:
        assert package.discover() == ["bell", "door"]
    else:
        assert package.refusal() == (
            "Module 'door' subscribes to Rung of 'bell': add 'bell' to its depends_on."
        )


DURABLE = """
from backend.core.events import durable
from backend.core.module import Module
from {events} import Rung


async def hear(context, event, event_id):
    pass


module = Module(
    name="door", depends_on={depends_on!r}, subscribers=(durable(Rung, hear, {arguments}),)
)
"""


@pytest.mark.parametrize(
    ("depends_on", "arguments", "sentence"),
    [
        (
            (),
            "name='door.hear'",
            "subscribes to Rung of 'bell': add 'bell' to its depends_on.",
        ),
        (
            ("bell",),
            "name='door.hear'",
            "subscribes to Rung of 'bell' by a durable subscriber: Rung has a field 'by' of a type",
        ),
        (
            ("bell",),
            "name='hear'",
            "calls a job or subscriber 'hear': begin its name with 'door.', so that no two",
        ),
        (
            ("bell",),
            "name='door.hear'), durable(Rung, hear, name='door.hear'",
            "declares the job or subscriber 'door.hear' twice.",
        ),
    ],
    ids=["depends on", "stored", "named", "twice"],
)
def test_a_durable_subscriber_that_could_not_work_is_refused(
    package: Package, depends_on: tuple[str, ...], arguments: str, sentence: str
) -> None:
    package.plain("bell")
    field = "by: str" if "field 'by'" in sentence else "by: int"
    package.write("bell/events.py", EVENTS.replace("pass", field))
    events = f"{package.name}.bell.events"
    values = {"events": events, "depends_on": depends_on, "arguments": arguments}
    package.module("door", DURABLE.format(**values))
    assert package.refusal().startswith(f"Module 'door' {sentence}")


def test_events_are_defined_in_events_py(package: Package) -> None:
    package.plain("bell")
    package.write("bell/service.py", EVENTS)
    events = f"{package.name}.bell.service"
    package.module("door", SUBSCRIBING.format(events=events, depends_on=("bell",)))
    assert package.refusal() == (
        f"Module 'door' subscribes to Rung of {events}: define events in the events.py of the "
        "module that publishes them."
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("/users/{id}", "/users/me"), ("/users/me", "/users/{id}"), ("/a/{x}/b", "/a/c/{y}")],
)
def test_no_route_of_one_module_hides_one_of_another(
    package: Package, first: str, second: str
) -> None:
    package.module("a", ROUTES_ANYWHERE.format(name="a", routes=route(first)))
    package.module("b", ROUTES_ANYWHERE.format(name="b", routes=route(second)))
    shown = re.sub("{[^}]*}", "{}", first)
    assert package.refusal() == (
        f"Module 'b', GET {second}: a request could also mean /api/v1{shown} of module 'a': put "
        "both routes into one router, the one without a parameter first, or choose another path."
    )


def test_within_one_module_the_order_of_definition_decides(package: Package) -> None:
    routes = route("/users/me") + route("/users/{id}", name="g")
    package.module("a", ROUTES_ANYWHERE.format(name="a", routes=routes))
    package.module("b", ROUTES_ANYWHERE.format(name="b", routes=route("/users/{id}/b")))
    assert package.discover() == ["a", "b"]


@pytest.mark.parametrize("order", [MODULES, MODULES[::-1]], ids=["as ordered", "backwards"])
async def test_the_order_of_mounting_does_not_matter(
    context: Context, order: tuple[Module, ...]
) -> None:
    factory = ActorFactory(create_app(context, order), context)
    async with factory.stack:
        ada = await factory("ada")
        assert (await ada.get("/api/v1/users/me")).json()["email"] == ada.email
        assert (await ada.get(f"/api/v1/users/{ada.id}")).json()["email"] == ada.email
        assert (await ada.get("/api/v1/users/you")).json()["error"] == "NOT_FOUND"
        assert (await ada.get("/api/v1/auth/sessions")).json()["data"][0]["current"]
        assert (await ada.post(f"/api/v1/users/{ada.id}/logout-all")).status_code == 403
        assert (await ada.delete("/api/v1/users/me")).status_code == 204
