"""The HTTP server: uvicorn with limits on connections, a drain at stop, and several workers."""
