"""Decoding once: samples at their training size in memory-mapped files, shared by all processes of a machine."""

from depthaware_uda.data.cache.cached import CachedDataset, cache_layout, cached
from depthaware_uda.data.cache.files import CacheFiles, CacheLayout, DepthFormat

__all__ = ["CacheFiles", "CacheLayout", "CachedDataset", "DepthFormat", "cache_layout", "cached"]
