#!/usr/bin/env bash
# With the kill switch no packet leaves the uplink but encrypted ones, also when the daemon is killed; `down` opens it again.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "the kill switch is rvpn's own"

link_ends
make_keys
start_daemon wg2 "$PEER" e2
wg set wg2 private-key <(echo "$key2") listen-port 2 peer "$pub1" allowed-ips 192.168.241.1/32,fd00::1/128
up e2 wg2 2
ip2 addr add 198.51.100.1/32 dev lo
ip2 addr add 2001:db8::1/128 dev lo
# A second cable, to a network that is trusted.
ip link add eth1 netns e1 type veth peer name eth2 netns e2
ip1 addr add 10.1.0.1/24 dev eth1
ip2 addr add 10.1.0.2/24 dev eth2
ip1 link set eth1 up
ip2 link set eth2 up
# Without a tunnel, all goes out by the uplink.
ip1 route add default via 10.0.0.2
ip1 -6 route add default via fd00:aa::2
n1 sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
# Behind e1, a machine for which it forwards.
ip netns add e3
ip link add lan1 netns e1 type veth peer name lan3 netns e3
ip1 addr add 10.3.0.1/24 dev lan1
ip -n e3 addr add 10.3.0.3/24 dev lan3
ip1 link set lan1 up
ip -n e3 link set lan3 up
ip -n e3 route add default via 10.3.0.1
ip2 route add 10.3.0.0/24 via 10.0.0.1

# The other side of the uplink counts: encrypted packets, neighbour discovery, and all else.
n2 nft -f - <<'NFT'
table inet count {
    chain uplink {
        type filter hook prerouting priority -400;
        iifname "veth2" udp dport 2 counter comment "encrypted"
        iifname "veth2" udp dport 2 return
        iifname "veth2" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } return
        iifname "veth2" counter comment "stray"
    }
}
NFT
count_of() { n2 nft list ruleset | sed -n "s/.*counter packets \([0-9]*\) .*\"$1\"/\1/p"; }

cat >"$world/wgq.conf" <<CONF
[Interface]
PrivateKey = $key1
Address = 192.168.241.1/32, fd00::1/128
#rvpn: TrustedInterfaces = eth1

[Peer]
PublicKey = $pub2
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = 10.0.0.2:2
CONF
chmod 600 "$world/wgq.conf"

# Tries to get out in every way; none of it may.
storm() {
    local address
    for address in 198.51.100.1 10.0.0.2 2001:db8::1 fd00:aa::2 192.168.241.2; do
        n1 ping -n -q -f -c 20 -W 0.2 "$address" >/dev/null 2>&1 || true
        n1 ping -n -q -f -c 20 -W 0.2 -I veth1 "$address" >/dev/null 2>&1 || true
    done
    for _ in {1..20}; do
        n1 socat -u - UDP-SENDTO:198.51.100.1:53 <<<x >/dev/null 2>&1 || true
        n1 socat -u - UDP-SENDTO:10.0.0.2:2 <<<x >/dev/null 2>&1 || true
    done
    n1 timeout 0.2 socat -u - TCP:198.51.100.1:80 <<<x >/dev/null 2>&1 || true
    nsenter --net=/run/netns/e3 ping -n -q -f -c 20 -W 0.2 10.0.0.2 >/dev/null 2>&1 || true
}

step "without the kill switch, all of it leaves"
storm
(($(count_of stray) > 100)) || fail "only $(count_of stray) packets are counted: the test proves nothing"

n1 "$IMPL" up --kill-switch "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
step "with it, the tunnel works, and so does what is trusted"
reaches n1 198.51.100.1
reaches n1 2001:db8::1
reaches n1 10.1.0.2
reaches n1 127.0.0.1

quiet() {
    local before encrypted
    before=$(count_of stray) encrypted=$(count_of encrypted)
    storm
    expect "stray packets $1" "$(($(count_of stray) - before))" 0
    step "$1: 0 stray packets, $(($(count_of encrypted) - encrypted)) encrypted ones"
}
quiet "while the daemon runs"

kill -KILL "$(pidof_daemon wgq)"
within 2 "the interface goes with its process" eval '! ip1 link show wgq'
before=$(count_of encrypted)
quiet "after the daemon was killed"
# The socket is gone: nobody has the mark any more.
expect "packets to the server's port" "$(count_of encrypted)" "$before"
reaches n1 10.1.0.2

step "down opens it again"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
expect "tables" "$(n1 nft list tables)" ""
reaches n1 10.0.0.2
