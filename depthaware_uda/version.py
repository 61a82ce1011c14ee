"""The version of the library, alone, so that every room can note it."""

__all__ = ["__version__"]

__version__ = "0.1.0"
