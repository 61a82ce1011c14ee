"""MiniCity: street scenes rendered on the fly, with exact labels and depth."""

from .dataset import MiniCity
from .render import Rendering, render

__all__ = ["MiniCity", "Rendering", "render"]
