"""A kept import path: `PROTOCOLS` lives in `avbench.run.score_clip`."""

from avbench.run.score_clip import PROTOCOLS as PROTOCOLS
from avbench.run.score_clip import Protocol as Protocol
