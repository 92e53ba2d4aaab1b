"""Origins, hosts, networks and URLs in settings are normalized or rejected."""

import pytest
from pydantic import SecretStr, ValidationError

from backend.addresses.host_names import admission, host_of, is_local_host
from backend.core.settings import Settings
from backend.modules.mail.settings import MailSettings

HIDDEN = "concealed"
ORIGIN_REMEDY = "https://app.example.com"
HOST_REMEDY = "*.example.com"


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]  # read as from text


def problem(**values: object) -> str:
    """The sentence about the one setting that is refused."""
    with pytest.raises(ValidationError) as caught:
        settings(**values)
    (found,) = caught.value.errors(include_input=False)
    return found["msg"]


# --- Lists


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example,https://b.example",
        " https://a.example , ,https://b.example,, ",
        '["https://a.example", "https://b.example"]',
        ' [ "https://a.example" ,"https://b.example/","" ] ',
        '"https://a.example,https://b.example"',
        "'https://a.example', \"https://b.example\"",
        "https://a.example,https://b.example,https://a.example,HTTPS://A.example:443/",
    ],
)
def test_ways_to_write_a_list(text: str) -> None:
    assert settings(cors_origins=text).cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize("text", ["", " ", ",", "[]", "[ ]", '[""]', '""'])
def test_an_empty_list(text: str) -> None:
    found = settings(cors_origins=text, allowed_hosts=text, trusted_proxies=text)
    assert found.cors_origins == found.allowed_hosts == found.trusted_proxies == ()


@pytest.mark.parametrize("text", ["[1]", "[null]", '["a.example", {}]', '[["a.example"]]'])
def test_a_json_list_of_something_else(text: str) -> None:
    assert "a JSON list of texts" in problem(allowed_hosts=text)


def test_a_refused_entry_is_named_by_its_place() -> None:
    message = problem(cors_origins=f"https://a.example,{HIDDEN}.example")
    assert "entry 2 has no scheme" in message
    assert HIDDEN not in message


# --- Origins


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com/", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80/", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://app.example.com:080", "https://app.example.com:80"),
        ("https://app.example.com:", "https://app.example.com"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
        ("https://MÜNCHEN.example", "https://xn--mnchen-3ya.example"),
        ("https://münchen。example", "https://xn--mnchen-3ya.example"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
        ("https://my_app.example", "https://my_app.example"),
        ("*", "*"),
    ],
)
def test_an_origin_is_read_as_browsers_send_it(text: str, origin: str) -> None:
    for written in (text, f'["{text}"]', f" '{text}' "):
        assert settings(cors_origins=written).cors_origins == (origin,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("www.example.com", "no scheme"),
        ("localhost:3000", "no scheme"),
        ("//www.example.com", "no scheme"),
        ("null", "no scheme"),
        ("https:app.example.com", "no scheme"),
        ("ftp://app.example.com", "a scheme other than http and https"),
        ("file://", "a scheme other than http and https"),
        ("chrome-extension://abcdef", "a scheme other than http and https"),
        ("https://app.example.com/login", "a path"),
        ("https://app.example.com//", "a path"),
        ("https:///app.example.com", "a path"),
        ("https://app.example.com\\login", "a path"),
        ("https://app.example.com?", "a query"),
        ("https://app.example.com/?a=b", "a path"),
        ("https://app.example.com#top", "a fragment"),
        ("https://ada:secret@app.example.com", "user information"),
        ("https://*.example.com", "a wildcard"),
        ("https://*", "a wildcard"),
        ("http://localhost:*", "a port that is not a number"),
        ("https://app.example.com:65536", "a port that is not a number"),
        ("https://app.example.com:0", "a port that is not a number"),
        ("https://app.example.com:https", "a port that is not a number"),
        ("https://app.example.com:²", "a port that is not a number"),
        ("https://", "no host name"),
        ("https://:443", "no host name"),
        ("https://app example.com", "no valid host name"),
        ("https://a.example https://b.example", "a path"),
        ("https://a..example", "no valid host name"),
        ("https://1.2.3", "no valid host name"),
        ("https://1.2.3.256", "no valid host name"),
        ("https://[::1", "no valid host name"),
        ("https://[fe80::1%25eth0]", "no valid host name"),
        ("https://::1", "no valid host name"),
        (f"https://{'a' * 64}.example", "no valid host name"),
        ("https://☕.example", "no valid host name"),
    ],
)
def test_what_no_browser_sends_is_refused(text: str, reason: str) -> None:
    for environment in ("development", "production"):
        message = problem(cors_origins=text, environment=environment)
        assert f"entry 1 has {reason}" in message
        assert ORIGIN_REMEDY in message
        assert text not in message or text in ("null", "https://")


