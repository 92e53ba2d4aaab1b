"""Write the lock files from pyproject.toml; with --check, fail if they are out of date.

The first line of each lock file contains a digest of its inputs, so the check needs no network.
Further arguments are passed to uv: `make lock args=--upgrade`.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools.bootstrap import LOCK, PROJECT, ROOT, UV, uv_environment

RUNTIME = ROOT / "requirements.lock"
# The build backend, which installations and the image need besides, and only once.
BUILD = ROOT / "requirements-build.lock"
# The builder of the documentation site, which has 90 MB and is installed by `make docs` only.
DOCS = ROOT / "requirements-docs.lock"
# The lock files in the order of writing, and uv's options for each. The first two constrain the
# last one, so that tests run the versions of production.
OPTIONS = {
    RUNTIME: [PROJECT.name],
    BUILD: ["--group", "build"],
    DOCS: ["--group", "docs"],
    LOCK: [
        *(PROJECT.name, "--extra", "development", "--group", "dev"),
        *("--constraint", RUNTIME.name, "--constraint", BUILD.name),
    ],
}


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        for path, options in OPTIONS.items():
            path.write_text(header() + compiled(path.read_text(), [*options, *sys.argv[1:]]))
    stale = [path.name for path in OPTIONS if not path.read_text().startswith(header())]
    if stale:
        sys.exit(f"Older than pyproject.toml: {', '.join(stale)}. Run: make lock")


def header() -> str:
    tables = tomllib.loads(PROJECT.read_text())
    project = tables["project"]
    inputs = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        tables["dependency-groups"],
        tables["tool"]["uv"],
    ]
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return f"# Written by `make lock` for dependencies {digest[:16]}\n"


def compiled(lock: str, options: list[str]) -> str:
    """Return the lock file anew: with the versions of `lock`, and the hashes of the index."""
    command = [str(UV), "pip", "compile", "--quiet"]
    form = ["--universal", "--generate-hashes", "--no-header", "--no-emit-index-url"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "requirements.lock"
        # uv keeps the hashes that it finds, also if they are not those of all files.
        versions = re.sub(r" \\\n +--hash=\S+", "", lock)
        output.write_text(versions)
        command += ["--output-file", str(output), *form, *options]
        subprocess.run(command, cwd=ROOT, env=remote_indexes(), check=True)
        return output.read_text()


def remote_indexes() -> dict[str, str]:
    """Return uv's environment without folders, which may hold some files of a release only.

    A lock file needs the hashes of all files, because other machines install other ones.
    """
    environment = uv_environment()
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        kept = [url for url in environment.pop(name, "").split() if url.startswith("http")]
        if kept:
            environment[name] = " ".join(kept)
    return environment


if __name__ == "__main__":
    main()
