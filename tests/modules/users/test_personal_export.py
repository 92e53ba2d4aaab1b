"""`GET /users/me/export` contains what all modules hold about the caller, and nothing of others."""

import json

import psycopg

from tests.actors import Actor, Client
from tests.statements import Statements

EXPORT = "/api/v1/users/me/export"


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
    head = await ada.head(EXPORT)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-disposition"] == response.headers["content-disposition"]


async def test_it_has_the_rows_of_the_lists(ada: Actor, bob: Actor) -> None:
    for caller in (ada, bob):
        for title in ("Milk", '"Tea"'):
            assert (await caller.post("/api/v1/items", json={"title": title})).status_code == 201
            await caller.post("/api/v1/articles", json={"title": title, "content": caller.email})
    articles = (await ada.get("/api/v1/articles")).json()["data"]
    await ada.post(f"/api/v1/articles/{articles[0]['id']}/publish")
    exported = (await ada.get(EXPORT)).json()
    assert exported["items"] == (await ada.get("/api/v1/items")).json()["data"]
    assert exported["articles"] == (await ada.get("/api/v1/articles")).json()["data"]
    assert {article["status"] for article in exported["articles"]} == {"draft", "published"}
    assert bob.email not in json.dumps(exported)
    assert str(bob.id) not in json.dumps(exported)


async def test_long_lists_come_in_batches(
    ada: Actor, database_url: str, statements: Statements
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO items (id, title, owner_id, created_at, updated_at)"
            " SELECT gen_random_uuid(), i, %s, now() - i * interval '1 s', now()"
            " FROM generate_series(1, 1200) AS i",
            [ada.id],
        )
    exported = (await ada.get(EXPORT)).json()
    assert [item["title"] for item in exported["items"]] == [str(i) for i in range(1, 1201)]
    assert len([each for each in statements if "FROM items" in each]) == 3


async def test_audit_events_lack_the_data_of_others(
    ada: Actor, bob: Actor, admin: Actor, client: Client
) -> None:
    mallory = {"email": ada.email, "password": "a wrong password"}
    refused = await client.post(
        "/api/v1/auth/login", json=mallory, headers={"User-Agent": "Mallory's browser"}
    )
    assert refused.status_code == 401
    by_admin = {"User-Agent": "Root's browser", "X-Request-ID": "roots-request"}
    roles = {"roles": ["member", "viewer"]}
    path = f"/api/v1/users/{ada.id}/roles"
    assert (await admin.put(path, json=roles, headers=by_admin)).status_code == 200
    item = (await ada.post("/api/v1/items", json={"title": "Ada's milk"})).json()
    changes = {"title": "Root's tea"}
    assert (await admin.patch(f"/api/v1/items/{item['id']}", json=changes)).status_code == 200

    text = (await ada.get(EXPORT)).text
    for foreign in ("browser", "roots-request", str(admin.id)):
        assert foreign not in text
    events = {event["action"]: event for event in json.loads(text)["audit_events"]}
    assert events["user.roles"]["changes"] == {
        "roles": {"old": ["member"], "new": ["member", "viewer"]}
    }
    failed = [event for event in json.loads(text)["audit_events"] if event["outcome"] == "failure"]
    assert [(event["action"], event["ip"]) for event in failed] == [("auth.login", None)]
    own = [event for event in json.loads(text)["audit_events"] if event["actor_id"]]
    assert {event["actor_id"] for event in own} == {str(ada.id)}

    # Events of changes that an administrator made name other users by id only.
    exported = (await admin.get(EXPORT)).json()["audit_events"]
    assert {"user.roles", "item.update"} <= {event["action"] for event in exported}
    assert "Ada's milk" not in json.dumps(exported)
    assert ada.email not in json.dumps(exported)
    assert all(event["changes"] is None for event in exported if event["target_id"] == str(ada.id))
    bobs = (await bob.get(EXPORT)).json()["audit_events"]
    assert {event["action"] for event in bobs} == {"user.create", "auth.login"}


async def test_links_are_listed_without_their_tokens(ada: Actor, database_url: str) -> None:
    new = {"email": "ada@new.example.com", "current_password": "NewUser123!"}
    assert (await ada.patch("/api/v1/users/me", json=new)).status_code == 200
    response = await ada.get(EXPORT)
    assert response.json()["user"]["pending_email"] == new["email"]
    (link,) = response.json()["mailed_links"]
    assert (link["purpose"], link["email"]) == ("email_change", new["email"])
    with psycopg.connect(database_url) as connection:
        stored = connection.execute(
            "SELECT encode(digest, 'hex'), password_hash FROM mailed_tokens"
            " JOIN users ON users.id = user_id"
        ).fetchone()
        sessions = connection.execute("SELECT encode(token_digest, 'hex') FROM sessions").fetchall()
    assert stored is not None
    for secret in (*stored, *(digest for (digest,) in sessions), ada.token):
        assert secret not in response.text
    for member in ("password", "digest", "key", "secret"):
        assert f'{member}":' not in response.text


async def test_an_account_that_is_deleted_meanwhile_has_no_export(
    ada: Actor, database_url: str, statements: Statements
) -> None:
    def delete() -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute("DELETE FROM users WHERE id = %s", [ada.id])

    statements.before("pending_email", delete)
    response = await ada.get(EXPORT)
    assert (response.status_code, response.json()["error"]) == (401, "INVALID_TOKEN")


async def test_it_takes_only_ones_own_sign_in(client: Client) -> None:
    assert (await client.get(EXPORT)).status_code == 401
