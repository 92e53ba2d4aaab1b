"""Compare openapi.json with openapi.released.json, and name each breaking change.

Clients of the last release must work unchanged: their requests stay valid, and responses stay as
described. Additions are no breaking changes. With --release, record the present document as the
released one. Later versions of the API have documents of their own, such as openapi.v2.json and
openapi.released.v2.json.

The document is compared for the modules that it has: a new one is in it after `make openapi`.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.cli.listing import openapi_file, openapi_texts
from backend.core.module import Module
from backend.core.registry import RegistryError, discover, prefix_of, routes_of
from tools.schema_changes import Change, Document, changes, resolve

ROOT = Path(__file__).parents[1]
PRESENT, RELEASED = ROOT / "openapi.json", ROOT / "openapi.released.json"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
PROBLEM_MEDIA = "application/problem+json"
# Descriptions for people do not bind.
PROSE = ("description", "summary", "title")
MAX_NAMED = 3
Operation = Mapping[str, Any]


def breaches(released: Document, present: Document) -> list[str]:
    """Return one sentence for each breaking change, with the operations that it concerns."""
    concerned: dict[Change, list[str]] = {}
    for path, method, operation in _operations(released):
        name = f"{method.upper()} {path}"
        now = present["paths"].get(path, {}).get(method)
        if now is not None:
            for change in _changes(released, present, operation, now):
                concerned.setdefault(change, []).append(name)
        elif not operation.get("deprecated"):
            gone = Change("is gone", "keep it, and announce the removal first (docs/versions.md)")
            concerned.setdefault(gone, []).append(name)
    sentences = [_sentence(_named(names), change) for change, names in concerned.items()]
    for scheme in _changed_schemes(released, present):
        change = Change("is another one", "keep the released scheme beside it")
        sentences.append(_sentence(f"The security scheme `{scheme}`", change))
    for permission in released.get("x-permissions", {}).keys() - present["x-permissions"].keys():
        change = Change("is gone", "keep it: roles and clients name it")
        sentences.append(_sentence(f"The permission `{permission}`", change))
    return sorted(sentences)


def _operations(document: Document) -> Iterator[tuple[str, str, Operation]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _named(operations: Sequence[str]) -> str:
    names = list(dict.fromkeys(operations))
    shown = names if len(names) <= MAX_NAMED + 1 else names[:MAX_NAMED]
    rest = f" and {len(names) - len(shown)} other operations" if len(shown) < len(names) else ""
    return ", ".join(shown) + rest


def _sentence(subject: str, change: Change) -> str:
    link = " " if change.what.startswith("is ") else ": "
    return f"{subject}{link}{change.what}; {change.remedy}."


def _changes(
    released_in: Document, present_in: Document, released: Operation, present: Operation
) -> Iterator[Change]:
    documents = (released_in, present_in)
    if released.get("operationId") != present.get("operationId"):
        yield Change(
            f"the operationId is `{present.get('operationId')}` instead of "
            f"`{released.get('operationId')}`",
            "keep the name: functions of generated clients have it",
        )
    yield from _parameters(documents, released, present)
    yield from _bodies(documents, released, present)
    yield from _responses(documents, released, present)
    yield from _errors(released, present)
    yield from _access(released, present)


def _parameters(
    documents: tuple[Document, Document], released: Operation, present: Operation
) -> Iterator[Change]:
    before, now = (
        {(each["in"], each["name"]): each for each in operation.get("parameters", ())}
        for operation in (released, present)
    )
    for key, parameter in before.items():
        where = f"{key[0]} parameter `{key[1]}`"
        if key not in now:
            if not (parameter.get("deprecated") or parameter["schema"].get("deprecated")):
                yield Change(f"the {where} is gone", "keep it")
            continue
        if now[key].get("required") and not parameter.get("required"):
            yield Change(f"the {where} is required now", "make it optional again")
        for name in ("style", "explode"):
            if parameter.get(name) != now[key].get(name):
                yield Change(f"the {where} has another `{name}`", "keep the released form")
        default, default_now = (each["schema"].get("default") for each in (parameter, now[key]))
        if default is not None and default != default_now:
            yield Change(
                f"the {where} has the default {default_now} instead of {default}",
                "keep the released default",
            )
        schemas = (parameter["schema"], now[key]["schema"])
        yield from changes(*documents, *schemas, of_request=True, where=f"{key[0]}.{key[1]}")
    for key in now.keys() - before.keys():
        if now[key].get("required"):
            what = f"the {key[0]} parameter `{key[1]}` is new and required"
            yield Change(what, "make it optional")


def _bodies(
    documents: tuple[Document, Document], released: Operation, present: Operation
) -> Iterator[Change]:
    before, now = (each.get("requestBody", {}) for each in (released, present))
    if before and not now:
        yield Change("the request has no body any more", "accept the body again")
        return
    if now.get("required") and not before.get("required"):
        yield Change("the body is required now", "make it optional")
    for media, content in before.get("content", {}).items():
        if media not in now["content"]:
            yield Change(f"the body cannot be {media} any more", f"accept {media} again")
            continue
        schemas = (content.get("schema", {}), now["content"][media].get("schema", {}))
        yield from changes(*documents, *schemas, of_request=True, where="body")


def _responses(
    documents: tuple[Document, Document], released: Operation, present: Operation
) -> Iterator[Change]:
    before, now = (
        {status: each for status, each in operation["responses"].items() if status < "4"}
        for operation in (released, present)
    )
    for status in sorted(before.keys() - now.keys()):
        yield Change(f"the response {status} is gone", "keep the released status")
    for status in sorted(now.keys() - before.keys()):
        yield Change(f"the response {status} is new", "keep the released statuses")
    # Responses to errors have bodies of other types at a few addresses, such as readiness.
    for status in released["responses"].keys() & present["responses"].keys():
        pair = (released["responses"][status], present["responses"][status])
        was, is_ = (resolve(*each) for each in zip(documents, pair, strict=True))
        for header in sorted(was.get("headers", {}).keys() - is_.get("headers", {}).keys()):
            yield Change(f"the response {status} has no `{header}` any more", "keep the header")
        for media, content in was.get("content", {}).items():
            if media not in is_.get("content", {}):
                yield Change(f"the response {status} is not {media} any more", f"keep {media}")
                continue
            schemas = (content.get("schema", {}), is_["content"][media].get("schema", {}))
            yield from changes(*documents, *schemas, of_request=False, where="")


def _errors(released: Operation, present: Operation) -> Iterator[Change]:
    before, now = _statuses(released), _statuses(present)
    for code in sorted(before):
        if code not in now:
            yield Change(f"the error `{code}` is gone", "keep the code: clients branch on it")
        elif before[code] != now[code]:
            what = f"the error `{code}` has the status {now[code]} instead of {before[code]}"
            yield Change(what, "keep the released status")


def _statuses(operation: Operation) -> dict[str, str]:
    """Return the status by error code."""
    return {
        code: status
        for status, response in operation["responses"].items()
        for code in response.get("content", {}).get(PROBLEM_MEDIA, {}).get("examples", {})
    }


def _access(released: Operation, present: Operation) -> Iterator[Change]:
    alternatives = [set(each) for each in present.get("security") or [{}]]
    for requirement in released.get("security") or [{}]:
        if not any(each <= set(requirement) for each in alternatives):
            shown = " with ".join(requirement)
            what = f"callers with {shown}" if shown else "anonymous callers"
            yield Change(f"{what} are refused now", "accept them again")
    permission, permission_now = (each.get("x-permission") for each in (released, present))
    if permission_now not in (None, permission):
        yield Change(
            f"callers need the permission `{permission_now}` instead of `{permission or 'none'}`",
            "keep the released permission",
        )


def _changed_schemes(released: Document, present: Document) -> list[str]:
    before, now = (
        {
            name: {key: value for key, value in scheme.items() if key not in PROSE}
            for name, scheme in document["components"].get("securitySchemes", {}).items()
        }
        for document in (released, present)
    )
    return [name for name, scheme in before.items() if now.get(name) != scheme]


def read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        sys.exit(f"{path.name} is missing. Restore it: git checkout -- {path.name}")
    except ValueError:
        sys.exit(f"{path.name} is no JSON. Restore it: git checkout -- {path.name}")


def unrecorded(document: Document, modules: Iterable[Module]) -> list[Module]:
    """Return the modules of which the document has no route and no permission, though they have."""
    present = document["paths"].keys() | document["x-permissions"].keys()
    parts = {module.name: {*_parts(module)} for module in modules}
    return [module for module in modules if parts[module.name] and not parts[module.name] & present]


def _parts(module: Module) -> Iterator[str]:
    """Yield the paths and the permissions of a module in the document."""
    for route in routes_of(module):
        if getattr(route.original_route, "include_in_schema", False):
            yield f"{prefix_of(module)}{route.path}"
    for feature in module.features:
        yield from (f"{feature.name}:{action}" for action in feature.actions)


def documents_of(first: Path) -> dict[int, Path]:
    """Return the documents beside that of version 1, which may be missing, by version."""
    later = {
        int(found[1]): path
        for path in first.parent.iterdir()
        if (found := re.fullmatch(rf"{first.stem}\.v([0-9]+)\.json", path.name))
    }
    return {1: first, **later}


def gate(texts: Mapping[int, str], *, release: bool) -> None:
    """Exit with a sentence if the files are out of date or break clients; `texts` are those that
    the documents must have, by version."""
    for version, text in texts.items():
        file = openapi_file(PRESENT, version)
        if not file.exists() or file.read_text("utf-8") != text:
            sys.exit(f"{file.name} is not the document of this code. Run: make openapi")
    for version, file in documents_of(PRESENT).items():
        if version not in texts:
            sys.exit(f"{file.name} is of a version that the API does not have. Remove the file.")
    if release:
        _record(texts)
        return
    found = list(dict.fromkeys(_all_breaches(texts)))
    for sentence in found or ["The API breaks no client of the last release."]:
        print(sentence)
    if found:
        sys.exit(
            "The API breaks clients of the last release, as listed. Undo these changes; "
            'or, if they are intended, record them: make contract args="--release"'
        )


def _all_breaches(texts: Mapping[int, str]) -> Iterator[str]:
    """Yield the breaking changes of all released versions."""
    for version, file in documents_of(RELEASED).items():
        released = read(file)
        gone = {**released, "paths": {}}
        yield from breaches(released, json.loads(texts[version]) if version in texts else gone)


def _record(texts: Mapping[int, str]) -> None:
    for version, file in documents_of(RELEASED).items():
        if version not in texts:
            file.unlink()
    for version, text in texts.items():
        file = openapi_file(RELEASED, version)
        file.write_text(text, "utf-8")
        print(f"{file.name} is now the document of this code.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make contract", description=__doc__.split("\n\n")[0])
    parser.add_argument("--release", action="store_true", help="record openapi.json as released")
    release = parser.parse_args().release
    try:
        modules = discover()
    except RegistryError as error:
        sys.exit(str(error))
    # A release records all modules.
    new = [] if release else unrecorded(read(PRESENT), modules)
    gate(openapi_texts([each for each in modules if each not in new]), release=release)
    if new:
        names = ", ".join(module.name for module in new)
        print(f"openapi.json does not have {names}; make openapi client adds it, with the client.")


if __name__ == "__main__":
    main()
