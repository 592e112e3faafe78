#!/usr/bin/env bash
# Installs the programs that tests call, where they are missing, with the word long those of `npm run test:long`
# too, and with the word bench those that benchmarks compare with: Debian packages, as root. Says nothing when all of them are there; ends with the command to run
# when it may not install.
set -euo pipefail

missing=()
need() { # need PACKAGE TEST-COMMAND...
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

need mosquitto-clients sh -c 'command -v mosquitto_pub && command -v mosquitto_sub'
# Debian's Python modules are seen by its own Python only.
need python3-paho-mqtt /usr/bin/python3 -c 'import paho.mqtt.client'
# Certificates, and a client of TLS.
need openssl sh -c 'command -v openssl'
# They check their own completion scripts.
need zsh sh -c 'command -v zsh'
need fish sh -c 'command -v fish'

if [ "${1:-}" = long ]; then
  # Runs the page of examples/browser.
  need chromium test -x /usr/bin/chromium
fi

if [ "${1:-}" = bench ]; then
  need mosquitto sh -c 'command -v mosquitto'
  need rabbitmq-server test -x /usr/lib/rabbitmq/bin/rabbitmq-server
  need nats-server sh -c 'command -v nats-server'
fi

[ "${#missing[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  printf 'Needed here: %s\nInstall them, on Debian with: sudo apt-get install %s\n' \
    "${missing[*]}" "${missing[*]}" >&2
  exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; }
if ! install && ! { apt-get update >"$log" 2>&1 </dev/null && install; }; then
  cat "$log" >&2
  printf 'apt-get could not install: %s\n' "${missing[*]}" >&2
  exit 1
fi
