"""The HTTP layer: routing, pagination, OpenAPI, documentation, errors, strict JSON, forms."""
