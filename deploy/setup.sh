#!/bin/sh
# Makes ready what `make demo` or `make test` needs, and nothing twice:
#   sh deploy/setup.sh demo             .venv with pinned packages, mosquitto and its clients
#   sh deploy/setup.sh demo,bench       the same with what bench/ needs
#   sh deploy/setup.sh demo,bench,learn,dev   the same with what policies are trained with, and the test and check tools
set -eu
cd "$(dirname "$0")/.."
extras=${1:-demo}
python=${PYTHON:-python3}
venv=${VENV:-.venv}

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# --- Python packages -------------------------------------------------------------------------------------------------
wanted=$(cat pyproject.toml constraints.txt deploy/setup.sh | cksum)
stamp="$venv/.stageline-$extras"
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    command -v "$python" >/dev/null 2>&1 || stop "no $python here. Install python 3.11 or newer (apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python demo"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "$("$python" --version) is too old: python 3.11 or newer is needed. Name another: make PYTHON=python3.12 demo"
    if [ ! -x "$venv/bin/python" ]; then
        say "making $venv"
        "$python" -m venv "$venv" || stop "could not make $venv. On Debian: apt-get install python3-venv, then run this again"
    fi
    say "installing packages into $venv (extras: $extras; a few minutes the first time)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$extras]" ||
        stop "pip could not install the packages; its reason is above. Is the package index reachable? Then run this again: it continues where it stopped"
    printf '%s\n' "$wanted" >"$stamp"
    # The longer lists begin with the shorter ones: what those ask for is there now too.
    shorter=$extras
    while [ "$shorter" != "${shorter%,*}" ]; do
        shorter=${shorter%,*}
        printf '%s\n' "$wanted" >"$venv/.stageline-$shorter"
    done
fi

# --- mosquitto -------------------------------------------------------------------------------------------------------
PATH="$PATH:/usr/sbin:/usr/local/sbin"
if ! command -v mosquitto >/dev/null 2>&1 || ! command -v mosquitto_sub >/dev/null 2>&1; then
    how="install it yourself and run this again: apt-get install mosquitto mosquitto-clients"
    command -v apt-get >/dev/null 2>&1 || stop "mosquitto is missing, and there is no apt-get here; $how (or your system's way)"
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || stop "mosquitto is missing, and installing it takes root; $how"
        sudo=sudo
    fi
    say "installing mosquitto and mosquitto-clients"
    { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq mosquitto mosquitto-clients; } >/dev/null ||
        stop "apt-get could not install mosquitto; $how"
fi
