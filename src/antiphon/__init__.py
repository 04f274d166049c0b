"""Antiphon: post-train speech and audio-language models from what they themselves say."""

__version__ = "0.1.0"
