"""Two versions of the API side by side, shown by the example module `made_tasks`."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from fastapi import FastAPI

from backend.cli import sunsets
from backend.core.context import Context
from backend.core.http.versions import LaterVersion
from backend.core.module import Module
from backend.core.registry import RegistryError, ordered
from backend.core.schemas import Schema
from tests.actors import Actor, ActorFactory, Client
from tests.applications import make_app, make_context
from tests.core.versions.conftest import FIRST_VERSIONS, ORIGIN, WITH_TASKS
from tests.core.versions.made_tasks import router, router_v2
from tests.core.versions.made_tasks.manifest import module
from tests.core.versions.made_tasks.schemas import MadeTaskOut

V1, V2 = "/api/v1", "/api/v2"
COLOURS, FINISH = ("https://example.com/changes#colours", "https://example.com/changes#finish")
EARLY = {"deprecation": "@1788220800", "sunset": "Mon, 01 Mar 2027 00:00:00 GMT"}


async def task(ada: Actor, version: str = V1) -> str:
    """Create a task; return its path in this version."""
    made = await ada.post(f"{version}/made-tasks", json={"text": "Tea"})
    assert made.status_code == 201, made.text
    path: str = made.headers["location"]
    return path


def links(response: Any) -> list[str]:
    return sorted(response.headers.get_list("link", split_commas=True))


class TestRoutes:
    async def test_each_version_has_its_own_representation(self, ada: Actor) -> None:
        path = await task(ada)
        first, second = await ada.get(path), await ada.get(path.replace(V1, V2))
        assert first.json().keys() == {"id", "text", "colour", "is_done", "created_at"}
        assert second.json().keys() == {"id", "text", "state", "created_at"}
        assert first.json()["id"] == second.json()["id"]

    async def test_all_other_routes_are_in_the_later_version_too(
        self, ada: Actor, admin: Actor
    ) -> None:
        made = await admin.post(f"{V2}/roles", json={"name": "taster", "permissions": []})
        assert made.headers["location"] == f"{V2}/roles/taster"
        assert (await admin.get(made.headers["location"])).json() == made.json()
        assert (await ada.get(f"{V2}/users/me")).json()["email"] == ada.email
        assert (await ada.get(f"{V2}/users/me/statistics")).status_code == 200
        assert (await ada.delete(await task(ada, V2))).status_code == 204
        assert (await ada.get("/api/v3/users/me")).status_code == 404

    async def test_a_removed_route_exists_in_the_first_version_only(self, ada: Actor) -> None:
        path = await task(ada)
        assert (await ada.get(f"{V1}/made-tasks/colours")).json() == ["green", "red"]
        assert (await ada.get(f"{V2}/made-tasks/colours")).status_code == 404
        assert (await ada.post(f"{path}/finish")).json()["is_done"] is True
        assert (await ada.post(f"{path}/finish".replace(V1, V2))).status_code == 404

    async def test_addresses_in_headers_are_those_of_the_version_in_use(self, ada: Actor) -> None:
        for version in (V1, V2):
            assert (await task(ada, version)).startswith(f"{version}/made-tasks/")
            await task(ada, version)
            page = await ada.get(f"{version}/made-tasks?limit=1")
            following = next(link for link in links(page) if 'rel="next"' in link)
            assert following.startswith(f"<{version}/made-tasks?limit=1&cursor=")
            problem = (await ada.get(f"{version}/made-tasks/none")).json()
            assert problem["instance"] == f"{version}/made-tasks/none"

    async def test_lists_and_fields_have_the_members_of_the_version(self, ada: Actor) -> None:
        await task(ada)
        found = await ada.get(f"{V2}/made-tasks?fields=text,state&total=true")
        assert found.json() == {
            "data": [{"text": "Tea", "state": "open"}],
            "next_cursor": None,
            "total": 1,
        }
        assert (await ada.get(f"{V2}/made-tasks?fields=is_done")).status_code == 422
        assert (await ada.get(f"{V1}/made-tasks?fields=state")).status_code == 422

    async def test_a_stale_tag_of_either_version_is_refused(self, ada: Actor) -> None:
        path = await task(ada)
        for version, change in ((V2, {"state": "done"}), (V1, {"is_done": False})):
            address = path.replace(V1, version)
            tag = (await ada.get(address)).headers["etag"]
            unchanged = await ada.get(address, headers={"If-None-Match": tag})
            assert unchanged.status_code == 304
            made = await ada.patch(address, json=change, headers={"If-Match": tag})
            assert made.status_code == 200, made.text
            assert made.headers["etag"] == (await ada.get(address)).headers["etag"]
            again = await ada.patch(address, json=change, headers={"If-Match": tag})
            assert again.status_code == 412

    async def test_a_route_taken_over_compares_the_tag_of_its_version(self, ada: Actor) -> None:
        path = (await task(ada)).replace(V1, V2)
        tag = (await ada.get(path)).headers["etag"]
        stale = await ada.delete(path, headers={"If-Match": '"another"'})
        assert stale.status_code == 412
        assert (await ada.delete(path, headers={"If-Match": tag})).status_code == 204

    async def test_a_repeated_request_is_one_of_its_version(self, ada: Actor) -> None:
        headers = {"Idempotency-Key": "one"}
        made = [
            await ada.post(f"{version}/made-tasks", json={"text": "Tea"}, headers=headers)
            for version in (V1, V1, V2)
        ]
        assert ["idempotency-replayed" in each.headers for each in made] == [False, True, False]
        assert made[0].json() == made[1].json()
        assert made[2].json()["id"] != made[0].json()["id"]

    async def test_log_lines_name_the_route_of_the_version(
        self, ada: Actor, log: list[dict[str, Any]]
    ) -> None:
        await ada.get(f"{V2}/users/none")
        await ada.head(f"{V2}/users/me")
        await ada.put(f"{V2}/users")
        routes = [line["route"] for line in log if line["event"] == "request"]
        assert routes == [f"{V2}/users/{{id}}", f"{V2}/users/me", f"{V2}/users"]

    async def test_web_sessions_are_refreshed_in_both(self, ada: Actor, app: FastAPI) -> None:
        credentials = {"email": ada.email, "password": "NewUser123!"}
        async with Client(app) as page:
            signed_in = await page.post(f"{V2}/auth/login?transport=cookie", json=credentials)
            set_cookies = signed_in.headers.get_list("set-cookie")
            assert [
                part for each in set_cookies for part in each.split("; ") if "Path" in part
            ] == [
                "Path=/",
                "Path=/api/v1/auth",
                "Path=/api/v2/auth",
                "Path=/",
            ]
            headers = {"X-CSRF-Token": page.cookies["csrf_token"]}
            for version in (V1, V2):
                refreshed = await page.post(f"{version}/auth/refresh", headers=headers)
                assert refreshed.status_code == 200, refreshed.text
            signed_out = await page.post(f"{V2}/auth/logout", headers=headers)
            assert signed_out.status_code == 204
            assert not [cookie for cookie in page.cookies.jar if "token" in cookie.name]


class TestDeprecation:
    async def test_a_deprecated_route_announces_it(self, ada: Actor) -> None:
        answer = await ada.post(f"{await task(ada)}/finish")
        assert answer.headers["deprecation"] == "@1790812800"
        assert "sunset" not in answer.headers
        assert links(answer) == [f'<{FINISH}>; rel="deprecation"; type="text/html"']

    async def test_routes_with_a_deprecated_field_announce_it(self, ada: Actor) -> None:
        path = await task(ada)
        by_method = {
            "get": await ada.get(path),
            "patch": await ada.patch(path, json={"colour": "red"}),
            "refused": await ada.patch(path, json={"colour": 1}),
            "unchanged": await ada.get(path, headers={"If-None-Match": "*"}),
            "absent": await ada.get(f"{V1}/made-tasks/none"),
        }
        for name, answer in by_method.items():
            assert EARLY.items() <= answer.headers.items(), name
            assert links(answer) == [
                f'</api/v2{answer.request.url.path[7:]}>; rel="successor-version"',
                f'<{COLOURS}>; rel="deprecation"; type="text/html"',
                f'<{COLOURS}>; rel="sunset"; type="text/html"',
            ]
        listed = await ada.get(f"{V1}/made-tasks?limit=1")
        assert EARLY.items() <= listed.headers.items()

    async def test_others_announce_nothing(self, admin: Actor) -> None:
        for path in (f"{V2}/made-tasks", f"{V1}/made-tasks/colours", f"{V1}/roles", f"{V2}/roles"):
            answer = await admin.get(path)
            assert not {"deprecation", "sunset", "link"} & answer.headers.keys(), path

    async def test_scripts_of_other_origins_may_read_it(self, ada: Actor) -> None:
        answer = await ada.get(f"{V1}/made-tasks", headers={"Origin": ORIGIN})
        assert answer.headers["access-control-expose-headers"].endswith(", Deprecation, Sunset")

    async def test_a_prefix_of_a_proxy_is_in_the_link(
        self, context: Context, own_database_url: str
    ) -> None:
        below = make_context(own_database_url, WITH_TASKS, root_path="/backend")
        below.state.started = True
        app = make_app(below, WITH_TASKS)
        factory = ActorFactory(app, context)
        async with factory.stack:
            ada = await factory("ada")
            found = await ada.get("/backend/api/v1/made-tasks")
            assert '</backend/api/v2/made-tasks>; rel="successor-version"' in links(found)
        await below.database.close()


class TestDocuments:
    async def test_each_version_has_a_document_of_its_own(self, client: Client) -> None:
        first = (await client.get("/openapi.json")).json()
        second = (await client.get("/openapi/v2.json")).json()
        assert (await client.get("/openapi/v1.json")).json() == first
        assert (await client.get("/openapi/v3.json")).status_code == 404
        assert not [path for path in first["paths"] if path.startswith(V2)]
        assert not [path for path in second["paths"] if path.startswith(V1)]
        removed = {f"{V1}/made-tasks/colours", f"{V1}/made-tasks/{{id}}/finish"}
        assert {path.replace(V2, V1) for path in second["paths"]} == first["paths"].keys() - removed
        schemes = second["components"]["securitySchemes"]
        assert schemes["SignIn"]["flows"]["password"]["tokenUrl"] == f"{V2}/auth/login"
        assert "MadeTaskUpdate" not in second["components"]["schemas"]
        # Clients that are generated from either document have the same names.
        operation = second["paths"][f"{V2}/made-tasks/{{id}}"]["get"]
        assert operation["operationId"] == "made_tasks-read_task"

    async def test_pages_show_each_of_them(self, client: Client) -> None:
        assert "'/openapi.json'" in (await client.get("/docs/v1")).text
        assert "'/openapi/v2.json'" in (await client.get("/docs/v2")).text
        assert '"/openapi/v2.json"' in (await client.get("/redoc/v2")).text
        assert (await client.get("/docs/v3")).status_code == 404

    def test_deprecations_are_marked(self, app: FastAPI) -> None:
        document = app.openapi()
        finish = document["paths"][f"{V1}/made-tasks/{{id}}/finish"]["post"]
        assert finish["deprecated"] is True
        assert f"Deprecated since 2026-10-01; see <{FINISH}>." in finish["description"]
        assert finish["responses"]["404"]["headers"].keys() == {"Deprecation", "Link"}
        read = document["paths"][f"{V1}/made-tasks/{{id}}"]["get"]
        assert "deprecated" not in read
        for status in ("200", "304", "404"):
            headers = read["responses"][status]["headers"]
            assert {"Deprecation", "Sunset", "Link"} <= headers.keys(), status
        for schema in ("MadeTaskOut", "MadeTaskCreate", "MadeTaskUpdate"):
            colour = document["components"]["schemas"][schema]["properties"]["colour"]
            assert colour["deprecated"] is True, schema
            assert "It may be removed from 2027-03-01 on." in colour["description"]

    def test_a_list_keeps_the_description_of_its_next_page(self, app: FastAPI) -> None:
        listed = app.openapi()["paths"][f"{V1}/made-tasks"]["get"]["responses"]["200"]
        assert 'rel="next"' in listed["headers"]["Link"]["description"]
        assert "successor-version" in listed["headers"]["Link"]["description"]


class Other(Schema):
    id: int


async def read_other(id: int) -> Other:
    return Other(id=id)


def refusal(*versions: Any, **changes: Any) -> str:
    made = replace(module, versions=versions, **changes)
    with pytest.raises(RegistryError) as caught:
        ordered((*FIRST_VERSIONS, made))
    return str(caught.value).removeprefix("Module 'made_tasks': ")


class TestMistakes:
    def test_versions_without_the_ones_before(self) -> None:
        assert refusal(LaterVersion(router.router, 3)) == (
            "no module has version 2 of the API, so none can have a later one."
        )

    def test_versions_that_do_not_follow_each_other(self) -> None:
        third = LaterVersion(router_v2.router, 3)
        for versions in ((third,), (LaterVersion(router.router, 1),)):
            assert refusal(*versions).startswith(f"make version {versions[0].number} with")

    def test_versions_of_routes_at_the_root(self) -> None:
        assert "for a router below /api/v1" in refusal(router_v2.router, versioned=False)
        assert "for a router below /api/v1" in refusal(router.router)

    def test_a_route_to_remove_that_does_not_exist(self) -> None:
        with pytest.raises(ValueError, match="the version before 2 has no GET /none to remove"):
            LaterVersion(router.router, 2).remove("GET", "/none")

    def test_a_resource_that_is_represented_differently_without_a_word(self) -> None:
        later = LaterVersion(router.router, 2)
        later.get("/{id}")(read_other)
        assert refusal(later) == (
            "version 2 represents MadeTaskOut differently: give LaterVersion "
            "`represents={MadeTaskOut: function that converts one}`, with which entity tags of "
            "changes are compared."
        )

    def test_a_route_that_keeps_the_former_representation(self) -> None:
        later = LaterVersion(router.router, 2, represents={MadeTaskOut: router_v2.MadeTaskOutV2.of})
        later.get("/{id}")(read_other)
        assert refusal(later).startswith(
            "GET /made-tasks in version 2 still returns MadeTaskOut: replace"
        )


async def test_a_third_version_begins_with_the_second(own_database_url: str) -> None:
    third = LaterVersion(router_v2.router, 3)
    third.remove("DELETE", "/{id}")
    modules = ordered((*FIRST_VERSIONS, replace(module, versions=(router_v2.router, third))))
    made = make_context(own_database_url, modules)
    app: Any = make_app(made, modules)
    second, newest = (app.openapi(number)["paths"] for number in (2, 3))
    assert newest["/api/v3/made-tasks/{id}"].keys() == second["/api/v2/made-tasks/{id}"].keys() - {
        "delete"
    }
    assert "/api/v3/users/{id}" in newest
    await made.database.close()


def test_without_a_second_version_there_is_one(app: FastAPI) -> None:
    assert isinstance(module, Module)
    only: Any = make_app(app.state.context, FIRST_VERSIONS)
    assert not [path for path in only.openapi()["paths"] if path.startswith(V2)]


def test_doctor_names_what_is_served_after_its_sunset() -> None:
    assert list(sunsets.due([module], date(2027, 2, 28))) == []
    found = [text for passed, text in sunsets.due([module], date(2027, 3, 1)) if passed is None]
    assert len(found) == 4
    assert found[0] == (
        "GET /api/v1/made-tasks: it, or a member of its bodies, was to be removed from "
        "2027-03-01 on, and is still served. Module 'made_tasks' can remove it, or announce a "
        "later day."
    )
