#!/usr/bin/env bash
# Under a flood of initiations a device asks for a cookie, and the other implementation's handshake completes with it.
. "$(dirname "$0")/../netns/lib.sh"
isolate "$@"
flood=${CARGO_TARGET_DIR:-$root/target}/release/examples/flood
[[ -x $flood ]] || fail "no $flood: run 'cargo build --release --examples'"

build_tunnel no_endpoints
# Types of messages by the first byte of the UDP payload; mac2 is the last 16 bytes of an initiation.
nft -f - <<'NFT'
table inet outer {
    counter cookies {}
    counter cookies_for_peer {}
    counter with_mac2 {}
    chain out {
        type filter hook output priority 0
        udp sport 1 @th,64,8 3 counter name cookies
        udp sport 1 udp dport 2 @th,64,8 3 counter name cookies_for_peer
        udp sport 2 udp dport 1 @th,64,8 1 @th,1120,64 != 0 counter name with_mac2
    }
}
NFT
count() { nft -j list counter inet outer "$1" | grep -o '"packets": [0-9]*' | grep -o '[0-9]*'; }
more_than() { (($(count "$1") > $2)); }

step "${IMPL##*/} is flooded and asks for cookies"
ip addr add 10.2.0.1/32 dev lo
ip route add local 10.1.0.0/16 dev lo
# As many as go, 2,000 at once: its queue is to be longer than 512 messages.
"$flood" "$pub1" 10.2.0.1:1 10.1.0.0 100000 2000 280 >"$world/flood.log" 2>&1 9>&- </dev/null &
flooding=$!
within 10 "a cookie reply" more_than cookies 0

step "${PEER##*/} begins, is asked for a cookie, and completes with it"
endpoint wg2 "$pub1" 127.0.0.1:1
handshaken() { [[ $(handshake_of wg2 "$pub1") != 0 ]]; }
exec_in e2 ping -n -q -i 1 -c 60 192.168.241.1 >/dev/null 2>&1 9>&- &
pinger=$!
within 25 "a handshake under the flood" handshaken
alive "$flooding" || fail "the flood ended early: $(tail -n 1 "$world/flood.log")"
step "cookie replies:: $(count cookies), of them for ${PEER##*/} $(count cookies_for_peer), its initiations with mac2 $(count with_mac2)"
more_than cookies_for_peer 0 || fail "the handshake completed without a cookie"
more_than with_mac2 0 || fail "the handshake completed without mac2"

step "when the flood ends, all is as before"
kill "$flooding" "$pinger"
wait "$flooding" "$pinger" || true
reaches_all
