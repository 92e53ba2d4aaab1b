"""The files of a release of Trellis, as `trellis.manifest` records them.

A project that started from Trellis keeps the file as it is. Fingerprints ignore line endings, the
name of the project in the files that `backend rename` changes, and which migration another one
follows.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

from backend.cli.terminal import CommandError
from backend.product import NAME, TITLE

ROOT = Path(__file__).resolve().parents[2]
FILE = "trellis.manifest"
UPSTREAM_TITLE, UPSTREAM_NAME = "Trellis", "trellis"
RENAMED = NAME != UPSTREAM_NAME
# Contain the name of the product, for people and for installations.
NAMED = (
    *(".env.example", ".github/workflows/*.yml", "AGENTS.md", "Dockerfile", "README.md"),
    *("backend/product.py", "clients/typescript/*.json", "clients/typescript/README.md"),
    *("compose.yaml", "deploy/*.service", "deploy/nginx.conf", "deploy/compose/nginx.conf"),
    *("deploy/kubernetes/*.yaml", "docs/configuration.md", "docs/deployment.md", "docs/index.md"),
    *("docs/observability.md", "docs/operations.md", "docs/tutorial.md", "examples/*"),
    *("openapi*.json", "pyproject.toml", "requirements*.lock", "zensical.toml"),
)
# Belong to the project from the start, or are written by commands from what the project contains.
NOT_RECORDED = (
    *(FILE, "LICENSE", "README.md", "openapi*.json", "requirements*.lock"),
    *(f"docs/{page}.md" for page in ("architecture", "configuration", "errors", "permissions")),
    *("*/package-lock.json", "clients/*/src/generated/*"),
)
_HEADER = re.compile(r"# Files of Trellis (\S+), .*")
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_FOLLOWS = re.compile(rb"^down_revision = .*$", re.MULTILINE)
MIGRATIONS = "migrations/versions/"


@dataclass(frozen=True)
class Manifest:
    """The version of a release, and the fingerprint of each file by its path."""

    version: str
    files: Mapping[str, str]


def fingerprint(content: bytes, path: str) -> str:
    """Return the SHA-256 of a file's content, without what `backend rename` and git may change."""
    if b"\0" not in content:
        names = (TITLE, NAME) if is_named(path) else ()
        content = _word(*names).sub(b"\0", content.replace(b"\r\n", b"\n"))
        if path.startswith(MIGRATIONS):
            content = _FOLLOWS.sub(b"", content)
    return sha256(content).hexdigest()


def is_named(path: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in NAMED)


def renamed_path(path: str, old: str, new: str) -> str:
    """Return the path in a project of the name `new` of a file in one of the name `old`."""
    return path.replace(old, new) if fnmatch(path, f"deploy/{old}*.service") else path


def _word(*names: str) -> re.Pattern[bytes]:
    """Return a pattern of these names and those of Trellis, as words."""
    words = sorted({*names, UPSTREAM_TITLE, UPSTREAM_NAME}, key=len, reverse=True)
    options = "|".join(map(re.escape, words))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{options})(?![A-Za-z0-9])".encode())


def is_recorded(path: str) -> bool:
    return not any(fnmatch(path, pattern) for pattern in NOT_RECORDED)


def files_of(root: Path) -> list[str]:
    """Return the paths of all files that git tracks, or would track; sorted.

    Raise `CommandError` outside of a git repository.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = run_git(root, *command[1:])
    paths = sorted({path for path in listed.split("\0") if path})
    return [path for path in paths if (root / path).is_file()]


def run_git(root: Path, *arguments: str) -> str:
    """Return the output of git; raise `CommandError` with its own words if it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise CommandError("git is not installed: this command lists the files with it.") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise CommandError(
            f"`git {' '.join(arguments[:1])}` has failed in {root} ({reason}): run the command in "
            "the project's git repository."
        )
    return done.stdout.decode(errors="surrogateescape")


def fingerprints(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the fingerprint of each file, by the path that Trellis has for it."""
    found = {}
    for path in paths:
        theirs = renamed_path(path, NAME, UPSTREAM_NAME)
        found[theirs] = fingerprint((root / path).read_bytes(), theirs)
    return found


def rendered(version: str, files: Mapping[str, str]) -> str:
    lines = [f"{digest}  {path}" for path, digest in sorted(files.items())]
    header = f"# Files of Trellis {version}, as `backend upgrade-check` compares them."
    return "\n".join([header, "# Written by `make release`.", *lines, ""])


def parsed(text: str, name: str) -> Manifest:
    """Return the contents of a manifest; `name` is that of its file, for errors."""
    header, *lines = text.splitlines() or [""]
    found = _HEADER.fullmatch(header)
    entries = [_LINE.fullmatch(line) for line in lines if line and not line.startswith("#")]
    if found is None or not all(entries):
        raise CommandError(f"{name} is not a manifest of Trellis: use the one of a release.")
    return Manifest(found[1], {entry[2]: entry[1] for entry in entries if entry})


def own_manifest(root: Path) -> Manifest:
    """Return the manifest of the release that this project contains."""
    file = root / FILE
    if not file.exists():
        raise CommandError(
            f"There is no {FILE} in {root}: run the command in a checkout of the project, or take "
            "the file from the release of Trellis that the project started from."
        )
    return parsed(file.read_text("utf-8"), FILE)
