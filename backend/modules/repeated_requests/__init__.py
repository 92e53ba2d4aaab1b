"""The stored responses of requests that clients may repeat."""
