"""Serves an ASGI application as `backend serve` serves its own, with one worker.

python -m bench.host APPLICATION PORT
"""

import sys

import uvicorn

from backend.cli.api import server_options

if __name__ == "__main__":
    uvicorn.run(sys.argv[1], port=int(sys.argv[2]), **server_options(patience=5))
