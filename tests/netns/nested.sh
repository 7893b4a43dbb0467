#!/usr/bin/env bash
# A tunnel within a tunnel carries traffic, and when the outer one is led into the inner one, the loop stops by itself.
. "$(dirname "$0")/lib.sh"
isolate "$@"

# Outside wg1 and wg2, which carry addresses of link scope alone, as the kernel's; inside wg3 and wg4, whose sockets are
# at the ends.
build_tunnel no_endpoints
endpoint wg1 "$pub2" 127.0.0.1:2
endpoint wg2 "$pub1" 127.0.0.1:1
wg set wg1 peer "$pub2" allowed-ips ::/0
wg set wg2 peer "$pub1" allowed-ips ::/0
for side in 1 2; do
    ip -n e$side addr flush dev wg$side
    ip -n e$side addr add fe80::$side/64 dev wg$side nodad
done
outer_pub2=$pub2
make_keys
start_daemon wg3 "$IMPL" e1
start_daemon wg4 "$PEER" e2
ip1 link set wg3 mtu 1340
ip2 link set wg4 mtu 1340
configure_pair wg3 wg4 3 4
# Where the interface that an address is on has its name.
n1 wg set wg3 peer "$pub2" endpoint "[fe80::2%wg1]:4"
n2 wg set wg4 peer "$pub1" endpoint "[fe80::1%wg2]:3"
up e1 wg3 1
up e2 wg4 2

step "traffic in both"
reaches_all
moves "TCP, IPv4 inside" n2 n1 192.168.241.2 1
moves "TCP, IPv6 inside, other way" n1 n2 fd00::1 1
moves "UDP at unlimited rate" n2 n1 192.168.241.2 1 -u -b 0
reaches_all

step "the outer endpoint is led into the inner tunnel, and nobody answers"
# The middle, where the sockets of wg1 are.
ip1 link set wg3 netns $$
ip addr add 192.168.241.1/24 dev wg3
ip link set wg3 up
endpoint wg1 "$outer_pub2" 192.168.241.2:7
ip2 link del wg2
ip2 link del wg4
before=$(sent_by wg3 "$pub2")
refuse "a ping found its way out of a loop" ping -n -q -c 10 -f -W 1 192.168.241.2
# What the loop carries, it carries on: a second is long.
seconds_pass 1
grown=$(($(sent_by wg3 "$pub2") - before))
((grown < 70000)) || fail "ten pings became $grown bytes in the loop"
step "ten pings became $grown bytes"
for name in wg1 wg3; do alive "${pid_of[$name]}" || fail "the daemon of $name ended"; done
