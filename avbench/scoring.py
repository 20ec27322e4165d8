"""A kept import path: `PROTOCOLS` lives in `avbench.run.protocol`."""

from avbench.run.protocol import PROTOCOLS as PROTOCOLS
from avbench.run.protocol import Protocol as Protocol
