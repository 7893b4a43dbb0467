#!/usr/bin/env bash
# A tunnel within a tunnel carries traffic, and leading the outer one into the inner one is harmless or mended at once.
#
# As in the kernel's test, the loop is closed when the inner device has no session, and ten pings must not become 70,000
# bytes. With a session on either side packets do go round, and grow until they are fragmented: neither device can tell the
# other's datagrams from those of a tunnel that is meant to be within it. (The kernel's driver inherits the limit of the
# stack it runs in.) They do so until the keys are too old, three minutes; what is asked here is that the daemons meanwhile
# answer, that their memory is bounded, and that the right endpoint ends it.
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

# The middle, where the sockets of wg1 are.
ip1 link set wg3 netns $$
ip addr add 192.168.241.1/24 dev wg3
ip link set wg3 up
within 7 "the inner tunnel works from the middle" ping -n -q -c 1 -W 1 192.168.241.2
flood() { ping -n -q -c 10 -f -W 1 192.168.241.2 >/dev/null; }
kilobytes_of() { sed -n 's/^VmRSS:\s*\([0-9]*\) kB/\1/p' "/proc/${pid_of[$1]}/status"; }

step "the outer endpoint is led into the inner tunnel, with sessions"
declare -A before
for name in wg1 wg3; do before[$name]=$(kilobytes_of $name); done
endpoint wg1 "$outer_pub2" 192.168.241.2:7
# The other end lives, and one packet of it is enough to be followed to its right place: an answer is no fault.
flood || true
for _ in 1 2 3 4 5; do
    timeout 2 wg show all dump >/dev/null || fail "no answer to wg show while packets go round"
done
for name in wg1 wg3; do
    grown=$(($(kilobytes_of $name) - ${before[$name]}))
    ((grown < 32768)) || fail "$name took $grown KiB while packets went round"
done
endpoint wg1 "$outer_pub2" 127.0.0.1:2
within 7 "the right endpoint is used again" ping -n -q -c 1 -W 1 192.168.241.2
quiet() { local sent; sent=$(sent_by wg3 "$pub2") && seconds_pass 1 && (($(sent_by wg3 "$pub2") - sent < 1000)); }
within 5 "nothing goes round any more" quiet

step "the same without a session, and nobody answers"
ip2 link del wg2
ip2 link del wg4
ip link set wg3 down
endpoint wg1 "$outer_pub2" 192.168.241.2:7
ip link set wg3 up
sent=$(sent_by wg3 "$pub2")
refuse "a ping found its way out of a loop" flood
# What the loop carries, it carries on: a second is long.
seconds_pass 1
grown=$(($(sent_by wg3 "$pub2") - sent))
((grown < 70000)) || fail "ten pings became $grown bytes in the loop"
step "ten pings became $grown bytes"
for name in wg1 wg3; do alive "${pid_of[$name]}" || fail "the daemon of $name ended"; done
