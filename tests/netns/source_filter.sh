#!/usr/bin/env bash
# The most specific owner of a source address decides what may come in; a packet that may not still moves the endpoint.
. "$(dirname "$0")/lib.sh"
isolate "$@"

build_tunnel
reaches_all

# Runs a UDP listener at end 1, sends one datagram from end 2, true if it arrived within a second (PATIENCE).
datagram_arrives() {
    rm -f "$world/datagram"
    n1 timeout "$PATIENCE" socat -u UDP4-RECV:1111 "CREATE:$world/datagram" 9>&- &
    local listener=$!
    within 2 "the listener is there" eval '[[ -n $(n1 ss -Hlun "sport = :1111") ]]'
    n2 socat -u - UDP4-SENDTO:192.168.241.1:1111 <<<"X"
    wait "$listener" || true
    [[ -s $world/datagram ]]
}

step "allowed by a wide prefix: arrives"
wg set wg1 peer "$pub2" allowed-ips 192.168.241.0/24
datagram_arrives || fail "a datagram from an allowed address did not arrive"

step "owned by a more specific prefix of another peer: does not arrive"
other=$(wg genkey | wg pubkey)
wg set wg1 peer "$other" allowed-ips 192.168.241.2/32
wg set wg2 listen-port 9997
refuse "a datagram arrived from an address that belongs to another peer" datagram_arrives
wg set wg1 peer "$other" remove
expect "endpoint after the refused packet" "$(endpoint_of wg1 "$pub2")" 127.0.0.1:9997

step "and again when the other peer is gone"
datagram_arrives || fail "a datagram from an allowed address did not arrive"
