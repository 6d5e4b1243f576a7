"""Runs that are killed, interrupted and damaged, and wrong calls: `python -m benchmarks.survival kills`.

Prints the losses; there should be none.
"""

import json
import sys

import jax
import tyro

from benchmarks.survival.calls import calls
from benchmarks.survival.damages import damages
from benchmarks.survival.kills import kills


def main() -> None:
    """Runs one of the three commands."""
    print(json.dumps({"jax": jax.__version__, "python": sys.version.split()[0]}))
    tyro.extras.subcommand_cli_from_dict({"kills": kills, "damages": damages, "calls": calls})


if __name__ == "__main__":
    main()
