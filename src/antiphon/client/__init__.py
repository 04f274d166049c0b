"""Requests to servers that speak OpenAI's API."""

API_KEY = "ANTIPHON_API_KEY"
"""The environment variable with the key that servers want, `antiphon serve` among them."""
