"""How many examples the property tests try: a few in `make test`, many in `make explore`."""

import os

TIMES = int(os.environ.get("TRELLIS_EXAMPLES", "1"))


def examples(count: int) -> int:
    """`count`, or as many times more as TRELLIS_EXAMPLES says."""
    return count * TIMES
