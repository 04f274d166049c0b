"""Client for servers with OpenAI's API."""

API_KEY = "ANTIPHON_API_KEY"
"""The environment variable with the API key of servers, such as `antiphon serve`."""
