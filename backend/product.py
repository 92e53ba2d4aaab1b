"""The name and the version of the product, which `backend rename` and pyproject.toml define."""

import sys
from importlib.metadata import PackageNotFoundError, version

# In texts for people.
TITLE = "Trellis"
# Of the Python package, of services and containers, and in traces and error reports.
NAME = "trellis"
try:
    VERSION = version(NAME)
except PackageNotFoundError:
    sys.exit(f"The package {NAME} is not installed here under this name: run `make setup`.")