@pytest.mark.parametrize(
    ("origin", "development", "elsewhere"),
    [
        ("https://app.example.com", True, True),
        ("https://APP.example.com", False, False),
        ("https://app.example.com:443", False, False),
        *((f"http://localhost{port}", True, False) for port in ("", ":1", ":3000", ":65535")),
        *((f"http://127.0.0.1{port}", True, False) for port in ("", ":8080")),
        *((f"http://localhost{end}", False, False) for end in (".", ":", ":0", "/", ":80\n")),
        *((f"http://localhost{end}", False, False) for end in (".evil.example", ":1@evil.example")),
        ("https://localhost:3000", False, False),
        ("http://[::1]:3000", False, False),
        ("http://127.0.0.2:3000", False, False),
        ("http://app.localhost:3000", False, False),
        ("http://evil.example", False, False),
        ("null", False, False),
        ("", False, False),
    ],
)
def test_which_origins_may_call(origin: str, development: bool, elsewhere: bool) -> None:
    for environment in ("development", "test", "staging", "production"):
        found = settings(environment=environment, cors_origins="https://app.example.com")
        expected = development if environment == "development" else elsewhere
        assert found.allows_origin(origin) == expected


def test_a_star_stands_for_every_origin_but_null() -> None:
    found = settings(cors_origins="*")
    assert found.allows_origin("http://any.example")
    assert not found.allows_origin("null")


# --- Hosts


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com:8443", "api.example.com"),
        ("api.example.com:", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("api.example.com.:443", "api.example.com"),
        ("*.example.com", "*.example.com"),
        ("*.Example.com:443", "*.example.com"),
        ("*.münchen.example", "*.xn--mnchen-3ya.example"),
        ("localhost", "localhost"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("10.0.0.7:8000", "10.0.0.7"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("[::1]:8000", "[::1]"),
        ("0:0:0:0:0:0:0:1", "[::1]"),
        ("[2001:DB8::0:1]", "[2001:db8::1]"),
        ("my_service", "my_service"),
        ("*", "*"),
    ],
)
def test_a_host_is_read_in_one_spelling(text: str, host: str) -> None:
    for written in (text, f'["{text}"]', f"a.example,{text}"):
        assert settings(allowed_hosts=written).allowed_hosts[-1] == host


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://api.example.com", "a scheme"),
        ("http://", "a scheme"),
        ("api.example.com/", "a path"),
        ("api.example.com/v1", "a path"),
        ("api.example.com\\", "a path"),
        ("api.example.com?a", "a query"),
        ("api.example.com#a", "a fragment"),
        ("ada@api.example.com", "user information"),
        ("api.*.example.com", "a wildcard"),
        ("*example.com", "a wildcard"),
        ("api.example.*", "a wildcard"),
        ("**.example.com", "a wildcard"),
        ("*.*.example.com", "a wildcard"),
        ("*.", "a wildcard"),
        ("*:8000", "a wildcard"),
        ("*.10.0.0.7", "a wildcard before an address"),
        (".example.com", "no valid host name"),
        ("api..example.com", "no valid host name"),
        ("api.example.com..", "no valid host name"),
        ("api example.com", "no valid host name"),
        ("api.example.com:https", "a port that is not a number"),
        ("api.example.com:*", "a port that is not a number"),
        ("api.example.com:99999", "a port that is not a number"),
        ("[::1", "no valid host name"),
        ("[::1]8000", "a port that is not a number"),
        ("[localhost]", "no valid host name"),
        ("1.2.3", "no valid host name"),
        (":8000", "no host name"),
    ],
)
def test_what_is_no_host_is_refused(text: str, reason: str) -> None:
    message = problem(allowed_hosts=text)
    assert f"entry 1 has {reason}" in message
    assert HOST_REMEDY in message
    assert text not in message or text in ("*.", ".example.com")


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("api.example.com", "api.example.com"),
        ("API.example.com:8443", "api.example.com"),
        ("api.example.com.:8443", "api.example.com"),
        ("api.example.com:", "api.example.com"),
        ("[0:0::1]:8000", "[::1]"),
        *((bad, "") for bad in ("", ":80", ".", "a..b", ".a", "a b", "a@b", "a, b", "a/b", "é")),
        *((bad, "") for bad in ("[::1", "[:]", "::1", "a:b", "a:80:80", "a\n", "[::1]a", "a..")),
    ],
)
def test_the_host_of_a_header(header: str, host: str) -> None:
    assert host_of(header) == host


def test_which_hosts_are_admitted() -> None:
    allowed = settings(allowed_hosts="api.example.com,*.example.org,::1").allowed_hosts
    admits = admission(allowed, local_only=True)
    assert admits is not None
    for host in ("api.example.com", "a.example.org", "a.b.example.org", "[::1]"):
        assert admits(host), host
    for host in ("", "example.org", "example.com", "a.api.example.com", "aexample.org"):
        assert not admits(host), host
    for host in ("a.example.org.evil.example", "localhost", "127.0.0.1"):
        assert not admits(host), host


