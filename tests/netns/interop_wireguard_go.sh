#!/usr/bin/env bash
# Speaks with Debian's wireguard-go in both roles; LONG=1: through the rekey at 120 s.
. "$(dirname "$0")/lib.sh"
. "$here/interop.sh"
isolate "$@"

OTHER=${OTHER:-$(command -v wireguard-go || true)}
[[ -n $OTHER ]] || skip "no wireguard-go: apt-get install wireguard-go"
run_interop
