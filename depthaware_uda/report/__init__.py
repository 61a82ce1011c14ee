"""Reports of a run folder: curves, panels of pictures, and a page that shows everything."""

from depthaware_uda.report.callbacks import PanelCallback, ReportCallback
from depthaware_uda.report.run import run_curves, run_series, save_panel, write_report

__all__ = ["PanelCallback", "ReportCallback", "run_curves", "run_series", "save_panel", "write_report"]
