"""Sort exceptions of decoding into faults of the clip and faults of avbench, and word them as a row's reason."""

from __future__ import annotations

import logging
import re

import av

from avbench.errors import AvbenchError, EnvironmentProblem, MediaError

log = logging.getLogger(__name__)

# What Python and Cython say when a function does not take the arguments that it is given. Another TypeError, such as
# arithmetic with a time that the file leaves out, depends on the clip.
_CALL = re.compile(
    r"unexpected keyword|keyword argument|positional argument|required argument|takes (no|at least|at most|exactly|\d+)"
    r"|multiple values for|has incorrect type"
)
_MOST_CHARACTERS = 200


def reason_of(error: Exception) -> str:
    """Why a clip cannot be read: one line without paths, so that equal reasons are counted together.

    Raises:
        EnvironmentProblem: a call, name or module that the installed packages do not have: every clip would meet the
            same, so it must not pass as a broken clip. Also one that was raised already.
    """
    if isinstance(error, MediaError):
        return str(error)
    if isinstance(error, AvbenchError):
        raise error
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError):  # FFmpeg's own errors are among them
        return error.strerror or type(error).__name__
    if isinstance(error, av.FFmpegError):
        return str(error.strerror or error)
    text = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_CHARACTERS]
    if isinstance(error, (NameError, ImportError)) or (isinstance(error, TypeError) and _CALL.search(str(error))):
        raise EnvironmentProblem(
            f"the installed packages do not fit avbench ({text}; PyAV {av.__version__}). Install the versions that "
            "avbench declares: python -m pip install --upgrade avbench"
        ) from error
    if isinstance(error, (ValueError, ArithmeticError, EOFError)):
        return text
    log.debug("unexpected error in the decoder", exc_info=error)
    return f"internal error (please report): {text}"
