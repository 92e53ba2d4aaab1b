"""The architecture rules. Each violation is one sentence that names the place and the remedy.

The rules examine syntax trees, so imports inside functions and under TYPE_CHECKING count too.
"""

import ast
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from pathlib import Path

import sqlalchemy as sa

ROOT = Path(__file__).resolve().parents[1]
Violations = Iterator[str]
DependsOn = Mapping[str, Collection[str]]
TablesOf = Mapping[str, Collection[sa.Table]]

# Lowest first. A layer may import itself and the layers before it.
LAYERS = (
    *("product", "telemetry", "db", "addresses", "ratelimit", "integrations", "core"),
    *("modules", "worker", "server", "dev", "main", "cli"),
)
# Packages that only these may import: the API must not load the worker, and production must not
# load development tools. In `core`, only the modules that assemble the application import
# `core.http`.
MAY_IMPORT = {
    "backend.worker": ("backend.cli",),
    "backend.dev": ("backend.cli",),
    "backend.server": ("backend.cli",),
}
ASSEMBLES_APP = {"backend.core.app", "backend.core.registry"}
BELOW_MODULES = (
    *("telemetry", "db", "addresses", "ratelimit", "integrations", "core", "worker", "server"),
)
# The module that docstrings and documents build as an example.
EXAMPLE = "notes"
# `items` is also a keyword of JSON Schema.
JSON_SCHEMA_KEYWORDS = {'"items"'}
DESCRIBES_JSON = {"backend.core.http.openapi", "backend.core.http.json_schemas"}
FILES = {
    *("__init__", "manifest", "router", "service", "schemas", "models", "exceptions"),
    *("dependencies", "settings", "jobs", "events", "queries", "startup", "subscribers", "seed"),
}
MAX_PRIVATE_FILES = 8
PUBLIC = {"service", "schemas", "exceptions", "events"}
# Files outside of the modules may also import settings and manifests.
PUBLIC_TO_ROOTS = PUBLIC | {"settings", "manifest"}
# The order of files in a module. A file not listed here ranks by its imports.
RANKS = {
    "manifest": 5,
    "router": 4,
    "service": 3,
    "queries": 2,
    "models": 1,
    "schemas": 1,
    "exceptions": 0,
    "settings": 0,
}
ORDER = "manifest -> router -> service -> queries -> models, schemas -> exceptions, settings"
WITHOUT_HTTP = {"service", "queries", "models", "schemas", "exceptions", "events", "jobs"}
HTTP = {"fastapi", "starlette"}
READS_ENVIRONMENT = {
    "backend.core.settings",
    # OpenTelemetry's SDK reads its variables in the environment, so those of `.env` go there.
    "backend.core.telemetry_settings",
    # Passes PATH, and no other variable, to PostgreSQL's programs.
    "backend.dev.embedded_host",
    # Child processes inherit the whole environment.
    "backend.dev.processes",
}
MAX_FUNCTION, USUAL_FUNCTION = 60, 30
MAX_FILE, USUAL_FILE, MAX_TEST_FILE = 400, 250, 600
LONG_PERCENT = 5
# Written so that this file does not violate its own rule.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:work|root|tmp/w)(?![\w.-])")


@dataclass(frozen=True)
class Source:
    """One Python file. A package is called `folder.__init__`."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def parts(self) -> list[str]:
        return self.name.split(".")

    @property
    def module(self) -> str | None:
        """The module that contains it, if any."""
        return self.parts[2] if self.is_in("modules") and len(self.parts) > 3 else None

    @property
    def file(self) -> str:
        """Its name inside the module; for a file in a folder, the folder's name."""
        return self.parts[3]

    def is_in(self, *layers: str) -> bool:
        return self.parts[0] == "backend" and self.parts[1] in layers

    @cached_property
    def imports(self) -> dict[str, int]:
        """The line of each import by its dotted name, which includes the imported name."""
        return {
            name: getattr(node, "lineno", 1)
            for node in ast.walk(self.tree)
            for name in _imported(node, self.parts)
        }

    def at(self, line: int) -> str:
        """Return the begin of a sentence about this line: file, line and short name."""
        return f"{self.name.replace('.', '/')}.py:{line}: {short(self.name)}"

    def importing(self, name: str) -> str:
        return f"{self.at(self.imports[name])} imports"

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Yield each call with the last part of the called name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    yield node.func.id, node
                elif isinstance(node.func, ast.Attribute):
                    yield node.func.attr, node


