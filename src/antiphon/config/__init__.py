"""Typed settings: what a recipe may say, and how YAML, flags and overrides become one `Config`."""

from antiphon.config.load import load_config
from antiphon.config.schema import Config
from antiphon.config.settings import Settings, validate_settings

__all__ = ["Config", "Settings", "load_config", "validate_settings"]
