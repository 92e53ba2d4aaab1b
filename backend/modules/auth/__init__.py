"""Sign-in, sessions, and the authentication of requests."""
