"""Where this repository and the helpers of its tests are."""

from pathlib import Path

HELPERS = Path(__file__).parent
TOP = HELPERS.parent.parent
