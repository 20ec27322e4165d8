"""Sources of clips: folders, manifests and the layouts of known benchmarks."""

from avbench.sources.base import Source
from avbench.sources.discover import load_source

__all__ = ["Source", "load_source"]
