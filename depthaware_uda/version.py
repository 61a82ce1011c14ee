"""The version of the library, in a module without imports, so that every module can record it."""

__all__ = ["__version__"]

__version__ = "0.1.0"
