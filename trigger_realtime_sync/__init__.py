"""Follow Trigger.dev runs live from Python."""

from ._version import __version__

__all__ = ["__version__"]
