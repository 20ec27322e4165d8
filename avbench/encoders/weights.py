"""A kept import path for plug-ins: paths of a checkpoint's files come from `avbench.weights.locate`."""

from avbench.weights.locate import files as files
