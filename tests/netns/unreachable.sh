#!/usr/bin/env bash
# A local sender is told at once when there is no peer for a destination, or no endpoint for its peer.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || is_driver "$IMPL" || skip "${IMPL##*/} sends no ICMP errors"

build_tunnel
reaches_all
ip1 route add 10.99.0.0/16 dev wg1
ip1 -6 route add fd99::/16 dev wg1

# The ping reports an ICMP error from our own end within its second.
told() { [[ $(n1 ping -n -c 1 -W 2 "$1" 2>&1) == *"Unreachable"* || $(n1 ping -n -c 1 -W 2 "$1" 2>&1) == *"unreachable"* ]]; }

step "no peer for the destination"
told 10.99.0.1 || fail "no ICMP error for an IPv4 destination without a peer"
told fd99::1 || fail "no ICMPv6 error for an IPv6 destination without a peer"

step "a peer without an endpoint"
wg set wg1 peer "$(wg genkey | wg pubkey)" allowed-ips 10.99.0.0/16,fd99::/16
told 10.99.0.1 || fail "no ICMP error for a peer without an endpoint"
told fd99::1 || fail "no ICMPv6 error for a peer without an endpoint"

step "TCP fails at once"
started=$(now_ms)
refuse "a connection to nowhere succeeded" n1 socat -u OPEN:/dev/null TCP4:10.99.0.1:80,connect-timeout=5
(($(now_ms) - started < 4000)) || fail "TCP waited for its own timeout"
reaches_all
