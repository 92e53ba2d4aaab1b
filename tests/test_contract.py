"""The gate of the HTTP contract: breaking changes are found and named, additions are none."""

import json
import re
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from backend.cli.listing import openapi_texts
from backend.core.authorization import public
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.core.registry import ordered
from tests.applications import MODULES
from tests.commands import ROOT
from tests.core.http.test_openapi import DOCUMENT
from tests.core.versions.made_tasks import manifest as tasks
from tools import contract
from tools.contract import breaches

Document = dict[str, Any]
ITEMS, ITEM = "/api/v1/items", "/api/v1/items/{id}"
TEXT = json.dumps(DOCUMENT, indent=2, ensure_ascii=False) + "\n"
ARTICLES, HEALTH = "/api/v1/articles", "/health"
REFRESH, LOGOUT = "/api/v1/auth/refresh", "/api/v1/auth/logout"


def _released() -> Document:
    """Return the document with a few of its paths, for speed."""
    document: Document = deepcopy(DOCUMENT)
    kept = (ITEMS, ITEM, ARTICLES, HEALTH, REFRESH, LOGOUT)
    document["paths"] = {path: found for path, found in document["paths"].items() if path in kept}
    # A request whose objects are open.
    document["components"]["schemas"].get("ItemCreate", {})["additionalProperties"] = True
    return document


RELEASED = _released()
MEDIA = "application/problem+json"


def operation(document: Document, method: str = "get", path: str = ITEMS) -> Document:
    found: Document = document["paths"][path][method]
    return found


