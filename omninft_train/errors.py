"""The exceptions that reach a user: those of avbench, reported in the same way by both command lines, and one more.

Exit codes: 0 ok, 2 wrong usage, 3 stopped because of what was being trained (non-finite loss, failed rewards),
4 environment (packages, weights, device, disk), 70 a fault of the trainer itself, 130 interrupted.
"""

from avbench.errors import AvbenchError, EnvironmentProblem, SettingError, UsageError, near

__all__ = ["AvbenchError", "EnvironmentProblem", "SettingError", "TrainingStopped", "UsageError", "near"]


class TrainingStopped(AvbenchError):  # noqa: N818
    """The run cannot go on: a loss is not finite, or too many rewards failed."""

    exit_code = 3
