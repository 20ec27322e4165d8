"""A kept import path: `RunOptions` lives in `avbench.run.options`."""

from avbench.run.options import RunOptions as RunOptions
