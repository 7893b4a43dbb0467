#!/usr/bin/env bash
# A way that is narrower in its middle than the tunnel's packets carries them all the same, in fragments, over both families.
#
# The outer packets may be fragmented: over IPv4 the router does it, over IPv6 our own kernel once the router has told it.
#
#     namespace e1                     namespace r                     namespace e2
#     wg1 : 1 --- 10.0.1.0/24, 1500 --- router --- 10.0.2.0/24, 1300 --- wg2 : 2
. "$(dirname "$0")/lib.sh"
isolate "$@"

ip netns add r
ip -n r link set lo up
nsenter --net=/run/netns/r -- sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
for n in 1 2; do
    ip link add "veth$n" netns "e$n" type veth peer name "to$n" netns r
    ip -n "e$n" addr add "10.0.$n.2/24" dev "veth$n"
    ip -n "e$n" addr add "fd00:$n::2/64" dev "veth$n" nodad
    ip -n r addr add "10.0.$n.1/24" dev "to$n"
    ip -n r addr add "fd00:$n::1/64" dev "to$n" nodad
    ip -n "e$n" link set "veth$n" up
    ip -n r link set "to$n" up
    ip -n "e$n" route add default via "10.0.$n.1"
    ip -n "e$n" -6 route add default via "fd00:$n::1"
done
ip2 link set veth2 mtu 1300
ip -n r link set to2 mtu 1300
on_the_cable n1 10.0.2.2 fd00:2::2
on_the_cable n2 10.0.1.2 fd00:1::2

make_keys
start_daemon wg1 "$IMPL" e1
start_daemon wg2 "$PEER" e2
configure_pair
up e1 wg1 1
up e2 wg2 2

# A full packet that must not be split inside, each way.
passes_whole() {
    n1 ping -n -q -c 1 -W 0.5 -M do -s 1392 192.168.241.2 && n2 ping -n -q -c 1 -W 0.5 -M do -s 1392 192.168.241.1
}
for outer in "10.0.1.2 10.0.2.2" "[fd00:1::2] [fd00:2::2]"; do
    read -r from to <<<"$outer"
    step "to $to"
    endpoint wg1 "$pub2" "$to:2"
    endpoint wg2 "$pub1" "$from:1"
    reaches n1 192.168.241.2
    within 3 "full packets pass both ways" passes_whole
    there=$(stream n2 n1 192.168.241.2 1)
    back=$(stream n1 n2 192.168.241.1 1)
    step "TCP: $there Mbit/s, back $back Mbit/s, in fragments"
    ((${there%.*} > 0 && ${back%.*} > 0)) || fail "no data passes"
done
if is_rvpn "$IMPL"; then
    refuse "a narrow path ended segmented sends" grep -q "refused a segmented send" "$world/wg1.log" "$world/wg2.log"
fi
