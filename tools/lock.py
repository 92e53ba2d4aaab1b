"""Write both lock files from pyproject.toml; with --check, fail if they are out of date.

The first line of each lock file contains a digest of its inputs, so the check needs no network.
Further arguments are passed to uv: `make lock args=--upgrade`.
"""

import hashlib
import json
import subprocess
import sys
import tomllib

from tools.bootstrap import LOCK, PROJECT, ROOT, UV, uv_environment

RUNTIME = ROOT / "requirements.lock"
# The runtime lock constrains the other one, so that tests run the versions of production.
OPTIONS = {
    RUNTIME: [],
    LOCK: ["--extra", "development", "--group", "dev", "--constraint", RUNTIME.name],
}


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        for path, options in OPTIONS.items():
            compile_lock(path.name, [*options, *sys.argv[1:]])
            path.write_text(header() + path.read_text())
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


def compile_lock(name: str, options: list[str]) -> None:
    command = [str(UV), "pip", "compile", PROJECT.name, "--output-file", name, "--quiet"]
    form = ["--universal", "--generate-hashes", "--no-header", "--no-emit-index-url"]
    subprocess.run([*command, *form, *options], cwd=ROOT, env=uv_environment(), check=True)


if __name__ == "__main__":
    main()
