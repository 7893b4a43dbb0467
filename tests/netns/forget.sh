#!/usr/bin/env bash
# `rvpn forget` and SIGUSR1 drop sessions and learnt endpoints, keep what is configured, and the tunnel comes back at once.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "forget is rvpn's own"

build_tunnel no_endpoints
# End 1 learns where end 2 is; end 2 has been told where end 1 is.
endpoint wg2 "$pub1" 127.0.0.1:1
reaches n2 192.168.241.1
reaches n1 192.168.241.2
"$IMPL" set wg1 peer "$pub2" name bob

step "a peer by its name: the learnt endpoint goes, the configuration stays"
wg showconf wg1 | sed /Endpoint/d >"$world/before"
expect "endpoint that was learnt" "$(endpoint_of wg1 "$pub2")" 127.0.0.1:2
"$IMPL" forget wg1 bob
expect "endpoint when forgotten" "$(endpoint_of wg1 "$pub2")" "(none)"
wg showconf wg1 | diff "$world/before" - || fail "the configuration has changed"
refuse "a peer without an endpoint was reached" n1 ping -n -q -c 1 -W 1 192.168.241.2
handshakes() { grep -c 'Keypair created' "$world/wg2.log"; }
before=$(handshakes)

step "all peers: a configured endpoint stays, and the next packet shakes hands"
"$IMPL" forget wg2 all
expect "endpoint that was configured" "$(endpoint_of wg2 "$pub1")" 127.0.0.1:1
within 2 "the tunnel is back" n2 ping -n -q -c 1 -W 1 192.168.241.1
expect "new handshakes" "$(($(handshakes) - before))" 1
expect "endpoint that is learnt again" "$(endpoint_of wg1 "$pub2")" 127.0.0.1:2

step "SIGUSR1 does the same"
# A responder takes no two initiations within 20 ms.
seconds_pass 1
wg set wg2 peer "$pub1" endpoint 127.0.0.1:1
kill -USR1 "${pid_of[wg1]}"
within 1 "the endpoint is forgotten" eval '[[ $(endpoint_of wg1 "$pub2") == "(none)" ]]'
grep -q 'holds: 1 peers' "$world/wg1.log" || fail "the objects are not logged"
kill -USR1 "${pid_of[wg2]}"
within 2 "the tunnel is back" n2 ping -n -q -c 1 -W 1 192.168.241.1

step "who is no peer is told so"
if message=$("$IMPL" forget wg1 "$(wg genkey)" 2>&1); then fail "a stranger was forgotten"; fi
[[ $message == *"wg1 has no such peer" ]] || fail "the error does not say so: $message"