def _imported(node: ast.AST, importer: list[str]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            base = [*importer[:-level], *filter(None, [module])] if level else [module or ""]
            return [".".join([*base, alias.name]) for alias in names]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__")
            | ast.Attribute(attr="import_module" | "__import__"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def read(*folders: str) -> list[Source]:
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return [
        Source(".".join(file.relative_to(ROOT).with_suffix("").parts), file.read_text("utf-8"))
        for file in files
    ]


def short(name: str) -> str:
    """Return the short name, such as `articles.service` or `core.errors`."""
    parts = name.removesuffix(".__init__").split(".")
    if parts[:2] == ["backend", "modules"] and len(parts) > 2:
        return ".".join(parts[2:4])
    return ".".join(parts[1:3]) if parts[0] == "backend" and len(parts) > 1 else name


def layer_violations(sources: Iterable[Source]) -> Violations:
    for source in sources:
        if source.name == "backend.__init__":
            continue
        layer = source.parts[1]
        if layer not in LAYERS:
            yield f"{short(source.name)} is in none of the layers {', '.join(LAYERS)}"
            continue
        for imported in source.imports:
            first, _, rest = imported.partition(".")
            target = rest.partition(".")[0]
            if first != "backend" or not target or target not in LAYERS:
                continue
            if LAYERS.index(target) > LAYERS.index(layer):
                yield (
                    f"{source.importing(imported)} {short(imported)}; imports go "
                    f"{' -> '.join(reversed(LAYERS))}"
                )


def package_violations(sources: Iterable[Source]) -> Violations:
    """Yield imports that `MAY_IMPORT` forbids although the order of the layers allows them."""
    for source in sources:
        for imported in source.imports:
            for package, importers in MAY_IMPORT.items():
                if _is_below(imported, package) and not any(
                    _is_below(source.name, importer) for importer in (package, *importers)
                ):
                    yield (
                        f"{source.importing(imported)} {short(imported)}; only "
                        f"{', '.join(short(importer) for importer in importers)} may"
                    )
            if (
                _is_below(imported, "backend.core.http")
                and source.is_in("core")
                and not _is_below(source.name, "backend.core.http")
                and source.name not in ASSEMBLES_APP
            ):
                yield f"{source.importing(imported)} {imported}; core.http imports core"


def _is_below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def module_violations(sources: Iterable[Source], depends_on: DependsOn) -> Violations:
    for source in sources:
        for imported in source.imports:
            parts = imported.split(".")
            if parts[:2] != ["backend", "modules"] or len(parts) < 3 or parts[2] == source.module:
                continue
            target, file = parts[2], parts[3] if len(parts) > 3 else ""
            importer = source.module
            if importer is not None and target not in depends_on.get(importer, ()):
                yield (
                    f"{source.importing(imported)} {short(imported)}; add "
                    f'"{target}" to depends_on of {importer}'
                )
            if file not in (PUBLIC if importer else PUBLIC_TO_ROOTS):
                yield f"{source.importing(imported)} {short(imported)}; use {target}.service"


def name_violations(sources: Iterable[Source], modules: Collection[str]) -> Violations:
    """Yield names of modules in lower layers: in a path, permission, job or string."""
    names = "|".join(sorted({*modules} - {EXAMPLE}))
    pattern = re.compile(rf"""/({names})\b|["']({names})["'.:]|\b({names}):[a-z]""")
    for source in sources:
        if not source.is_in(*BELOW_MODULES):
            continue
        for number, line in enumerate(source.text.splitlines(), start=1):
            match = pattern.search(line)
            if match and not (match[0] in JSON_SCHEMA_KEYWORDS and source.name in DESCRIBES_JSON):
                named = next(filter(None, match.groups()))
                yield (
                    f"{source.at(number)} names the module {named}; let its manifest "
                    "declare what is needed"
                )


def vocabulary_violations(sources: Iterable[Source]) -> Violations:
    for module, files in by_module(sources):
        for source in files:
            if len(source.parts) > 4:
                yield f"{module} has a folder {source.file}; modules are flat, split the module"
        private = sorted({source.file for source in files} - FILES)
        if len(private) > MAX_PRIVATE_FILES:
            yield (
                f"{module} has {len(private)} files of its own ({', '.join(private)}); "
                f"the limit is {MAX_PRIVATE_FILES}, split the module"
            )
        for source in files:
            if source.file == "__init__" and not _is_docstring_only(source.tree):
                yield f"{module}.__init__ must contain only a docstring that describes the module"


def _is_docstring_only(tree: ast.Module) -> bool:
    return len(tree.body) == 1 and ast.get_docstring(tree) is not None


def by_module(sources: Iterable[Source]) -> Iterator[tuple[str, list[Source]]]:
    inside = sorted((source for source in sources if source.module), key=lambda item: item.name)
    for module, group in groupby(inside, key=lambda item: item.module or ""):
        yield module, list(group)


def direction_violations(sources: Iterable[Source]) -> Violations:
    for module, files in by_module(sources):
        graph = {source.file: _siblings(source) for source in files}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            yield f"{module} has files that import each other: {' -> '.join(error.args[1])}"
        for file, rank in RANKS.items():
            for target, path in _reachable(graph, file).items():
                if RANKS.get(target, -1) >= rank:
                    through = f" through {', '.join(path)}" if path else ""
                    first = path[0] if path else target
                    source = next(each for each in files if each.file == file)
                    line = next(n for name, n in source.imports.items() if f".{first}" in name)
                    yield f"{source.at(line)} imports {module}.{target}{through}; inside: {ORDER}"


def _siblings(source: Source) -> set[str]:
    own = f"backend.modules.{source.module}."
    return {name.removeprefix(own).split(".")[0] for name in source.imports if name.startswith(own)}


def _reachable(graph: Mapping[str, set[str]], file: str) -> dict[str, tuple[str, ...]]:
    """Return the imports of `file`, direct or through files without a rank, with that path."""
    reached: dict[str, tuple[str, ...]] = {}
    pending: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in graph.get(file, ())]
    while pending:
        target, path = pending.pop()
        if target in reached or target == file:
            continue
        reached[target] = path
        if target not in RANKS:
            pending += [(name, (*path, target)) for name in graph.get(target, ())]
    return reached


def http_violations(sources: Iterable[Source]) -> Violations:
    for module, files in by_module(sources):
        graph = {source.file: _siblings(source) for source in files}
        libraries = {
            source.file: sorted({name.split(".")[0] for name in source.imports} & HTTP)
            for source in files
        }
        for file in sorted(WITHOUT_HTTP & graph.keys()):
            for library in libraries[file]:
                place = next(each for each in files if each.file == file)
                line = next(n for name, n in place.imports.items() if name.startswith(library))
                yield f"{place.at(line)} imports {library}; services must not depend on HTTP"
            for target, path in _reachable(graph, file).items():
                for library in libraries.get(target, ()) if target not in FILES else ():
                    yield (
                        f"{module}.{file} imports {library} through "
                        f"{', '.join([*path, target])}; services must not depend on HTTP"
                    )


def permission_violations(sources: Iterable[Source], permissions: Collection[str]) -> Violations:
    """Yield permissions that a service checks and no module declares: nobody would hold them."""
    for source in sources:
        if source.module is None:
            continue
        constants = {
            target.id: node.value.value
            for node in source.tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for name, call in source.calls():
            if name not in ("may", "must", "require") or len(call.args) != 1:
                continue
            (argument,) = call.args
            permission = constants.get(argument.id) if isinstance(argument, ast.Name) else None
            if isinstance(argument, ast.Constant):
                permission = argument.value
            if isinstance(permission, str) and permission not in permissions:
                yield (
                    f"{source.at(call.lineno)} checks the permission {permission}, which no module "
                    "declares; add the action to a Feature of its manifest"
                )


def commit_violations(sources: Iterable[Source]) -> Violations:
    for source in sources:
        if source.is_in("modules", "core", "integrations"):
            for name, call in source.calls():
                if name in ("commit", "rollback") and isinstance(call.func, ast.Attribute):
                    yield (
                        f"{source.at(call.lineno)} calls {name}(); only db's transaction() may, "
                        "so that service calls can share a transaction"
                    )


def table_violations(tables: TablesOf, metadata: sa.MetaData, depends_on: DependsOn) -> Violations:
    owners: dict[str, str] = {}
    for module, owned in tables.items():
        for table in owned:
            if table.name in owners:
                yield f"table {table.name} is owned by both {owners[table.name]} and {module}"
            owners[table.name] = module
    for table in metadata.tables.values():
        owner = owners.get(table.name)
        if owner is None:
            yield f"table {table.name} has no owner; define it in the models.py of one module"
            continue
        for key in table.foreign_keys:
            target = key.target_fullname.rpartition(".")[0]
            other = owners.get(target)
            if other not in (None, owner) and other not in depends_on.get(owner, ()):
                yield (
                    f"{owner}.models refers to table {target} of {other}; add "
                    f'"{other}" to depends_on of {owner}'
                )


def environment_violations(sources: Iterable[Source]) -> Violations:
    names = {"environ", "environb", "getenv", "getenvb"}
    for source in sources:
        if source.is_in("cli") or source.name in READS_ENVIRONMENT or _is_module_settings(source):
            continue
        used = {
            node.attr: node.lineno
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
        }
        used |= {name.removeprefix("os."): line for name, line in source.imports.items()}
        used |= {name.split(".")[0]: line for name, line in source.imports.items()}
        for name in sorted(used.keys() & (names | {"dotenv", "pydantic_settings"})):
            yield f"{source.at(used[name])} uses {name}; declare a setting and read it"


def _is_module_settings(source: Source) -> bool:
    return source.module is not None and source.file == "settings"


def middleware_violations(sources: Iterable[Source]) -> Violations:
    for source in sources:
        found = any(name.endswith(".BaseHTTPMiddleware") for name in source.imports) or any(
            isinstance(node, ast.Attribute) and node.attr == "BaseHTTPMiddleware"
            for node in ast.walk(source.tree)
        )
        # The decorator creates a BaseHTTPMiddleware.
        if found or any(
            name == "middleware" and isinstance(call.func, ast.Attribute)
            for name, call in source.calls()
        ):
            yield (
                f"{source.at(1)} uses BaseHTTPMiddleware, which breaks cancellation and "
                "context variables; write a pure ASGI class"
            )


def print_violations(sources: Iterable[Source]) -> Violations:
    for source in sources:
        if not source.is_in("cli"):
            for name, call in source.calls():
                if name == "print" and isinstance(call.func, ast.Name):
                    yield f"{source.at(call.lineno)} calls print; log it"


def size_violations(sources: Iterable[Source]) -> Violations:
    for source in sources:
        lines, limit = _lines(source), MAX_TEST_FILE if source.parts[0] == "tests" else MAX_FILE
        if lines > limit:
            yield f"{short(source.name)} has {lines} lines, the limit is {limit}; split the feature"
        for name, length in _functions(source):
            if length > MAX_FUNCTION:
                yield (
                    f"{short(source.name)}.{name} has {length} lines, the limit is {MAX_FUNCTION}; "
                    "extract functions"
                )


def usual_size_violations(sources: Sequence[Source]) -> Violations:
    """Yield a violation if more than 5 % of the functions, or of a package's files, are long.

    A package is a folder; a share of one file is rounded up, so each may have one long file.
    """
    functions = [
        (length, f"{short(source.name)}.{name}")
        for source in sources
        for name, length in _functions(source)
    ]
    allowed = len(functions) * LONG_PERCENT // 100
    yield from _too_many_long("functions", functions, USUAL_FUNCTION, allowed)
    packages: dict[str, list[tuple[int, str]]] = {}
    for source in sources:
        package, _, file = source.name.rpartition(".")
        packages.setdefault(package, []).append((_lines(source), file))
    for package, files in packages.items():
        allowed = math.ceil(len(files) * LONG_PERCENT / 100)
        yield from _too_many_long(f"files of {package}", files, USUAL_FILE, allowed)


def _too_many_long(
    kind: str, sizes: Sequence[tuple[int, str]], usual: int, allowed: int
) -> Violations:
    longest = sorted(((size, name) for size, name in sizes if size > usual), reverse=True)
    if len(longest) > allowed:
        named = ", ".join(f"{name} ({size})" for size, name in longest)
        yield (
            f"{len(longest)} of {len(sizes)} {kind} have more than {usual} lines; the limit is "
            f"{allowed}: {named}"
        )


def _lines(source: Source) -> int:
    return len(source.text.splitlines())


def _functions(source: Source) -> Iterator[tuple[str, int]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def path_violations(texts: Mapping[str, str]) -> Violations:
    for name, text in texts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            if MACHINE_PATH.search(line):
                yield f"{name}:{number} contains a path of a developer's machine"
