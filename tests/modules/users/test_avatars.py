"""Avatars: upload, address, replacement, refusals and deletion."""

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from backend.core.context import Context
from backend.core.settings import SettingsBase
from backend.modules.files.jobs import sweep
from backend.modules.files.settings import FileSettings
from backend.modules.files.storage import storage_of
from backend.modules.storage_quotas.settings import QuotaSettings
from tests.actors import Actor, Client
from tests.applications import make_app
from tests.images import jpeg, png, webp
from tests.jobs import run_jobs
from tests.sessions import execute
from tests.web import sign_in_by_cookie

AVATAR, ME = "/api/v1/users/me/avatar", "/api/v1/users/me"
_DAY = timedelta(days=1)
LIMIT = 2 * 1024 * 1024


@pytest.fixture
async def context(context: Context, storage_url: str) -> Context:
    settings = FileSettings(_env_file=None, storage_url=SecretStr(storage_url))
    quota = QuotaSettings(_env_file=None, storage_quota_per_user=3 * 1024 * 1024)
    kinds: dict[type[SettingsBase], SettingsBase] = {FileSettings: settings, QuotaSettings: quota}
    return replace(context, module_settings={**context.module_settings, **kinds})


async def put(actor: Actor, image: bytes, name: str = "me.png", **headers: str) -> Any:
    files = {"file": (name, image, "image/png")}
    return await actor.put(AVATAR, files=files, headers=headers)


async def objects(context: Context) -> set[str]:
    found: set[str] = set()
    async for names in storage_of(context).names(older_than=-_DAY):
        found |= set(names)
    return found


async def counted(url: str) -> int:
    (row,) = await execute(url, "SELECT coalesce(sum(bytes), 0)::int AS sum FROM stored_bytes")
    size: int = row["sum"]
    return size


@pytest.mark.parametrize("image", [png(), jpeg(), webp()], ids=["png", "jpeg", "webp"])
async def test_an_avatar_is_served_at_its_address(
    ada: Actor, admin: Actor, client: Client, image: bytes
) -> None:
    answer = await put(ada, image, name="../../x.html")
    assert answer.status_code == 200
    url = answer.json()["avatar_url"]
    assert url.startswith("/files/")
    assert len(url) > 40
    shown = await client.get(url)
    assert (shown.status_code, shown.content) == (200, image)
    kind = {b"\x89": "png", b"\xff": "jpeg", b"R": "webp"}[image[:1]]
    assert shown.headers["content-type"] == f"image/{kind}"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert shown.headers["content-disposition"] == "inline"
    assert "sandbox" in shown.headers["content-security-policy"]
    assert "immutable" in shown.headers["cache-control"]
    # It is in every form of the account.
    me = (await ada.get(ME)).json()
    assert me == answer.json()
    path = f"/api/v1/users/{ada.id}"
    assert (await admin.get(path)).json()["avatar_url"] == url
    listed = (await admin.get("/api/v1/users?q=ada&fields=avatar_url")).json()["data"]
    assert listed == [{"avatar_url": url}]
    changed = await admin.patch(path, json={"full_name": "Ada"})
    assert changed.json()["avatar_url"] == url
    assert (await admin.put(f"{path}/roles", json={"roles": ["editor"]})).json()[
        "avatar_url"
    ] == url


async def test_a_replaced_avatar_is_deleted_by_a_job(
    ada: Actor, client: Client, context: Context, database_url: str
) -> None:
    first = (await put(ada, png())).json()["avatar_url"]
    second = (await put(ada, jpeg())).json()["avatar_url"]
    assert first != second
    assert (await client.get(first)).status_code == 404
    assert (await client.get(second)).content == jpeg()
    assert len(await objects(context)) == 2
    await run_jobs(context)
    assert await objects(context) == {second.removeprefix("/files/")}
    assert await counted(database_url) == len(jpeg())


async def test_deleting_it_is_idempotent(ada: Actor, context: Context, database_url: str) -> None:
    url = (await put(ada, png())).json()["avatar_url"]
    for _ in range(2):
        assert (await ada.delete(AVATAR)).status_code == 204
        assert (await ada.get(ME)).json()["avatar_url"] is None
    assert (await ada.get(url)).status_code == 404
    await run_jobs(context)
    assert await objects(context) == set()
    assert await counted(database_url) == 0


async def test_deleting_the_account_deletes_it(
    ada: Actor, bob: Actor, client: Client, context: Context, database_url: str
) -> None:
    urls = [(await put(each, png())).json()["avatar_url"] for each in (ada, bob)]
    assert (await ada.delete(ME)).status_code == 204
    assert [(await client.get(url)).status_code for url in urls] == [404, 200]
    await run_jobs(context)
    assert await counted(database_url) == len(png())
    assert await objects(context) == {urls[1].removeprefix("/files/")}


