"""The few exceptions that reach a user, each with its exit code.

Exit codes: 0 ok, 2 wrong usage, 3 stopped because of what was being trained (non-finite loss, failed rewards),
4 environment (packages, weights, device, disk), 70 a fault of the trainer itself, 130 interrupted.
"""


class TrainError(Exception):
    """Base class. The message says what happened, where, and what to do."""

    exit_code = 2


class UsageProblem(TrainError):  # noqa: N818 - reads better beside EnvironmentProblem
    """A recipe, prompt file, checkpoint or option that does not fit."""

    exit_code = 2


class TrainingStopped(TrainError):  # noqa: N818
    """The run cannot go on: a loss is not finite, or too many rewards failed."""

    exit_code = 3


class EnvironmentProblem(TrainError):  # noqa: N818
    """A missing package, missing weights, an unusable device, a full disk."""

    exit_code = 4
