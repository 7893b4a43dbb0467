#!/usr/bin/env bash
# Large packets, many streams at once and a changing MTU: whatever the size, traffic flows, over IPv4 and IPv6 outside.
#
# The kernel's traffic suites. basic.sh has the one at the MTU of every day, so here it is run in the long form alone
# (LONG=1 tests/netns/traffic.sh: 3 s a stream, as the kernel's test has them).
. "$(dirname "$0")/lib.sh"
isolate "$@"

everyday=1420
# What the loopback of the kernel's test leaves of its 64 KiB, in a device with the overhead of every day.
jumbo=$((34816 - 1500 + everyday))
seconds=1
((LONG == 0)) || seconds=3

set_mtu() {
    ip1 link set wg1 mtu "$1"
    ip2 link set wg2 mtu "$1"
    within 2 "packets of $1 bytes pass" n1 ping -n -q -c 1 -W 1 -M do -s $(($1 - 28)) 192.168.241.2
}

suite() {
    reaches_all
    moves "$1: TCP, IPv4 inside" n2 n1 192.168.241.2 "$seconds"
    moves "$1: TCP, IPv6 inside, other way" n1 n2 fd00::1 "$seconds"
    moves "$1: UDP at unlimited rate, IPv4 inside" n1 n2 192.168.241.1 "$seconds" -u -b 0
    moves "$1: UDP at unlimited rate, IPv6 inside, other way" n2 n1 fd00::2 "$seconds" -u -b 0
    reaches_all
}

build_tunnel
reaches_all

step "streams at once"
for count in 4 5 50; do
    moves "$count streams" n2 n1 192.168.241.2 $((seconds + count / 50)) -P "$count"
done

for outside in IPv4 IPv6; do
    if [[ $outside == IPv6 ]]; then
        # On a live session.
        endpoint wg1 "$pub2" "[::1]:2"
        endpoint wg2 "$pub1" "[::1]:1"
    fi
    ((LONG == 0)) || suite "$outside outside, MTU $everyday"
    # Five fragments a datagram.
    moves "$outside outside, MTU $everyday: UDP in fragments" n2 n1 192.168.241.2 1 -u -b 20M -l 6000
    set_mtu "$jumbo"
    suite "$outside outside, MTU $jumbo"
    set_mtu "$everyday"
    moves "$outside outside, MTU $everyday again: TCP" n2 n1 192.168.241.2 1
done
