"""Serve an ASGI application with the server of `backend serve` and one worker.

python -m bench.host APPLICATION PORT
"""

import sys

from backend.server.config import make_config
from backend.server.server import Server

if __name__ == "__main__":
    config = make_config(sys.argv[1], patience=5, port=int(sys.argv[2]))
    Server(config).run([config.bind_socket()])
