"""Pure ASGI layers, outermost first: requests, proxies, prefixes, cors, failures,
headers, hosts, paths, floods."""
