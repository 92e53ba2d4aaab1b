"""`GET /users/me/export` contains everything that the modules hold about the caller."""

from typing import Any

from tests.actors import Actor

EXPORT = "/api/v1/users/me/export"


async def export_of(actor: Actor) -> Any:
    response = await actor.get(EXPORT)
    assert response.status_code == 200
    return response.json()


async def test_it_is_a_file_with_the_parts_of_all_modules(ada: Actor) -> None:
    response = await ada.get(EXPORT)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-disposition"] == 'attachment; filename="account.json"'
    assert response.headers["cache-control"] == "no-store"
    exported = response.json()
    assert exported.keys() >= {"user", "items", "articles", "sessions", "audit_events"}
    assert exported["user"] == (await ada.get("/api/v1/users/me")).json()
    assert exported["items"] == exported["articles"] == []
    sessions = (await ada.get("/api/v1/auth/sessions")).json()["data"]
    assert exported["sessions"] == sessions
    assert sessions[0]["current"]
