"""Write trellis.manifest, the record of Trellis's files that projects are compared with."""

import sys

from backend.cli import manifest
from backend.product import TITLE, VERSION


def stale(recorded: manifest.Manifest) -> list[str]:
    """Return the recorded paths whose files differ or are gone, and the new ones of no module."""
    present = current()
    changed = [path for path, digest in recorded.files.items() if present.get(path) != digest]
    modules = ("backend/modules/", "tests/modules/", manifest.MIGRATIONS)
    new = [path for path in present.keys() - recorded.files if not path.startswith(modules)]
    return sorted([*changed, *new])


def current() -> dict[str, str]:
    paths = filter(manifest.is_recorded, manifest.files_of(manifest.ROOT))
    return manifest.fingerprints(manifest.ROOT, paths)


def main() -> None:
    if manifest.RENAMED:
        sys.exit(
            f"{manifest.FILE} records the files of Trellis, and this project is {TITLE}: keep the "
            "file, it comes with each release of Trellis."
        )
    text = manifest.rendered(VERSION, current())
    (manifest.ROOT / manifest.FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
