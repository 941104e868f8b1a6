"""The stages and commands.

`src/` of the folder that this package lies in goes first on the path: an experiment in a copy of
the repository must run that copy's code, which an installed package would not.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