REFUSED = [
    (png(padding=LIMIT), 413, "PAYLOAD_TOO_LARGE"),
    (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415, None),
    (b"GIF89a" + b"\0" * 40, 415, None),
    (b"%PDF-1.7", 415, None),
    (b"", 415, None),
    (png(50_000, 50_000), 422, "IMAGE_TOO_LARGE"),
    (jpeg(65_000, 65_000), 422, "IMAGE_TOO_LARGE"),
    (png()[:-10], 422, "IMAGE_UNREADABLE"),
    (b"\x89PNG\r\n\x1a\n", 422, "IMAGE_UNREADABLE"),
]


@pytest.mark.parametrize(("image", "status", "code"), REFUSED, ids=range(len(REFUSED)))
async def test_refusals_store_nothing(
    ada: Actor, context: Context, database_url: str, image: bytes, status: int, code: str | None
) -> None:
    answer = await put(ada, image)
    expected = code or "UNSUPPORTED_MEDIA_TYPE"
    assert (answer.status_code, answer.json()["error"]) == (status, expected)
    assert await objects(context) == set()
    assert await execute(database_url, "SELECT 1 FROM files") == []


async def test_two_mebibytes_are_accepted(ada: Actor) -> None:
    whole = png(padding=LIMIT - len(png(padding=1)) + 1)
    assert len(whole) == LIMIT
    assert (await put(ada, whole)).status_code == 200


async def test_a_body_without_length_is_cut_off(ada: Actor) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while sent < 64 * LIMIT:
            sent += 65536
            yield b"\x89PNG" * 16384

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await ada.put(AVATAR, content=endless(), headers=headers)
    assert answer.status_code == 413
    assert sent < 2 * LIMIT


async def test_the_form_is_strict(ada: Actor, client: Client) -> None:
    files = {"file": ("a", png())}
    assert (await client.put(AVATAR, files=files)).status_code == 401
    assert (await ada.put(AVATAR, files={"other": ("a", png())})).status_code == 422
    assert (await ada.put(AVATAR, files=files, data={"more": "x"})).status_code == 422
    assert (await ada.put(AVATAR, files=[("file", png()), ("file", png())])).status_code == 422
    assert (await ada.put(AVATAR, files={"file": (None, "text")})).status_code == 422
    raw = await ada.put(AVATAR, content=png(), headers={"Content-Type": "image/png"})
    assert raw.status_code == 415


async def test_cookies_need_the_csrf_token(client: Client, ada: Actor) -> None:
    page = await sign_in_by_cookie(client)
    files = {"file": ("a", png())}
    assert (await client.put(AVATAR, files=files)).json()["error"] == "CSRF_FAILED"
    assert (await client.put(AVATAR, files=files, headers=page.csrf)).status_code == 200


async def test_if_match_counts(ada: Actor, context: Context) -> None:
    tag = (await ada.get(ME)).headers["etag"]
    answer = await put(ada, png(), **{"If-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["etag"] == (await ada.get(ME)).headers["etag"] != tag
    assert (await put(ada, jpeg(), **{"If-Match": tag})).status_code == 412
    assert (await ada.delete(AVATAR, headers={"If-Match": tag})).status_code == 412
    assert len(await objects(context)) == 1


async def test_it_counts_towards_the_quota(ada: Actor, context: Context, database_url: str) -> None:
    article = {"title": "Tree", "content": "x" * 500_000}
    for _ in range(5):
        assert (await ada.post("/api/v1/articles", json=article)).status_code == 201
    small, large = png(padding=300_000), png(padding=900_000)
    assert (await put(ada, small)).status_code == 200
    refused = await put(ada, large)
    assert (refused.status_code, refused.json()["error"]) == (422, "STORAGE_QUOTA_EXCEEDED")
    # The object of the refused one is gone, and the old avatar is still there.
    assert len(await objects(context)) == 1
    # The bytes of the replaced one are free.
    assert (await put(ada, png(padding=350_000))).status_code == 200


async def test_a_process_that_ends_before_the_row_leaves_an_orphan_for_the_sweep(
    ada: Actor, context: Context, database_url: str
) -> None:
    kept = (await put(ada, png())).json()["avatar_url"].removeprefix("/files/")
    orphan = "A" * 43
    await storage_of(context).put(orphan, io.BytesIO(png()), {})
    await sweep(context)
    assert await objects(context) == {kept, orphan}
    await sweep(context, older_than=-_DAY)
    assert await objects(context) == {kept}


async def test_the_address_has_the_prefix_of_the_proxy(
    ada: Actor, app: FastAPI, context: Context
) -> None:
    settings = context.settings.model_copy(update={"root_path": "/backend"})
    prefixed = make_app(replace(context, settings=settings))
    headers = {"Authorization": f"Bearer {ada.token}"}
    async with Client(prefixed, headers=headers) as client:
        answer = await client.put(AVATAR, files={"file": ("a", png())})
        url = answer.json()["avatar_url"]
        assert url.startswith("/backend/files/")
        assert (await client.get(ME)).json()["avatar_url"] == url
        assert (await client.get(url)).content == png()


async def test_the_audit_event_has_no_address(ada: Actor, database_url: str) -> None:
    url = (await put(ada, png())).json()["avatar_url"]
    rows = await execute(database_url, "SELECT changes::text FROM audit_events")
    assert rows
    assert not any(url.removeprefix("/files/") in row["changes"] for row in rows)
