"""`make faults`: rounds of faults under load, with a proof after each; exit code 1 at the first loss."""

import argparse
import random
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from tests.faults.campaign.campaign import Plan, run
from tests.faults.campaign.strikes import schedule
from tests.faults.campaign.world import EMBEDDED


def _end(_signal: int, _frame: object) -> None:
    """Whatever runs is ended and removed on the way out."""
    sys.exit(143)


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("timescale", "plain", EMBEDDED), default="timescale")
    parser.add_argument(
        "--only", default="", help="only strikes with one of these words in their names, such as killed,paused"
    )
    parser.add_argument("--load", type=float, default=1.0, help="times the usual load, about 700 readings a second")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no further round after so long")
    parser.add_argument("--keep", action="store_true", help="leave the folder with logs even when all went well")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    folder = Path(tempfile.mkdtemp(prefix="careloop-faults-"))
    plan = Plan(
        strikes=schedule(
            chosen.rounds, random.Random(chosen.seed), chosen.only, has_far_database=chosen.database != EMBEDDED
        ),
        seed=chosen.seed,
        edition=chosen.database,
        folder=folder,
        load=chosen.load,
        minutes=chosen.minutes,
        again=f'make faults ARGS="{shlex.join(sys.argv[1:]) or f"--seed {chosen.seed}"}"',
    )
    return run(plan, keep=chosen.keep)


if __name__ == "__main__":
    sys.exit(main())
