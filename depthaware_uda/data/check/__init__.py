"""Checking a data set before days of training, and the report of the findings."""

from depthaware_uda.data.check.look import check_dataset
from depthaware_uda.data.check.report import ClassPixels, DatasetReport, DepthRange, Finding

__all__ = ["ClassPixels", "DatasetReport", "DepthRange", "Finding", "check_dataset"]
