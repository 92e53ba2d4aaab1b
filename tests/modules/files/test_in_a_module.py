"""A module that uses files as docs/modules.md shows: no table and no code of files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.core.context import Context
from backend.core.module import Module
from backend.modules.files.settings import FileSettings
from tests.actors import ActorFactory
from tests.applications import make_app, make_context
from tests.dropped_modules import discovered_with
from tests.jobs import run_jobs

SOURCES = {
    "__init__": '"""Documents that people send."""\n',
    "manifest": """
from backend.core.module import Module
from backend.modules.made_documents.router import router

module = Module(router=router, depends_on=("files",))
""",
    "service": """
from typing import BinaryIO

from backend.core.context import Context
from backend.core.principal import SYSTEM, Principal
from backend.core.schemas import Schema
from backend.modules.files import service as files


class DocumentOut(Schema):
    key: str
    link: str


async def create_document(
    context: Context, by: Principal, content: BinaryIO, filename: str | None
) -> DocumentOut:
    async with (
        files.uploaded(context, SYSTEM, content, filename=filename) as stored,
        context.database.transaction() as session,
    ):
        key = await files.add(context, session, SYSTEM, stored, owner_id=by.user_id)
    return DocumentOut(key=key, link=await files.signed_url(context, SYSTEM, key))


async def delete_document(context: Context, by: Principal, key: str) -> None:
    async with context.database.transaction() as session:
        await files.delete(context, session, SYSTEM, key)
""",
    "router": '''
from fastapi import UploadFile

from backend.core.authorization import CurrentPrincipal
from backend.core.errors import NotFoundError, error_responses
from backend.core.http.dependencies import CurrentContext
from backend.core.http.routing import Router
from backend.modules.made_documents import service
from backend.modules.made_documents.service import DocumentOut

router = Router(prefix="/made-documents", tags=["made_documents"], max_body_size=4 * 1024 * 1024)


@router.post("")
async def create_document(
    by: CurrentPrincipal, context: CurrentContext, file: UploadFile
) -> DocumentOut:
    """Send a document."""
    return await service.create_document(context, by, file.file, file.filename)


@router.delete("/{key}", status_code=204, responses=error_responses(NotFoundError))
async def delete_document(key: str, by: CurrentPrincipal, context: CurrentContext) -> None:
    """Delete a document."""
    await service.delete_document(context, by, key)
''',
}
DOCUMENTS = "/api/v1/made-documents"


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[tuple[Module, ...]]:
    folder = tmp_path / "dropped" / "made_documents"
    folder.mkdir(parents=True)
    for name, text in SOURCES.items():
        (folder / f"{name}.py").write_text(text)
    with discovered_with(folder) as found:
        yield found


async def test_a_document_is_sent_linked_and_deleted(
    context: Context, modules: tuple[Module, ...], storage_url: str, database_url: str
) -> None:
    own = make_context(database_url, modules, storage_url=SecretStr(storage_url))
    await own.database.close()
    own = replace(own, database=context.database)
    own.state.started = True
    content = b"%PDF-1.7 " + bytes(3 * 1024 * 1024)
    actor = ActorFactory(make_app(own, modules), own)
    async with actor.stack:
        ada = await actor("ada")
        sent = await ada.post(DOCUMENTS, files={"file": ("Plan.pdf", content)})
        assert sent.status_code == 200
        link, key = sent.json()["link"], sent.json()["key"]
        if link.startswith("/"):
            answer = await ada.get(link)
            assert answer.content == content
            assert answer.headers["content-type"] == "application/pdf"
            assert 'attachment; filename="Plan.pdf"' in answer.headers["content-disposition"]
        assert (await ada.delete(f"{DOCUMENTS}/{key}")).status_code == 204
        if link.startswith("/"):
            assert (await ada.get(link)).status_code == 404
        await run_jobs(own, modules)
        large = await ada.post(DOCUMENTS, files={"file": ("a", bytes(5 * 1024 * 1024))})
        assert large.status_code == 413
    assert own.settings_of(FileSettings).storage_url is not None
