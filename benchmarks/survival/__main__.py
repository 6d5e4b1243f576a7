"""Runs that are killed, interrupted and damaged, disks that fail, wrong calls, and the cost of saving.

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
from benchmarks.survival.disks import disks
from benchmarks.survival.kills import kills


def main() -> None:
    """Runs one of the commands."""
    print(json.dumps({"jax": jax.__version__, "python": sys.version.split()[0]}))
    commands = {"kills": kills, "damages": damages, "disks": disks, "calls": calls, "cost": cost}
    tyro.extras.subcommand_cli_from_dict(commands)


if __name__ == "__main__":
    main()