def schema(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"][name]
    return found


def parameter(document: Document, name: str) -> Document:
    parameters = operation(document)["parameters"]
    found: Document = next(each for each in parameters if each["name"] == name)
    return found


def remove_parameter(document: Document, name: str) -> None:
    operation(document)["parameters"].remove(parameter(document, name))


def make_required(document: Document, name: str, member: str) -> None:
    schema(document, name).setdefault("required", []).append(member)


def add_member(document: Document, name: str, *, required: bool) -> None:
    schema(document, name)["properties"]["color"] = {"type": "string"}
    if required:
        make_required(document, name, "color")


def rename_error(document: Document) -> None:
    examples = operation(document)["responses"]["400"]["content"][MEDIA]["examples"]
    examples["CURSOR_WRONG"] = examples.pop("INVALID_CURSOR")


def move_error(document: Document) -> None:
    responses = operation(document)["responses"]
    moved = responses["400"]["content"][MEDIA]["examples"].pop("INVALID_CURSOR")
    responses["422"]["content"][MEDIA]["examples"]["INVALID_CURSOR"] = moved


def retitle(document: Document, **changed: Any) -> None:
    schema(document, "ItemCreate")["properties"]["title"].update(changed)


def reshow(document: Document, **changed: Any) -> None:
    schema(document, "ItemOut")["properties"]["id"].update(changed)


# A change of the document, and the sentence that names it.
BREAKING: dict[str, tuple[Callable[[Document], Any], str]] = {
    "path": (
        lambda it: it["paths"].pop(REFRESH),
        f"POST {REFRESH} is gone; keep it, and announce the removal first (docs/versions.md).",
    ),
    "method": (
        lambda it: it["paths"][ITEM].pop("delete"),
        f"DELETE {ITEM} is gone; keep it, and announce the removal first (docs/versions.md).",
    ),
    "operation id": (
        lambda it: operation(it).update(operationId="items-find_items"),
        (
            f"GET {ITEMS}: the operationId is `items-find_items` instead of `items-list_items`; "
            "keep the name: functions of generated clients have it."
        ),
    ),
    "parameter": (
        lambda it: remove_parameter(it, "q"),
        f"GET {ITEMS}: the query parameter `q` is gone; keep it.",
    ),
    "parameter required": (
        lambda it: parameter(it, "q").update(required=True),
        f"GET {ITEMS}: the query parameter `q` is required now; make it optional again.",
    ),
    "new required parameter": (
        lambda it: operation(it)["parameters"].append(
            {"name": "team", "in": "query", "required": True, "schema": {"type": "string"}}
        ),
        f"GET {ITEMS}: the query parameter `team` is new and required; make it optional.",
    ),
    "parameter form": (
        lambda it: parameter(it, "sort").update(explode=True),
        f"GET {ITEMS}: the query parameter `sort` has another `explode`; keep the released form.",
    ),
    "default": (
        lambda it: parameter(it, "limit")["schema"].update(default=50),
        (
            f"GET {ITEMS}: the query parameter `limit` has the default 50 instead of 20; "
            "keep the released default."
        ),
    ),
    "parameter limit": (
        lambda it: parameter(it, "limit")["schema"].update(maximum=50),
        (
            f"GET {ITEMS}: `query.limit` of the request has the maximum 50 instead of 100; "
            "keep the released limit."
        ),
    ),
    "sort": (
        lambda it: parameter(it, "sort")["schema"]["items"]["enum"].remove("-title"),
        (
            f"GET {ITEMS}: `query.sort[]` of the request no longer accepts `-title`; "
            "accept the value again."
        ),
    ),
    "new required member": (
        lambda it: add_member(it, "ItemCreate", required=True),
        f"POST {ITEMS}: `body.color` of the request is new and required; make it optional.",
    ),
    "member required": (
        lambda it: make_required(it, "ItemCreate", "description"),
        f"POST {ITEMS}: `body.description` of the request is required now; make it optional again.",
    ),
    "member of the request": (
        lambda it: schema(it, "ItemCreate")["properties"].pop("description"),
        (
            f"POST {ITEMS}: `body.description` of the request is not accepted any more; "
            "accept it again."
        ),
    ),
    "null refused": (
        lambda it: schema(it, "ItemUpdate")["properties"]["description"]["anyOf"].pop(),
        (
            f"PATCH {ITEM}: `body.description` of the request no longer accepts null; "
            "accept null again."
        ),
    ),
    "shorter": (
        lambda it: retitle(it, maxLength=80),
        (
            f"POST {ITEMS}: `body.title` of the request has the maxLength 80 instead of 255; "
            "keep the released limit."
        ),
    ),
    "pattern": (
        lambda it: retitle(it, pattern="^[a-z]+$"),
        (
            f"POST {ITEMS}: `body.title` of the request has another pattern; "
            "keep the released pattern."
        ),
    ),
    "type": (
        lambda it: retitle(it, type="integer"),
        f"POST {ITEMS}: `body.title` of the request no longer accepts string; accept string again.",
    ),
    "further members": (
        lambda it: schema(it, "ItemCreate").update(additionalProperties=False),
        f"POST {ITEMS}: `body` of the request refuses further members now; accept them again.",
    ),
    "body required": (
        lambda it: operation(it, "post", LOGOUT)["requestBody"].update(required=True),
        "POST /api/v1/auth/logout: the body is required now; make it optional.",
    ),
    "body type": (
        lambda it: operation(it, "post")["requestBody"]["content"].update(
            {"text/csv": operation(it, "post")["requestBody"]["content"].pop("application/json")}
        ),
        (
            f"POST {ITEMS}: the body cannot be application/json any more; "
            "accept application/json again."
        ),
    ),
    "member of the response": (
        lambda it: schema(it, "ItemOut")["properties"].pop("owner_id"),
        f"GET {ITEM}: `owner_id` of the response is gone; keep the member.",
    ),
    "member may be absent": (
        lambda it: schema(it, "ItemOut")["required"].remove("owner_id"),
        f"GET {ITEM}: `owner_id` of the response can be absent now; send it always.",
    ),
    "member may be null": (
        lambda it: reshow(it, type=["string", "null"]),
        f"GET {ITEM}: `id` of the response can now be null; send the released type.",
    ),
    "format": (
        lambda it: schema(it, "ItemOut")["properties"]["id"].pop("format"),
        (
            f"GET {ITEM}: `id` of the response has the format none instead of uuid; "
            "keep the released format."
        ),
    ),
    "state": (
        lambda it: schema(it, "ArticleOut")["properties"]["status"]["enum"].append("hidden"),
        (
            "GET /api/v1/articles: `data[].status` of the response can now be `hidden`; "
            "send released values only."
        ),
    ),
    "status": (
        lambda it: operation(it, "post")["responses"].update(
            {"200": operation(it, "post")["responses"].pop("201")}
        ),
        f"POST {ITEMS}: the response 201 is gone; keep the released status.",
    ),
    "header": (
        lambda it: operation(it, "post")["responses"]["201"]["headers"].pop("ETag"),
        f"POST {ITEMS}: the response 201 has no `ETag` any more; keep the header.",
    ),
    "error code": (
        rename_error,
        f"GET {ITEMS}: the error `INVALID_CURSOR` is gone; keep the code: clients branch on it.",
    ),
    "status of an error": (
        move_error,
        (
            f"GET {ITEMS}: the error `INVALID_CURSOR` has the status 422 instead of 400; "
            "keep the released status."
        ),
    ),
    "anonymous": (
        lambda it: operation(it, path=ARTICLES)["security"].remove({}),
        "GET /api/v1/articles: anonymous callers are refused now; accept them again.",
    ),
    "credential": (
        lambda it: operation(it)["security"].remove({"SignIn": []}),
        f"GET {ITEMS}: callers with SignIn are refused now; accept them again.",
    ),
    "security where there was none": (
        lambda it: operation(it, path=HEALTH).update(security=[{"SignIn": []}]),
        "GET /health: anonymous callers are refused now; accept them again.",
    ),
    "scheme": (
        lambda it: it["components"]["securitySchemes"]["CSRFToken"].update(name="X-XSRF"),
        "The security scheme `CSRFToken` is another one; keep the released scheme beside it.",
    ),
    "permission": (
        lambda it: operation(it).update({"x-permission": "items:admin"}),
        (
            f"GET {ITEMS}: callers need the permission `items:admin` instead of `items:read`; "
            "keep the released permission."
        ),
    ),
    "name of a permission": (
        lambda it: it["x-permissions"].pop("items:admin"),
        "The permission `items:admin` is gone; keep it: roles and clients name it.",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), BREAKING.values(), ids=BREAKING.keys())
def test_a_breaking_change_is_named(change: Callable[[Document], Any], sentence: str) -> None:
    present = deepcopy(RELEASED)
    change(present)
    found = breaches(RELEASED, present)
    operations, _, what = sentence.partition(": ")
    # The sentence names each operation that has the changed schema.
    assert any(each == sentence or (operations in each and what in each) for each in found), found


ADDITIONS: dict[str, Callable[[Document], Any]] = {
    "nothing": lambda _: None,
    "path": lambda it: it["paths"].update({"/api/v1/made-notes": it["paths"][ITEMS]}),
    "optional member of the request": lambda it: add_member(it, "ItemCreate", required=False),
    "member of the response": lambda it: add_member(it, "ItemOut", required=True),
    "optional parameter": lambda it: operation(it)["parameters"].append(
        {"name": "team", "in": "query", "schema": {"type": "string"}}
    ),
    "longer": lambda it: retitle(it, maxLength=500),
    "null accepted": lambda it: retitle(it, type=["string", "null"]),
    "sort": lambda it: parameter(it, "sort")["schema"]["items"]["enum"].append("owner_id"),
    "fewer states": lambda it: schema(it, "ArticleOut")["properties"]["status"]["enum"].pop(),
    "optional now": lambda it: schema(it, "ItemCreate")["required"].clear(),
    "always there now": lambda it: make_required(it, "Problem", "errors"),
    "never null now": lambda it: schema(it, "ItemOut")["properties"]["description"]["anyOf"].pop(),
    "anonymous too": lambda it: operation(it)["security"].append({}),
    "no permission": lambda it: operation(it).pop("x-permission"),
    "prose": lambda it: operation(it).update(summary="Other", description="Other."),
    "header": lambda it: operation(it)["responses"]["200"]["headers"].update({"Age": {}}),
    "error code": lambda it: operation(it)["responses"]["400"]["content"][MEDIA]["examples"].update(
        NEW={"value": {}}
    ),
    "name of a schema": lambda it: it["components"]["schemas"].update(
        Renamed=schema(it, "ItemOut"),
        Page_ItemOut_=json.loads(
            json.dumps(schema(it, "Page_ItemOut_")).replace("/ItemOut", "/Renamed")
        ),
    ),
}


@pytest.mark.parametrize("change", ADDITIONS.values(), ids=ADDITIONS.keys())
def test_an_addition_breaks_nothing(change: Callable[[Document], Any]) -> None:
    present = deepcopy(RELEASED)
    change(present)
    assert breaches(RELEASED, present) == []


def test_deprecated_operations_and_members_may_go_after_a_release() -> None:
    released, present = deepcopy(RELEASED), deepcopy(RELEASED)
    operation(released, "delete", ITEM)["deprecated"] = True
    del present["paths"][ITEM]["delete"]
    schema(released, "ItemOut")["properties"]["owner_id"]["deprecated"] = True
    del schema(present, "ItemOut")["properties"]["owner_id"]
    schema(released, "ItemUpdate")["properties"]["description"]["deprecated"] = True
    del schema(present, "ItemUpdate")["properties"]["description"]
    parameter(released, "q")["deprecated"] = True
    remove_parameter(present, "q")
    assert breaches(released, present) == []


def test_defaults_and_keywords_beside_alternatives_are_compared() -> None:
    released, present = deepcopy(RELEASED), deepcopy(RELEASED)
    schema(released, "ItemCreate")["properties"]["description"]["default"] = "none"
    schema(present, "ItemCreate")["properties"]["description"].update(default="", maxLength=5)
    default, limit = (each.partition(": ")[2] for each in breaches(released, present))
    assert default == (
        '`body.description` of the request has the default "" instead of "none"; '
        "keep the released default."
    )
    assert limit == (
        "`body.description` of the request has the maxLength 5 instead of none; "
        "keep the released limit."
    )


def test_combined_schemas_are_refused() -> None:
    present = deepcopy(RELEASED)
    retitle(present, allOf=[{"maxLength": 5}])
    with pytest.raises(SystemExit, match="has `allOf`, which the contract gate cannot compare"):
        breaches(RELEASED, present)


def test_a_change_of_all_operations_is_one_sentence() -> None:
    present = deepcopy(RELEASED)
    schema(present, "Problem")["required"].remove("error")
    (sentence,) = breaches(RELEASED, present)
    assert sentence == (
        f"GET {HEALTH}, GET {ARTICLES}, POST {ARTICLES} and 7 other operations: "
        "`error` of the response can be absent now; send it always."
    )


def test_schemas_that_contain_themselves_are_compared() -> None:
    released = deepcopy(RELEASED)
    tree = {"properties": {"below": {"$ref": "#/components/schemas/ItemOut"}}, "type": "object"}
    released["components"]["schemas"]["ItemOut"] = tree
    present = deepcopy(released)
    schema(present, "ItemOut")["properties"]["name"] = {"type": "string"}
    assert breaches(released, present) == []
    assert len(breaches(present, released)) > 0


def test_openapi_json_is_the_document_of_this_code() -> None:
    # The text, so that an order which differs between processes is noticed as well.
    written = (ROOT / "openapi.json").read_text("utf-8")
    new = contract.unrecorded(json.loads(written), MODULES)
    kept = [each for each in MODULES if each not in new]
    assert written == (openapi_texts(kept)[1] if new else TEXT), (
        "openapi.json is out of date. Run: make openapi"
    )


def test_a_new_module_leaves_the_gate_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    router = Router(prefix="/made-jots", tags=["made_jots"])

    @router.get("", dependencies=[public])
    async def read_jots() -> list[str]:
        """The jots."""
        return []

    jots = Module(name="made_jots", router=router)
    monkeypatch.setattr(contract, "discover", lambda: (*MODULES, jots))
    monkeypatch.setattr(sys, "argv", ["contract"])
    contract.main()
    assert re.search(
        r"does not have .*made_jots; make openapi client adds it", capsys.readouterr().out
    )
    # A release has all modules.
    monkeypatch.setattr(contract, "RELEASED", tmp_path / "openapi.released.json")
    monkeypatch.setattr(sys, "argv", ["contract", "--release"])
    with pytest.raises(SystemExit, match="Run: make openapi"):
        contract.main()


def test_the_contract_of_the_last_release_is_kept() -> None:
    released = json.loads((ROOT / "openapi.released.json").read_text("utf-8"))
    assert breaches(released, DOCUMENT) == []


def _files_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Let the gate read and write documents in this folder; return those of version 1."""
    present, released = folder / "openapi.json", folder / "openapi.released.json"
    monkeypatch.setattr(contract, "PRESENT", present)
    monkeypatch.setattr(contract, "RELEASED", released)
    return present, released


def test_the_gate_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    present, released = _files_in(tmp_path, monkeypatch)
    # A module was added: the document has other paths than the file.
    present.write_text(TEXT.replace("/items", "/things"))
    with pytest.raises(SystemExit, match="Run: make openapi"):
        contract.gate({1: TEXT}, release=False)
    present.write_text(TEXT)
    with pytest.raises(SystemExit, match=r"is missing\. Restore it: git checkout"):
        contract.gate({1: TEXT}, release=False)
    contract.gate({1: TEXT}, release=True)
    assert released.read_text() == present.read_text()
    changed = deepcopy(DOCUMENT)
    changed["paths"]["/api/v1/made-notes"] = {"get": operation(changed, path=HEALTH)}
    released.write_text(json.dumps(changed))
    capsys.readouterr()
    with pytest.raises(SystemExit, match='record them: make contract args="--release"'):
        contract.gate({1: TEXT}, release=False)
    assert capsys.readouterr().out == (
        "GET /api/v1/made-notes is gone; keep it, and announce the removal first "
        "(docs/versions.md).\n"
    )


def test_later_versions_have_documents_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    present, _ = _files_in(tmp_path, monkeypatch)
    texts = openapi_texts(ordered((*MODULES, tasks.module)))
    assert texts.keys() == {1, 2}
    present.write_text(texts[1])
    with pytest.raises(SystemExit, match=r"openapi\.v2\.json is not .* Run: make openapi"):
        contract.gate(texts, release=False)
    (tmp_path / "openapi.v2.json").write_text(texts[2])
    contract.gate(texts, release=True)
    assert {path.name for path in tmp_path.glob("*.released.*")} == {
        "openapi.released.json",
        "openapi.released.v2.json",
    }
    contract.gate(texts, release=False)
    changed = json.loads(texts[2])
    del schema(changed, "MadeTaskOutV2")["properties"]["state"]
    texts[2] = json.dumps(changed)
    (tmp_path / "openapi.v2.json").write_text(texts[2])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="breaks clients of the last release"):
        contract.gate(texts, release=False)
    path = "/api/v2/made-tasks/{id}"
    assert f"GET {path}, PATCH {path}: `state` of the response is gone" in capsys.readouterr().out


def test_a_version_goes_as_its_routes_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    present, released = _files_in(tmp_path, monkeypatch)
    former = deepcopy(RELEASED)
    former["paths"] = {"/api/v2/items": {"get": operation(RELEASED)}}
    for file, text in (
        (present, TEXT),
        (released, TEXT),
        (tmp_path / "openapi.v2.json", TEXT),
        (tmp_path / "openapi.released.v2.json", json.dumps(former)),
    ):
        file.write_text(text)
    with pytest.raises(SystemExit, match=r"openapi\.v2\.json is of a version .* Remove the file"):
        contract.gate({1: TEXT}, release=False)
    (tmp_path / "openapi.v2.json").unlink()
    with pytest.raises(SystemExit):
        contract.gate({1: TEXT}, release=False)
    assert capsys.readouterr().out.startswith("GET /api/v2/items is gone; keep it")
    contract.gate({1: TEXT}, release=True)
    assert not (tmp_path / "openapi.released.v2.json").exists()
