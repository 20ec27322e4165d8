"""A kept import path for plug-ins: what fills a network lives in `avbench.encoders.loading`."""

from avbench.encoders.loading import fill_keyed_random as fill_keyed_random
from avbench.encoders.loading import load_strict as load_strict
from avbench.encoders.loading import read_state_dict as read_state_dict
from avbench.encoders.loading import to_device as to_device
