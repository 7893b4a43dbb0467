#!/usr/bin/env bash
# Link down and up keep the configuration, and the MTU is followed live, also after the move to another namespace.
. "$(dirname "$0")/lib.sh"
isolate "$@"

build_tunnel
reaches_all

# A responder takes an initiation from a peer only 20 ms and a grain of the timestamp (17 ms) after the last one; the next
# attempt would come 5 s later. Nothing tells when that time is over.
settle() { sleep 0.05; }

for round in 1 2 3; do
    step "link down and up, round $round"
    before=$(wg showconf wg1)
    ip1 link set wg1 down
    expect "configuration while down" "$(wg showconf wg1)" "$before"
    refuse "a ping passed while the link was down" n1 ping -n -q -c 1 -W 0.2 192.168.241.2
    settle
    ip1 link set wg1 up
    ip1 addr replace fd00::1/112 dev wg1 nodad
    reaches n1 192.168.241.2
    reaches n1 fd00::2
    expect "configuration after" "$(wg showconf wg1)" "$before"
done

step "a port set while down is the port after up"
ip1 link set wg1 down
wg set wg1 listen-port 4711
settle
ip1 link set wg1 up
ip1 addr replace fd00::1/112 dev wg1 nodad
expect "port" "$(wg show wg1 listen-port)" 4711
reaches n1 192.168.241.2
within 1 "the new port is the peer's endpoint" eval '[[ $(endpoint_of wg2 "$pub1") == 127.0.0.1:4711 ]]'

step "traffic from the other side brings a link back that was down"
ip1 link set wg1 down
settle
ip1 link set wg1 up
ip1 addr replace fd00::1/112 dev wg1 nodad
# The other side's session is dead on this side; until it notices, its packets are lost. Our own ping heals it.
reaches n1 192.168.241.2
reaches n2 192.168.241.1

# A ping of $1 bytes of IPv4 in all, not to be split, in each direction.
passes_whole() {
    n1 ping -n -q -c 1 -W 1 -M do -s $(($1 - 28)) 192.168.241.2 >/dev/null &&
        n2 ping -n -q -c 1 -W 1 -M do -s $(($1 - 28)) 192.168.241.1 >/dev/null
}
for mtu in 1280 9000 576 16000 1420; do
    step "MTU $mtu"
    ip1 link set wg1 mtu $mtu
    ip2 link set wg2 mtu $mtu
    # Padding to 16 must not exceed the MTU: sizes on both sides of a multiple.
    for len in $((mtu - 17)) $((mtu - 1)) $mtu; do
        within 2 "packets of $len bytes pass" passes_whole "$len"
    done
done

step "up and down under traffic, twenty times"
n2 ping -n -q -i 0.01 192.168.241.1 >/dev/null 2>&1 &
for _ in {1..20}; do
    ip1 link set wg1 down
    ip1 link set wg1 up
done
settle
ip1 addr replace fd00::1/112 dev wg1 nodad
reaches n1 192.168.241.2
alive "${pid_of[wg1]}" || fail "the daemon did not survive"
