"""Pure ASGI middleware; `core/app.py` defines the order."""
