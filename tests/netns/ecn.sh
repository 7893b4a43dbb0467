#!/usr/bin/env bash
# Handshakes are marked DSCP AF41, data carries no DSCP, and ECN is copied out and combined in.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || is_driver "$IMPL" || skip "${IMPL##*/} marks nothing"

build_tunnel no_endpoints
# Counters on the outer packets, by the type of the message (first byte of the UDP payload) and the DS byte.
nft -f - <<'NFT'
table inet outer {
    counter handshakes {}
    counter unmarked_handshakes {}
    counter marked_data {}
    counter ect0 {}
    counter plain {}
    chain out {
        type filter hook output priority 0
        oifname != "lo" return
        udp dport != { 1, 2 } return
        @th,64,8 { 1, 2 } ip dscp af41 counter name handshakes return
        @th,64,8 { 1, 2 } ip6 dscp af41 counter name handshakes return
        @th,64,8 { 1, 2 } counter name unmarked_handshakes return
        ip dscp != cs0 counter name marked_data
        ip6 dscp != cs0 counter name marked_data
        ip ecn ect0 counter name ect0
        ip6 ecn ect0 counter name ect0
        ip ecn not-ect counter name plain
        ip6 ecn not-ect counter name plain
    }
}
NFT
packets() { grep -o '"packets": [0-9]*' | grep -o '[0-9]*'; }
count() { nft -j list counter inet outer "$1" | packets; }

for outside in 127.0.0.1 "[::1]"; do
    step "outside over $outside"
    # A new private key makes new handshakes.
    wg set wg1 private-key <(wg genkey)
    wg set wg1 private-key <(echo "$key1")
    nft reset counters >/dev/null
    endpoint wg1 "$pub2" "$outside:2"
    endpoint wg2 "$pub1" "$outside:1"
    reaches n1 192.168.241.2
    (($(count handshakes) >= 2)) || fail "$(count handshakes) handshake messages with DSCP AF41"
    expect "handshake messages without DSCP AF41" "$(count unmarked_handshakes)" 0
    expect "data with ECT(0) before any was sent" "$(count ect0)" 0
    (($(count plain) >= 2)) || fail "no data seen"

    # DS byte of the inner packet: DSCP EF (0xb8) with ECT(0) (0x02). Both the request and the reply carry it.
    n1 ping -n -q -c 3 -i 0.05 -W 1 -Q 0xba 192.168.241.2 >/dev/null
    expect "data with ECT(0)" "$(count ect0)" 6
    n1 ping -n -q -c 3 -i 0.05 -W 1 -Q 0xba fd00::2 >/dev/null
    (($(count ect0) >= 9)) || fail "ECN of inner IPv6 is not copied out: $(count ect0)"
    expect "data whose DSCP shows the inner one" "$(count marked_data)" 0
done

step "congestion met outside is told inside"
nft -f - <<'NFT'
table inet congested {
    counter marked {}
    chain out {
        type route hook output priority 10
        udp dport 2 ip6 ecn ect0 counter name marked ip6 ecn set ce
    }
}
NFT
n2 nft -f - <<'NFT'
table inet inner {
    counter ce {}
    counter ect0 {}
    chain in {
        type filter hook input priority 0
        iifname "wg2" ip ecn ce counter name ce
        iifname "wg2" ip ecn ect0 counter name ect0
    }
}
NFT
n1 ping -n -q -c 3 -i 0.05 -W 1 -Q 0x02 192.168.241.2 >/dev/null
inner() { n2 nft -j list counter inet inner "$1" | packets; }
expect "outer packets marked on the way" "$(nft -j list counter inet congested marked | packets)" 3
expect "inner packets with CE" "$(inner ce)" 3
expect "inner packets left at ECT(0)" "$(inner ect0)" 0
