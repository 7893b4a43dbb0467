#!/usr/bin/env bash
# Stock wg-quick brings up a full tunnel (0.0.0.0/0, ::/0) by this program, and its `down` leaves nothing.
. "$(dirname "$0")/lib.sh"
isolate "$@"

# The client is e1, and its wg-quick runs there; the server's socket is in e2, on the other end of the cable, and its
# interface too. 198.51.100.1 and 2001:db8::1 are "the internet", reached through the server alone.
link_ends
make_keys
start_daemon wg2 "$PEER" e2
wg set wg2 private-key <(echo "$key2") listen-port 2 peer "$pub1" preshared-key <(echo "$psk") \
    allowed-ips 192.168.241.1/32,fd00::1/128
up e2 wg2 2
ip2 addr add 198.51.100.1/32 dev lo
ip2 addr add 2001:db8::1/128 dev lo
ip1 route add default via 10.0.0.77
ip1 -6 route add default via fd00:aa::77

# Everything that wg-quick touches.
state_of_client() {
    ip1 -o link show | cut -d: -f2
    ip1 -4 rule show
    ip1 -6 rule show
    ip1 -4 route show table all | sort
    ip1 -6 route show table all | sort
    n1 nft list ruleset
    ls /run/wireguard
}

for outside in 10.0.0.2 "[fd00:aa::2]"; do
    cat >"$world/wgq.conf" <<CONF
[Interface]
PrivateKey = $key1
Address = 192.168.241.1/32, fd00::1/128

[Peer]
PublicKey = $pub2
PresharedKey = $psk
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = $outside:2
PersistentKeepalive = 25
CONF
    chmod 600 "$world/wgq.conf"
    state_of_client >"$world/before"

    step "wg-quick up, server at $outside"
    WG_QUICK_USERSPACE_IMPLEMENTATION=$IMPL n1 wg-quick up "$world/wgq.conf" >"$world/wg-quick.log" 2>&1 9>&- </dev/null ||
        fail "wg-quick up failed with status $?"
    [[ -S $(socket_of wgq) ]] || fail "no socket: wg-quick used something else"
    [[ $(wg show wgq fwmark) != off ]] || fail "no firewall mark"
    reaches n1 192.168.241.2
    reaches n1 fd00::2
    reaches n1 198.51.100.1
    reaches n1 2001:db8::1
    n1 ping -n -q -c 100 -f -W 1 198.51.100.1 >/dev/null || fail "a flood of pings got no answer"
    n1 ping -n -q -c 100 -f -W 1 2001:db8::1 >/dev/null || fail "a flood of pings got no answer"
    shown=$(wg show wgq)
    [[ $shown == *"latest handshake:"* ]] || fail "wg show has no handshake: $shown"
    [[ $shown == *"transfer:"* ]] || fail "wg show has no counters: $shown"
    (($(sent_by wgq "$pub2") > 0 && $(received_by wgq "$pub2") > 0)) || fail "the counters stand at 0"

    step "wg-quick down leaves nothing"
    n1 wg-quick down "$world/wgq.conf" >>"$world/wg-quick.log" 2>&1 9>&- </dev/null || fail "wg-quick down failed with status $?"
    within 1 "the socket is gone" eval '[[ ! -e $(socket_of wgq) ]]'
    # The kernel lets go of an interface a little after its process did.
    for _ in {1..50}; do
        state_of_client >"$world/after"
        ! cmp -s "$world/before" "$world/after" || break
        sleep 0.02
    done
    diff "$world/before" "$world/after" || fail "wg-quick down left something, or took too much"
done
