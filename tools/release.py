"""Release Trellis: record the API and the files of this version, commit both records, and tag it.

trellis.manifest is true of each release because only this command writes it, from the files of the
commit that it tags. Between releases, and in projects that started from one, files may differ.
"""

import re
import sys

from backend.cli import manifest
from backend.cli.listing import openapi_texts
from backend.cli.manifest import ROOT, files_of, fingerprints, is_recorded, run_git
from backend.cli.terminal import CommandError
from backend.product import TITLE, VERSION
from tools import contract

# As patterns of git.
WRITTEN = (manifest.FILE, "openapi.released*.json")


def main() -> None:
    tag = f"v{VERSION}"
    try:
        _require_ready(tag)
        texts = openapi_texts()
        contract.gate(texts, release=False)
        contract.gate(texts, release=True)
        files = fingerprints(ROOT, filter(is_recorded, files_of(ROOT)))
        (ROOT / manifest.FILE).write_text(manifest.rendered(VERSION, files), "utf-8")
        if run_git(ROOT, "status", "--porcelain"):
            run_git(ROOT, "add", *WRITTEN)
            run_git(ROOT, "commit", "--quiet", "--message", f"Release {VERSION}")
        run_git(ROOT, "tag", "--annotate", "--message", f"{TITLE} {VERSION}", tag)
    except CommandError as error:
        sys.exit(str(error))
    print(f"Released {VERSION}: push the branch and the tag {tag}.")


def _require_ready(tag: str) -> None:
    """Raise `CommandError` unless the committed files can be released with this tag."""
    if manifest.RENAMED:
        raise CommandError(
            f"This command releases Trellis, and this project is {TITLE}: {manifest.FILE} stays "
            'as it is. For a release of yours, run make contract args="--release".'
        )
    others = [f":(exclude){name}" for name in WRITTEN]
    if run_git(ROOT, "status", "--porcelain", "--", ".", *others):
        raise CommandError("There are changes that are not committed: commit or stash them first.")
    if run_git(ROOT, "tag", "--list", tag):
        raise CommandError(
            f"{VERSION} is released already (tag {tag}): set the next `version` in pyproject.toml."
        )
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if not re.search(rf"^## {re.escape(VERSION)}\b", changes, re.MULTILINE):
        raise CommandError(f'CHANGELOG.md has no section "## {VERSION}": describe the release.')


if __name__ == "__main__":
    main()
