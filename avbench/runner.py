"""A kept import path: `RunOptions` lives in `avbench.run.runner`."""

from avbench.run.runner import RunOptions as RunOptions
