"""Pure ASGI layers, outermost first: requests, cors, failures, hosts, paths."""
