"""The one version number of both distributions; they are built, released and installed together."""

__version__ = "0.1.0"
