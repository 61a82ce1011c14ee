"""The published experiments as data: data sets, classes, sizes and the results that papers report."""

from depthaware_uda.protocols.published import PublishedResult
from depthaware_uda.protocols.records import AdaptationProtocol
from depthaware_uda.protocols.registry import get_protocol, list_protocols

__all__ = ["AdaptationProtocol", "PublishedResult", "get_protocol", "list_protocols"]
