"""A real nginx serves the application below a prefix to a client that checks cookie paths."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.actors import PASSWORD
from tests.nginx_servers import nginx
from tests.processes import served
from tests.web import first_version

pytestmark = pytest.mark.slow

PREFIX = "/backend"
PROXIED = """
        location /backend/ {{
            proxy_pass http://api{rest};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            {header}
        }}
"""
NAMED = "proxy_set_header X-Forwarded-Prefix /backend;"


@pytest.fixture(scope="module", params=["stripped", "left on", "named"])
def api(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the application; the proxy treats the prefix as the parameter says."""
    from tests import databases

    named = request.param == "named"
    settings = {"TRUSTED_PROXIES": "127.0.0.1"} | ({} if named else {"ROOT_PATH": PREFIX})
    rest = "" if request.param == "left on" else "/"
    with (
        databases.cloned_database(databases.server_url(request.config)) as database,
        served(database, workers=2, **settings) as server,
        nginx(
            server.url.removeprefix("http://"),
            PROXIED.format(rest=rest, header=NAMED if named else ""),
        ) as url,
    ):
        yield url


def test_a_session_in_cookies(api: str) -> None:
    with httpx.Client(base_url=f"{api}{PREFIX}/api/v1") as client:
        new = {"email": "ada@example.com", "username": "ada", "password": PASSWORD}
        made = client.post("/auth/register", json=new)
        assert made.status_code == 201
        login = client.post("/auth/login?transport=cookie", json=new | {"username": None})
        assert login.status_code == 422
        login = client.post(
            "/auth/login?transport=cookie", json={"email": "ada", "password": PASSWORD}
        )
        assert login.status_code == 200
        paths = {cookie.name: cookie.path for cookie in first_version(client)}
        assert paths == {
            "access_token": "/",
            "csrf_token": "/",
            "refresh_token": f"{PREFIX}/api/v1/auth",
        }
        assert httpx.get(api + made.headers["location"]).status_code == 401
        assert client.get(api + made.headers["location"]).status_code == 200
        csrf = {"X-CSRF-Token": login.json()["csrf_token"]}
        refreshed = client.post("/auth/refresh", headers=csrf)
        assert refreshed.status_code == 200
        assert client.post("/auth/logout", headers=csrf).status_code == 204
        assert list(client.cookies.jar) == []


def test_locations_links_and_problems_lead_somewhere(api: str) -> None:
    with httpx.Client(base_url=f"{api}{PREFIX}/api/v1") as client:
        new = {"email": "bob@example.com", "username": "bob", "password": PASSWORD}
        assert client.post("/auth/register", json=new).status_code == 201
        login = client.post("/auth/login", json={"email": "bob", "password": PASSWORD}).json()
        client.headers["Authorization"] = f"Bearer {login['access_token']}"
        for title in ("a", "b"):
            made = client.post("/items", json={"title": title})
            assert made.headers["location"] == f"{PREFIX}/api/v1/items/{made.json()['id']}"
            assert client.get(api + made.headers["location"]).json() == made.json()
        first = client.get("/items/?limit=1&sort=title")
        (link,) = re.findall(r'<(.*)>; rel="next"', first.headers["link"])
        assert link.startswith(f"{PREFIX}/api/v1/items?")
        assert client.get(api + link).json()["data"][0]["title"] == "b"
        problem = client.get("/nowhere/").json()
        assert problem["path"] == problem["instance"] == f"{PREFIX}/api/v1/nowhere/"
        assert client.get(api + problem["type"]).json()["code"] == "NOT_FOUND"


def test_documentation(api: str) -> None:
    with httpx.Client(base_url=f"{api}{PREFIX}") as client:
        for page in ("/docs", "/docs/", "/redoc"):
            html = client.get(page).text
            assets = re.findall(r"""(?:src|href)=["'](/[^"']+)["']""", html)
            assert assets
            for asset in assets:
                assert asset.startswith(f"{PREFIX}/docs/assets/")
                assert client.get(api + asset).status_code == 200
            (address,) = set(re.findall(r"""["']([^"']*openapi\.json)["']""", html))
            assert address == f"{PREFIX}/openapi.json"
        document = client.get(f"{api}{PREFIX}/openapi.json").json()
        assert document["servers"] == [{"url": PREFIX}]
        flow = document["components"]["securitySchemes"]["SignIn"]["flows"]["password"]
        form = {"username": "nobody", "password": "wrong"}
        assert client.post(api + flow["tokenUrl"], data=form).status_code == 401
        mails = client.get("/dev/mailbox", headers={"Accept": "text/html"})
        assert mails.headers["content-type"].startswith("text/html")
        assert client.get("/dev/mailbox").status_code == 200
