"""Every folder of tests may import the helpers that lie in tests/ and beside itself."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
