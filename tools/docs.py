"""Build the documentation site in build/site, in an environment of requirements-docs.lock.

Arguments replace those of the builder: `make docs args=serve` shows the site while it is written.
"""

import subprocess
import sys

from tools.bootstrap import ROOT, UV, uv_environment

ENVIRONMENT = (
    *("run", "--quiet", "--no-project", "--isolated", "--python", sys.executable),
    *("--with-requirements", "requirements-docs.lock"),
)
BUILD = ("build", "--clean", "--strict")


def main() -> None:
    command = [str(UV), *ENVIRONMENT, "--", "zensical", *(sys.argv[1:] or BUILD)]
    code = subprocess.run(command, cwd=ROOT, env=uv_environment(), check=False).returncode
    if code == 0 and not sys.argv[1:]:
        print("The site is in build/site; start with build/site/index.html.")
    sys.exit(code)


if __name__ == "__main__":
    main()
