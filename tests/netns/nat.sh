#!/usr/bin/env bash
# Behind NAT a persistent keepalive keeps the way open; marked, bound and translated packets go where they should.
#
# The kernel's test expects the ICMP error of a removed peer from the router's own address. What comes in by a TUN device
# has the source its writer gave it; that an error arrives at the host behind NAT, with what it is about, is what counts.
. "$(dirname "$0")/lib.sh"
isolate "$@"

#  e1 (client)                the middle (router)                   e2 (server)
#  veth1 192.168.1.100 ---- 192.168.1.1  NAT  10.0.0.1 ---- veth2 10.0.0.100
#  wg1 192.168.241.1                                         wg2 192.168.241.2
ip link add veth1 netns e1 type veth peer name router1
ip link add veth2 netns e2 type veth peer name router2
ip addr add 192.168.1.1/24 dev router1
ip addr add 10.0.0.1/24 dev router2
ip link set router1 up
ip link set router2 up
ip1 addr add 192.168.1.100/24 dev veth1
ip1 link set veth1 up
ip1 route add default via 192.168.1.1
ip2 addr add 10.0.0.100/24 dev veth2
ip2 link set veth2 up
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<'NFT'
table ip nat {
    chain out {
        type nat hook postrouting priority 100
        ip saddr 192.168.1.0/24 ip daddr 10.0.0.0/24 snat to 10.0.0.1
    }
}
NFT
# The way back is forgotten after two seconds without a packet.
for timeout in udp_timeout udp_timeout_stream; do echo 2 >/proc/sys/net/netfilter/nf_conntrack_$timeout; done
on_the_cable n1 10.0.0.100

make_keys
start_daemon wg1 "$IMPL" e1
start_daemon wg2 "$PEER" e2
configure_pair wg1 wg2 1 2 endpoint 10.0.0.100:2
up e1 wg1 1
up e2 wg2 2

step "both ways through NAT"
reaches n1 192.168.241.2
reaches n2 192.168.241.1
expect "endpoint seen by the server" "$(endpoint_of wg2 "$pub1")" 10.0.0.1:1

step "with a persistent keepalive the way back stays open"
# Three intervals of it are longer than the router's memory.
wg set wg1 peer "$pub2" persistent-keepalive 1
kept=$(($(received_by wg2 "$pub1") + 3 * 32))
within 6 "three keepalives arrive" eval '(($(received_by wg2 "$pub1") >= kept))'
reaches n2 192.168.241.1

step "without it the way back is forgotten"
wg set wg1 peer "$pub2" persistent-keepalive 0
seconds_pass 3
refuse "a ping came through a way that is forgotten" n2 ping -n -q -c 1 -W 0.5 192.168.241.1
reaches n1 192.168.241.2
reaches n2 192.168.241.1

step "bound to the interface, and marked on the way out"
n1 ping -n -q -I wg1 -c 1 -W 1 192.168.241.2 >/dev/null || fail "no answer to a ping bound to wg1"
# A mark that is set on output makes the kernel look up the route again.
n1 nft -f - <<'NFT'
table ip mangle {
    chain out {
        type route hook output priority -150
        meta mark set 1
    }
}
NFT
n1 ping -n -q -c 1 -W 1 192.168.241.2 >/dev/null || fail "no answer to a ping that is marked"
n1 ping -n -q -I wg1 -c 1 -W 1 192.168.241.2 >/dev/null || fail "no answer to a ping that is marked and bound to wg1"
n1 nft delete table ip mangle

step "a host behind NAT is told that the peer is gone"
is_rvpn "$PEER" || exit 0
# The server translates for the router, which is the third host here.
echo 1 | n2 tee /proc/sys/net/ipv4/ip_forward >/dev/null
n2 nft -f - <<'NFT'
table ip nat {
    chain out {
        type nat hook postrouting priority 100
        ip saddr 10.0.0.0/24 ip daddr 192.168.241.1 snat to 192.168.241.2
    }
}
NFT
ip route add 192.168.241.1 via 10.0.0.100
ping -n -q -c 1 -W 1 192.168.241.1 >/dev/null || fail "no answer through NAT and tunnel"
wg set wg2 peer "$pub1" remove
answer=$(ping -n -c 1 -W 2 192.168.241.1 2>&1 || true)
[[ $answer == *"Unreachable"* ]] || fail "no ICMP error through NAT: $answer"
