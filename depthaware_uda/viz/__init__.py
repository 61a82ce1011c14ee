"""Pictures: painted maps, panels of samples and networks, curves, confusion matrix and bars.

Painting needs NumPy alone; figures need matplotlib (the extra ``viz``).
"""

from depthaware_uda.paint import colorize_depth, colorize_fraction, colorize_label, overlay
from depthaware_uda.viz.figures import curves, panel
from depthaware_uda.viz.measures import class_bars, confusion_figure
from depthaware_uda.viz.samples import PanelMap, model_panel, ranking_sheet, sample_sheet

__all__ = [
    "PanelMap",
    "class_bars",
    "colorize_depth",
    "colorize_fraction",
    "colorize_label",
    "confusion_figure",
    "curves",
    "model_panel",
    "overlay",
    "panel",
    "ranking_sheet",
    "sample_sheet",
]
