"""Undescribed parts of a module stop the start: one sentence each, with place and remedy."""

import shutil
import sys
from pathlib import Path

import pytest

from backend.core.registry import RegistryError, discover

MODULE = '''
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from backend.core.authorization import public
from backend.core.errors import AppError, NotFoundError, error_responses
from backend.core.features import Feature
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.lists import ListQuery, Page
from backend.core.module import Module
from backend.core.schemas import Bulk, Id, Schema
from backend.core.settings import SettingsBase

router = Router(prefix="/{name}", tags=["{name}"])
FOUND = error_responses(NotFoundError)


class {title}Out(Schema):
    id: UUID


@router.get("/{{id}}", dependencies=[public], responses=FOUND)
async def read_one(id: Id) -> {title}Out:
    """One of them."""


{body}


module = Module(router=router, {fields})
'''
TITLE = {"notes": "Note", "paper": "Sheet"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of modules for one test."""
    made = tmp_path / f"made_{tmp_path.name.replace('-', '_')}"
    made.mkdir()
    (made / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return made


def write(folder: Path, body: str = "", fields: str = "", name: str = "notes") -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    text = MODULE.format(name=name, title=TITLE[name], body=body, fields=fields)
    (folder / name / "manifest.py").write_text(text)


def refusals(folder: Path) -> list[str]:
    try:
        with pytest.raises(RegistryError) as caught:
            discover(folder.name)
    finally:
        for name in [each for each in sys.modules if each.partition(".")[0] == folder.name]:
            del sys.modules[name]
    return str(caught.value).splitlines()


def route(signature: str, *, options: str = "", result: str = "NoteOut", text: str = "Do.") -> str:
    """Return a handler of `GET /notes`, or of the method and path in `signature`."""
    method, path, parameters = signature.split(maxsplit=2)
    return (
        f'@router.{method.lower()}("{path[1:-1]}", dependencies=[public], {options})\n'
        f"async def handle({parameters[1:-1]}) -> {result}:\n    '{text}'\n"
    )


def test_a_described_module_starts(folder: Path) -> None:
    write(folder, route('GET "" ()'))
    assert [module.name for module in discover(folder.name)] == ["notes"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            route('GET "" ()', text=""),
            "describe it to clients in the handler's docstring, in sentences with full stops.",
        ),
        (
            route('GET "/{id}/page" (id: Id)'),
            "declare its 404: responses=error_responses(<the module's not-found error>).",
        ),
        (route('GET "" ()', result="Any"), "annotate the schema that the handler returns."),
        (route('GET "" ()', result="Response"), "annotate the schema that the handler returns."),
        (
            route('GET "" ()', result="list[NoteOut]"),
            "return a Page of the rows: collections have `data`, `next_cursor` and `total`.",
        ),
        (
            route('GET "" ()', result="Page[NoteOut]"),
            "take a parameter of the type Annotated[ListQuery, list_parameters(...)].",
        ),
        (
            "class Open(BaseModel):\n    x: int\n\n" + route('GET "" ()', result="Open"),
            "derive Open from backend.core.schemas.Schema.",
        ),
        (
            route('POST "" ()', options="status_code=201, idempotent=False"),
            "name the created resource's address: location=<the handler that reads it>.",
        ),
        (
            route('GET "" (colour: str = "red")'),
            "describe the query parameter 'colour': Query(description=...), or Filter's third.",
        ),
        (
            "class Inner(BaseModel):\n    x: int\n\n"
            "class New(Schema):\n    inner: list[Inner] | None\n\n" + route('POST "" (new: New)'),
            "its body Inner accepts unknown members; derive it from backend.core.schemas.Schema.",
        ),
        (
            "router.tags.append('more')\n" + route('GET "" ()'),
            "give its router one tag: Router(prefix=..., tags=[...]).",
        ),
    ],
    ids=lambda value: value if value[0] != "@" and "\n" not in value else "",
)
def test_an_undescribed_route_is_named(folder: Path, body: str, sentence: str) -> None:
    write(folder, body)
    (refusal,) = refusals(folder)
    lines = (folder / "notes/manifest.py").read_text().splitlines()
    line = max(number for number, text in enumerate(lines, 1) if text.startswith("@router"))
    assert refusal.startswith("Module 'notes', ")
    assert refusal.endswith(f" (notes/manifest.py:{line}): {sentence}")


@pytest.mark.parametrize(
    ("sorts", "fault"),
    [
        ("{}", "by 'created_at', which is not among its sorts (there are none)"),
        ("{'name': column('name')}", "by 'created_at', which is not among its sorts (name)"),
        ("{'name': column('name')}, default_sort='-name'", ""),
    ],
)
def test_the_default_sort_of_a_list_exists(folder: Path, sorts: str, fault: str) -> None:
    spec = (
        "from sqlalchemy import column, select\n\n"
        "from backend.core.lists import ResourceList\n\n"
        "NOTES = ResourceList(name='notes', schema=NoteOut, statement=select(column('id')), "
        f"key=column('id'), sorts={sorts})\n\n"
    )
    handler = 'GET "" (query: Annotated[ListQuery, list_parameters(NOTES)])'
    write(folder, spec + route(handler, result="Page[NoteOut]"))
    if fault:
        (refusal,) = refusals(folder)
        lines = (folder / "notes/manifest.py").read_text().splitlines()
        line = next(number for number, text in enumerate(lines, 1) if handler[4:6] + "," in text)
        assert f"(notes/manifest.py:{line}): its list 'notes' is sorted {fault}: " in refusal
    else:
        assert [module.name for module in discover(folder.name)] == ["notes"]


def test_routes_of_a_later_version_are_described_too(folder: Path) -> None:
    later = """
from backend.core.http.versions import LaterVersion

v2 = LaterVersion(router, 2)


@v2.get("/{{id}}", dependencies=[public], responses=FOUND)
async def read_one(id: Id) -> NoteOut:
    {}
"""
    write(folder, later.format("return NoteOut(id=id)"), fields="versions=(v2,)")
    (sentence,) = refusals(folder)
    assert "GET /notes/{id} (" in sentence
    assert "describe it to clients in the handler's docstring" in sentence
    # Both versions have an operation `notes-read_one`.
    shutil.rmtree(folder / "notes")
    write(folder, later.format('"""The same one."""'), fields="versions=(v2,)")
    assert [module.name for module in discover(folder.name)] == ["notes"]


def test_all_sentences_come_together(folder: Path) -> None:
    write(folder, route('GET "" (a: int, b: int)', text="", result="Any"))
    assert len(refusals(folder)) == 4


def test_two_modules_do_not_share_names(folder: Path) -> None:
    error = "class {0}(AppError):\n    status = 409\n    code = 'FULL'\n    detail = 'Full.'\n\n"
    setting = "class S(SettingsBase):\n    most: int = Field(1, description='Most.')\n\n"
    other = "class NoteOut(Schema):\n    x: int\n\n" + route('GET "" ()')
    other = other.replace("handle", "read_one")
    write(folder, error.format("FullError") + setting, "settings=S")
    retagged = "router.tags[:] = ['notes']\n"
    write(folder, error.format("NoRoomError") + setting + retagged + other, "settings=S", "paper")
    assert [each.partition(": ")[0].partition(", GET")[0] for each in refusals(folder)] == [
        "Module 'paper' declares the setting MOST, which 'notes' declares already",
        "Module 'paper' gives NoRoomError the code FULL, which module 'notes' has already",
        "Module 'paper'",  # the operation notes-read_one
        "Module 'paper'",  # the schema NoteOut
    ]


def test_settings_and_permissions_are_described(folder: Path) -> None:
    setting = "class S(SettingsBase):\n    most: int = 1\n"
    known = "    log_level: str = Field('', description='Level.')\n"
    feature = "Feature('Notes!', 'Text.', {'read': ''})"
    write(folder, setting + known, f"settings=S, features=({feature},)")
    assert [each.partition(": ")[0] for each in refusals(folder)] == [
        "Module 'notes' declares the feature 'Notes!' with the name 'Notes!'",
        "Module 'notes' does not describe the permission 'Notes!:read'",
        "Module 'notes' does not describe the setting MOST",
        "Module 'notes' declares the setting LOG_LEVEL, which 'core' declares already",
    ]
