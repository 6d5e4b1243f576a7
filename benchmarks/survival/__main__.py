"""Runs that are killed, interrupted and damaged, wrong calls, and the cost of saving.

`python -m benchmarks.survival kills`, for example.

Prints the losses; there should be none.
"""

import json
import sys

import jax
import tyro

from benchmarks.survival.calls import calls
from benchmarks.survival.cost import cost
from benchmarks.survival.damages import damages
from benchmarks.survival.kills import kills


def main() -> None:
    """Runs one of the commands."""
    print(json.dumps({"jax": jax.__version__, "python": sys.version.split()[0]}))
    tyro.extras.subcommand_cli_from_dict({"kills": kills, "damages": damages, "calls": calls, "cost": cost})


if __name__ == "__main__":
    main()
