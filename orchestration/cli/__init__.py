"""The command `inventorybot`. Heavy libraries are imported on use."""

from orchestration.cli.main import main

__all__ = ["main"]
