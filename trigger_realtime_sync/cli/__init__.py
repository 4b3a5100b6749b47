"""The command line `trigger-realtime`."""

from ._main import main

__all__ = ["main"]
