"""Typed settings: the recipe's schema, and how YAML, flags and overrides are merged into one `Config`."""

from antiphon.config.load import load_config
from antiphon.config.schema import Config
from antiphon.config.settings import Settings, validate_settings

__all__ = ["Config", "Settings", "load_config", "validate_settings"]
