#!/usr/bin/env bash
# A device born in one namespace works in another: pings, exact counters, TCP and UDP, over IPv4 and IPv6 outside.
. "$(dirname "$0")/lib.sh"
isolate "$@"

build_tunnel no_endpoints
endpoint wg1 "$pub2" 127.0.0.1:2
endpoint wg2 "$pub1" 127.0.0.1:1

step "ten pings of 84 bytes count to the byte"
n2 ping -n -q -c 10 -f -W 1 192.168.241.1 >/dev/null
# 10 data messages of 84 bytes padded to 96 and 32 around them; a stray keepalive of 32 may be among them.
counted() { [[ $1 == "$2" || $1 == $(($2 + 32)) ]] || fail "$3: expected $2 (or one keepalive more), found $1"; }
counted "$(sent_by wg2 "$pub1")" 1428 "sent by the initiator (148 + 10 x 128)"
counted "$(received_by wg1 "$pub2")" 1428 "received by the responder"
counted "$(sent_by wg1 "$pub2")" 1372 "sent by the responder (92 + 10 x 128)"
counted "$(received_by wg2 "$pub1")" 1372 "received by the initiator"
[[ $(handshake_of wg1 "$pub2") != 0 && $(handshake_of wg2 "$pub1") != 0 ]] || fail "no time of the latest handshake"

for outside in IPv4 IPv6; do
    if [[ $outside == IPv6 ]]; then
        endpoint wg1 "$pub2" "[::1]:2"
        endpoint wg2 "$pub1" "[::1]:1"
    fi
    step "pings both ways, $outside outside"
    reaches_all
    for size in 0 1 15 16 17 1371 1372 1392; do
        n1 ping -n -q -c 1 -W 1 -s "$size" 192.168.241.2 >/dev/null || fail "no answer to a ping of $size bytes"
    done
    moves "TCP with IPv4 inside" n2 n1 192.168.241.2 1
    moves "TCP with IPv6 inside, other way" n1 n2 fd00::1 1
    moves "UDP at unlimited rate, IPv4 inside" n2 n1 192.168.241.2 1 -u -b 0 -l 1300
    moves "UDP at unlimited rate, IPv6 inside" n1 n2 fd00::1 1 -u -b 0 -l 1300
    step "still reachable after the flood"
    reaches_all
done
