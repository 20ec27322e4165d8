"""Makes the reference of the loop importable beside the tests that compare with it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
