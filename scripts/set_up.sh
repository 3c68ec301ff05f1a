#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Finds a Python that the project supports and lets it run set_up.py. PYTHON=... chooses one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

supported() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
    if supported "$PYTHON"; then
        exec "$PYTHON" "$here/set_up.py" --rebuild-for-this-python "$@"
    fi
    echo "set-up: PYTHON=$PYTHON is no Python 3.10 to 3.13; name one that is, such as PYTHON=python3.11" >&2
    exit 2
fi
for candidate in python3.11 python3.12 python3.10 python3.13 python3; do
    if supported "$candidate"; then
        exec "$candidate" "$here/set_up.py" "$@"
    fi
done
echo "set-up: no Python 3.10 to 3.13 was found; install one (Debian, Ubuntu: sudo apt install python3 python3-dev python3-venv)" >&2
exit 2
