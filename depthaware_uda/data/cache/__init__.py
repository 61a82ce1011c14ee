"""A cache of decoded samples at their training size: memory-mapped files that all processes of a machine share."""

from depthaware_uda.data.cache.cached import CachedDataset, cache_layout, cached
from depthaware_uda.data.cache.files import CacheFiles, CacheLayout, DepthFormat

__all__ = ["CacheFiles", "CacheLayout", "CachedDataset", "DepthFormat", "cache_layout", "cached"]
