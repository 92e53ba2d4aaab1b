"""The number of examples of property tests: few in `make test`, many in `make explore`."""

import os

FACTOR = int(os.environ.get("TRELLIS_EXAMPLES", "1"))


def examples(count: int) -> int:
    """Return `count` times TRELLIS_EXAMPLES, which is 1 by default."""
    return count * FACTOR
