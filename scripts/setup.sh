#!/bin/sh
# Makes .venv and installs into it what a lock file names; with requirements.lock, then careloop itself, editable.
#
#   scripts/setup.sh LOCK
#
# uv is used where it is on PATH, else python3 with venv and pip. Every file is checked against the lock's hashes, and
# only wheels are taken: no compiler is ever needed. Where there is one, the detectors' loops are compiled, and run faster.
set -eu
lock=$1
cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

has_uv() { command -v uv >/dev/null 2>&1; }

find_python() {
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail 'Python 3.11 or newer is needed, and none is on PATH'
}

make_venv() {
    if has_uv; then
        uv venv --quiet --allow-existing --python '>=3.11' .venv
        return
    fi
    python=$(find_python)
    "$python" -m venv .venv || fail "$python -m venv does not work: install python3-venv (Debian), or uv"
}

install() {
    if has_uv; then
        VIRTUAL_ENV="$PWD/.venv" uv pip install --quiet "$@"
    else
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
    fi
}

.venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || make_venv
has_uv || .venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
echo "installing $lock into .venv" >&2
install --require-hashes --only-binary :all: -r "$lock"
[ "$lock" != requirements.lock ] || install --no-deps --no-build-isolation -e .
