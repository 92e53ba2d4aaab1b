"""Payments through Stripe, for modules that sell something."""
