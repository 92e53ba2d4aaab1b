"""Pure ASGI layers, outermost first: requests, proxies, cors, failures, hosts, paths."""
