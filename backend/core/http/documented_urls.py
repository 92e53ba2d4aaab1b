"""URLs in the OpenAPI document that depend on a prefix or on the version of the API."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

# Members of an OAuth flow that contain URLs.
FLOW_URLS = ("authorizationUrl", "tokenUrl", "refreshUrl")


def below_prefix(document: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the document of an application served below a path prefix."""
    if not prefix:
        return document
    schemes = deepcopy(document["components"]["securitySchemes"])
    # Some clients resolve these URLs without `servers`.
    change_flows(schemes, lambda url: prefix + url)
    components = {**document["components"], "securitySchemes": schemes}
    return {**document, "servers": [{"url": prefix}], "components": components}


def change_flows(schemes: dict[str, Any], change: Callable[[str], str]) -> None:
    for scheme in schemes.values():
        for flow in scheme.get("flows", {}).values():
            flow |= {name: change(url) for name, url in flow.items() if name in FLOW_URLS}


def other_versions(version: int, versions: Sequence[int]) -> str:
    others = [f"`/openapi/v{each}.json`" for each in versions if each != version]
    if not others:
        return ""
    return f"This is version {version} of the API; for another see {', '.join(others)}.\n"
