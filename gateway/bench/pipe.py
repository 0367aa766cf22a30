"""Standard input into a table with one COPY, for where there is no psql to do it.

The connection is that of libpq's environment variables.
"""

import os
import sys
from typing import Final, LiteralString

import psycopg

_COPY: Final[LiteralString] = "COPY line (received_at, topic, payload) FROM STDIN"
_READ_BYTES: Final = 262_144


def main() -> None:
    """Copy until the end of the input, then commit."""
    with psycopg.connect() as conn, conn.cursor() as cursor, cursor.copy(_COPY) as copy:
        while data := os.read(sys.stdin.fileno(), _READ_BYTES):
            copy.write(data)


if __name__ == "__main__":
    main()
