#!/usr/bin/env bash
# Speaks with Cloudflare's boringtun in both roles; LONG=1: through the rekey at 120 s.
. "$(dirname "$0")/lib.sh"
. "$here/interop.sh"
isolate "$@"

OTHER=${OTHER:-$(command -v boringtun-cli || echo "$cache/boringtun-cli-0.7.1/bin/boringtun-cli")}
[[ -x $OTHER ]] || skip "no boringtun-cli: tests/netns/run builds one"
run_interop
