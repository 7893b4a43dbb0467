#!/usr/bin/env bash
# A way that is narrower in its middle than the tunnel's packets carries them all the same, in fragments, over both families.
#
# The outer packets may be fragmented: over IPv4 the router does it, over IPv6 our own kernel once the router has told it.
# Where our kernel knows that the way is narrow, rvpn tells the senders within the tunnel too, and carries their packets all
# the same; so in the end TCP makes its segments fit, and fills the tunnel where fragments are dropped.
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
    # The first one is carried whatever is known; a sender that was told does not send another.
    is_rvpn "$IMPL" || within 3 "full packets pass both ways" passes_whole
    there=$(stream n2 n1 192.168.241.2 1)
    back=$(stream n1 n2 192.168.241.1 1)
    step "TCP: $there Mbit/s, back $back Mbit/s, in fragments"
    ((${there%.*} > 0 && ${back%.*} > 0)) || fail "no data passes"
done
is_rvpn "$IMPL" || exit 0

refuse "a narrow path ended segmented sends" grep -q "refused a segmented send" "$world/wg1.log" "$world/wg2.log"

step "the router drops fragments from here on"
nsenter --net=/run/netns/r -- nft -f - <<-end
	table inet fragments {
	    chain forward {
	        type filter hook forward priority 0;
	        ip frag-off & 0x3fff != 0 counter drop
	        exthdr frag exists counter drop
	    }
	}
end
# What the kernels remember of the ways is forgotten: the narrow one has to be found while fragments vanish.
for n in 1 2; do
    ip -n "e$n" route flush cache
    ip -n "e$n" -6 route flush cache
done
# Over IPv6 the router tells both ends; over IPv4 it fragments what comes from e1 itself, and e2 sees the narrow link.
there=$(stream n2 n1 192.168.241.2 4)
back=$(stream n1 n2 192.168.241.1 4)
step "TCP over IPv6: $there Mbit/s, back $back Mbit/s"
((${there%.*} >= 10 && ${back%.*} >= 10)) || fail "TCP does not find the way's length"
expect "the length told at e1" "$(n1 ip -o route get 192.168.241.2 | grep -oE 'mtu [0-9]+')" "mtu 1216"
endpoint wg2 "$pub1" "10.0.1.2:1"
endpoint wg1 "$pub2" "10.0.2.2:2"
# At both ends: the one that was told would ask for short segments.
for n in 1 2; do
    ip -n "e$n" route flush cache
done
reaches n2 192.168.241.1
back=$(stream n1 n2 192.168.241.1 4)
step "TCP over IPv4, from the narrow end: $back Mbit/s"
((${back%.*} >= 10)) || fail "TCP does not find the way's length"
expect "the length told at e2" "$(n2 ip -o route get 192.168.241.1 | grep -oE 'mtu [0-9]+')" "mtu 1232"
