#!/usr/bin/env bash
# A peer may be reached through another peer of the same device; one that is its own way gets nothing, and nothing loops.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "${IMPL##*/} has no guard against a routing loop"

# The daemons are at the ends: what wg1 sends is routed where its interface is.
link_ends
make_keys
start_daemon wg1 "$IMPL" e1
start_daemon wg2 "$PEER" e2
configure_pair wg1 wg2 1 2 endpoint 10.0.0.2:2
up e1 wg1 1
up e2 wg2 2
reaches n1 192.168.241.2

step "a second peer, whose endpoint is in the tunnel to the first"
key3=$(wg genkey) pub3=$(wg pubkey <<<"$key3")
start_daemon wg3 "$PEER" e2
wg set wg3 private-key <(echo "$key3") listen-port 5 peer "$pub1" allowed-ips 192.168.242.1/32,fd01::1/128
ip2 addr add 192.168.242.2/24 dev wg3
ip2 addr add fd01::2/112 dev wg3 nodad
ip2 link set wg3 up
ip1 addr add 192.168.242.1/24 dev wg1
ip1 addr add fd01::1/112 dev wg1 nodad
wg set wg1 peer "$pub3" allowed-ips 192.168.242.2/32,fd01::2/128 endpoint 192.168.241.2:5
reaches n1 192.168.242.2
# As large as one gets: outside it the datagram of the second peer is too large for the first, and comes in fragments.
n1 ping -n -q -c 1 -W 1 -M do -s 1392 192.168.242.2 >/dev/null || fail "no answer to a packet of 1420 bytes"
wg set wg1 peer "$pub3" endpoint "[fd00::2]:5"
reaches n1 fd01::2
moves "TCP through both" n2 n1 192.168.242.2 1

for inside in 192.168.242.2 "[fd01::2]"; do
    step "its own way, with a session: $inside"
    wg set wg1 peer "$pub3" endpoint "$inside:5"
    outer_before=$(sent_by wg1 "$pub2") before=$(sent_by wg1 "$pub3")
    refuse "a ping found its way out of a loop" n1 ping -n -q -c 10 -i 0.02 -W 1 192.168.242.2
    # 1 message for each ping, and none for a message. A handshake may be begun too.
    grown=$(($(sent_by wg1 "$pub3") - before))
    ((grown <= 10 * 128 + 2 * 148)) || fail "ten pings became $grown bytes in the loop"
    expect "bytes to the first peer meanwhile" "$(($(sent_by wg1 "$pub2") - outer_before))" 0
done

step "and nothing is left of it"
wg set wg1 peer "$pub3" remove
reaches n1 192.168.241.2
reaches n2 fd00::1
