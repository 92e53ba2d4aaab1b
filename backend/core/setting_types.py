"""Types of settings: parsing and validation of the text of environment variables."""

import json
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr

from backend.addresses.host_names import read_host
from backend.addresses.path_prefixes import parse_prefix
from backend.addresses.server_urls import (
    check_database_url,
    check_receiver_url,
    check_redis_url,
    check_sentry_dsn,
)
from backend.addresses.web_origins import read_origin


def _listed(value: Any) -> Any:
    """Return the entries of a comma separated or JSON list, without surrounding quotes."""
    if not isinstance(value, str):
        return value
    text = _unquoted(value)
    if text.startswith("["):
        try:
            entries = json.loads(text)
        except ValueError:
            # `[::1],example.com` is not JSON.
            pass
        else:
            if not all(isinstance(entry, str) for entry in entries):
                raise ValueError("must be comma separated, or a JSON list of texts")
            return _entries(entries)
    return _entries(text.split(","))


def _entries(texts: list[str]) -> tuple[str, ...]:
    return tuple(entry for text in texts if (entry := _unquoted(text)))


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        return text[1:-1].strip()
    return text


def _each(read: Callable[[str], str], remedy: str, entries: tuple[str, ...]) -> tuple[str, ...]:
    """Apply `read` to each entry and drop duplicates; errors give the entry's number only."""
    results = []
    for number, entry in enumerate(entries, 1):
        try:
            results.append(read(entry))
        except ValueError as error:
            raise ValueError(f"entry {number} {error}: {remedy}") from None
    return tuple(dict.fromkeys(results))


def _path_prefix(text: str) -> str:
    prefix = parse_prefix(text)
    if prefix is None:
        raise ValueError("must be a path such as /backend, of letters, digits, . _ ~ - and /")
    return prefix


def _network(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError("is not an address or network") from None
    return text


def _receiver(url: str) -> str:
    check_receiver_url(url)
    return url


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    if not text or not text.isprintable():
        raise ValueError("must be a name without control characters")
    return text


def _secret(check: Callable[[str], None], value: SecretStr) -> SecretStr:
    check(value.get_secret_value())
    return value


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Origins = Annotated[
    CommaSeparated,
    AfterValidator(
        partial(
            _each,
            read_origin,
            "write scheme and host, with the port if it is not the usual one, such as "
            "https://app.example.com or http://localhost:5173",
        )
    ),
]
Hosts = Annotated[
    CommaSeparated,
    AfterValidator(
        partial(
            _each,
            read_host,
            "write host names alone, such as api.example.com, or *.example.com for all of its "
            "subdomains",
        )
    ),
]
Networks = Annotated[
    CommaSeparated,
    AfterValidator(
        partial(_each, _network, "write addresses and networks such as 10.0.0.1 or 10.0.0.0/8")
    ),
]
ProductName = Annotated[str, AfterValidator(_one_line)]
DatabaseURL = Annotated[SecretStr, AfterValidator(partial(_secret, check_database_url))]
RedisURL = Annotated[SecretStr, AfterValidator(partial(_secret, check_redis_url))]
SentryDSN = Annotated[SecretStr, AfterValidator(partial(_secret, check_sentry_dsn))]
ReceiverURL = Annotated[str, AfterValidator(_receiver)]
PathPrefix = Annotated[str, AfterValidator(_path_prefix)]
