"""The main flows of a client: registration, sign-in, creating and publishing articles."""

import pytest

from tests.actors import Actor, Client

NEW_USER = {"email": "newuser@example.com", "username": "newuser", "password": "NewUser123!"}


async def test_register_sign_in_by_form_and_read_oneself(client: Client) -> None:
    registered = await client.post("/api/v1/auth/register", json=NEW_USER)
    assert registered.status_code == 201
    signed_in = await client.post(
        "/api/v1/auth/login",
        data={"username": NEW_USER["email"], "password": NEW_USER["password"]},
    )
    assert signed_in.status_code == 200
    token = signed_in.json()["access_token"]
    me = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert me.status_code == 200
    assert me.json() == {**registered.json(), "pending_email": None}
    assert me.json()["email"] == NEW_USER["email"]


async def test_sign_in_by_json(client: Client) -> None:
    await client.post("/api/v1/auth/register", json=NEW_USER)
    answer = await client.post(
        "/api/v1/auth/login",
        json={"email": NEW_USER["email"], "password": NEW_USER["password"]},
    )
    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens["access_token"]
    assert tokens["token_type"] == "bearer"


@pytest.mark.parametrize("path", ["/api/v1/articles", "/api/v1/articles/"])
async def test_create_an_article_with_and_without_trailing_slash(ada: Actor, path: str) -> None:
    answer = await ada.post(path, json={"title": "Notes", "content": "On the engine."})
    assert answer.status_code == 201
    article = answer.json()
    assert article["status"] == "draft"
    assert article["author"] == {"id": str(ada.id), "username": "ada", "full_name": None}
    read = await ada.get(answer.headers["location"])
    assert read.json() == article


async def test_publish_by_another_is_refused(ada: Actor, bob: Actor) -> None:
    made = await ada.post("/api/v1/articles", json={"title": "Notes", "content": "Mine."})
    published = await ada.post(f"{made.headers['location']}/publish")
    assert published.status_code == 200
    assert published.json()["published_at"]
    refused = await bob.post(f"{made.headers['location']}/publish")
    assert refused.status_code == 403
    assert refused.json()["error"] == "PERMISSION_DENIED"


async def test_publish_without_content_is_refused(ada: Actor) -> None:
    made = await ada.post("/api/v1/articles", json={"title": "Notes"})
    refused = await ada.post(f"{made.headers['location']}/publish")
    assert refused.status_code == 422
    assert refused.json()["error"] == "ARTICLE_WITHOUT_CONTENT"
