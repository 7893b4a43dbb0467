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
if is_rvpn "$IMPL"; then
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

# wireguard-go keeps the source it once used.
if is_rvpn "$IMPL"; then
    step "when a better route by another interface comes up, its source is taken"
    # A second cable, and an address of the other end that either leads to.
    ip link add veth3 netns e1 type veth peer name veth4 netns e2
    ip1 addr add 10.1.0.1/24 dev veth3
    ip1 addr add fd00:bb::1/96 dev veth3 nodad
    ip2 addr add 10.1.0.2/24 dev veth4
    ip2 addr add fd00:bb::2/96 dev veth4 nodad
    ip1 link set veth3 up
    ip2 link set veth4 up
    ip2 addr add 10.9.9.2/32 dev lo
    ip2 addr add fd00:99::2/128 dev lo
    on_the_cable n1 10.1.0.2 fd00:bb::2
    ip1 route add 10.9.9.2 via 10.0.0.2 src 10.0.0.1 metric 100
    ip1 -6 route add fd00:99::2 via fd00:aa::2 src fd00:aa::1 metric 100
    for family in "10.9.9.2:2 10.0.0.1:1 10.1.0.1:1" "[fd00:99::2]:2 [fd00:aa::1]:1 [fd00:bb::1]:1"; do
        read -r target first second <<<"$family"
        endpoint wg1 "$pub2" "$target"
        reaches n1 192.168.241.2
        reaches n2 192.168.241.1
        expect "endpoint by the first route" "$(endpoint_of wg2 "$pub1")" "$first"
        if [[ $target == 10* ]]; then
            ip1 route add 10.9.9.2 via 10.1.0.2 src 10.1.0.1 metric 50
        else
            ip1 -6 route add fd00:99::2 via fd00:bb::2 src fd00:bb::1 metric 50
        fi
        moved() { n1 ping -n -q -c 1 -W 1 192.168.241.2 && [[ $(endpoint_of wg2 "$pub1") == "$second" ]]; }
        within 2 "the endpoint follows the route to $second" moved
    done
fi
