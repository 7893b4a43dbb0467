#!/usr/bin/env bash
# Answers leave from the address that was contacted, and no longer when that address is gone.
. "$(dirname "$0")/lib.sh"
isolate "$@"

link_ends
make_keys
start_daemon wg1 "$IMPL" e1
start_daemon wg2 "$PEER" e2
configure_pair
up e1 wg1 1
up e2 wg2 2

# wireguard-go keeps the dead address until the next handshake.
if is_rvpn "$IMPL" || is_driver "$IMPL"; then
    step "not overly sticky: the source address is removed, another remains"
    endpoint wg1 "$pub2" 10.0.0.2:2
    reaches n1 192.168.241.2
    ip1 addr add 10.0.0.10/24 dev veth1
    ip1 addr del 10.0.0.1/24 dev veth1
    # Removing the first address of a network takes its secondary ones along, unless they are to be promoted.
    ip1 addr replace 10.0.0.10/24 dev veth1
    on_the_cable n2 10.0.0.10
    reaches n1 192.168.241.2
    endpoint wg1 "$pub2" "[fd00:aa::2]:2"
    reaches n1 192.168.241.2
    ip1 addr add fd00:aa::10/96 dev veth1 nodad
    ip1 addr del fd00:aa::1/96 dev veth1
    on_the_cable n2 fd00:aa::10
    reaches n1 192.168.241.2
fi

step "an answer comes from the address that was contacted"
ip1 addr flush dev veth1
ip1 addr add 10.0.0.1/24 dev veth1
ip1 addr add 10.0.0.3/24 dev veth1
ip1 addr add fd00:aa::1/96 dev veth1 nodad
ip1 addr add fd00:aa::3/96 dev veth1 nodad
on_the_cable n2 10.0.0.1 10.0.0.3 fd00:aa::1 fd00:aa::3
for target in 10.0.0.1:1 "[fd00:aa::1]:1" 10.0.0.3:1 "[fd00:aa::3]:1"; do
    endpoint wg2 "$pub1" "$target"
    reaches n2 192.168.241.1
    expect "endpoint after a ping" "$(endpoint_of wg2 "$pub1")" "$target"
done

step "also when the address is on another interface"
ip1 link add dummy0 type dummy 2>/dev/null || ip1 link add dummy0 type veth peer name dummy1
ip1 addr add 10.50.0.1/24 dev dummy0
ip1 link set dummy0 up
ip2 route add 10.50.0.0/24 via 10.0.0.1
endpoint wg2 "$pub1" 10.50.0.1:1
reaches n2 192.168.241.1
expect "endpoint after a ping" "$(endpoint_of wg2 "$pub1")" 10.50.0.1:1