def test_without_a_list_development_admits_local_hosts_and_others_all() -> None:
    assert admission((), local_only=True) is is_local_host
    assert admission((), local_only=False) is None
    assert admission(("a.example", "*"), local_only=True) is None
    for host in ("localhost", "app.localhost", "127.0.0.1", "192.168.1.7", "[::1]", "testserver"):
        assert is_local_host(host), host
    for host in ("", "evil.example", "localhost.evil.example", "evillocalhost.com", "1.2.3.4.5"):
        assert not is_local_host(host), host


# --- Networks and URLs


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("10.0.0.1, 10.0.0.0/8", ("10.0.0.1", "10.0.0.0/8")),
        ('["10.0.0.1","fd00::/8"]', ("10.0.0.1", "fd00::/8")),
        ("[::1]", ("::1",)),
        ("10.1.2.3/8", ("10.1.2.3/8",)),
    ],
)
def test_networks(text: str, networks: tuple[str, ...]) -> None:
    assert settings(trusted_proxies=text).trusted_proxies == networks


@pytest.mark.parametrize("text", ["*", "proxy", "10.0.0.1:80", "10.0.0.0/33", "http://10.0.0.1"])
def test_what_is_no_network(text: str) -> None:
    message = problem(trusted_proxies=f"10.0.0.1,{text}")
    assert "entry 2 is not an address or network" in message
    assert "10.0.0.0/8" in message
    assert text not in message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:secret@db/app",
        "postgres://app@db:5432/app?sslmode=require",
        "postgresql://app:a%40b%2Fc%25@db/app",
        "postgresql://u:p@h1:5432,h2:5433/name?target_session_attrs=read-write",
        "postgresql://u:p@h1,h2,[::1]:5432/name?target_session_attrs=any",
        "postgresql://u:p@[::1]:5432/name",
        "postgresql:///name?host=/run/postgresql&user=ada@tenant",
        "postgresql://postgres:@/app?host=/home/ada@work/data",
        "postgresql://nowhere",
    ],
)
def test_urls_of_databases(url: str) -> None:
    for name in ("database_url", "database_replica_url"):
        assert settings(**{name: url}) == settings(**{name: SecretStr(url)})


UNESCAPED = [
    ("concealed@left", "@", "%40"),
    ("concealed/left", "/", "%2F"),
    ("12/left", "/", "%2F"),
    ("concealed#left", "#", "%23"),
    ("concealed?left", "?", "%3F"),
    ("12?a/left", "?", "%3F"),
    ("concealed%left", "%", "%25"),
    ("concealed%4", "%", "%25"),
]


@pytest.mark.parametrize(("password", "wrong", "escaped"), UNESCAPED)
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("database_url", "postgresql://app:{}@db.example:5432/app"),
        ("database_replica_url", "postgres://app:{}@db.example/app?sslmode=require"),
        ("redis_url", "redis://:{}@cache.example:6379/0"),
        ("redis_url", "rediss://app:{}@cache.example"),
        ("smtp_url", "smtp://app:{}@mail.example"),
        ("smtp_url", "smtps://app:{}@mail.example:465"),
    ],
)
def test_an_unescaped_password_is_explained_and_hidden(
    name: str, pattern: str, password: str, wrong: str, escaped: str
) -> None:
    kind = MailSettings if name == "smtp_url" else Settings
    with pytest.raises(ValidationError) as caught:
        kind(_env_file=None, **{name: pattern.format(password)})  # type: ignore[arg-type]  # text
    message = str(caught.value)
    assert f"write {wrong} in the user name or the password as {escaped}" in message
    assert not any(part in message for part in ("concealed", "left", ".example"))


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("database_url", "postgresql://concealed:5432x/app"),
        ("database_url", "postgresql://app:secret@concealed:0/app"),
        ("database_url", "postgresql://app:secret@h1:5432,h2:concealed/app"),
        ("database_url", "postgresql://app:secret@h/app?concealed=1"),
        ("database_url", "postgresql:///app:concealed@h/app"),
        ("database_url", "postgresql://app:secret@h/app?sslmode"),
        ("redis_url", "redis://concealed:none"),
    ],
)
def test_urls_that_cannot_be_read(name: str, url: str) -> None:
    message = problem(**{name: url})
    assert "concealed" not in message


@pytest.mark.parametrize(
    "url", ["redis://cache", "redis://:a%40b@cache:6379/1", "unix:///run/redis@1.sock?db=1"]
)
def test_urls_of_redis(url: str) -> None:
    assert settings(redis_url=url).redis_url == SecretStr(url)
