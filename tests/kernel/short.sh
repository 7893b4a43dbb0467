#!/usr/bin/env bash
# rvpn and the driver, each beginning: with a pre-shared key, IPv4 and IPv6 outside, data both ways, both roaming.
. "$(dirname "$0")/../netns/lib.sh"
isolate "$@"

make_keys
start_daemon wg1 "$IMPL"
start_daemon wg2 "$PEER"
move wg1 e1
move wg2 e2
for name in 1 2; do up "e$name" "wg$name" "$name"; done

# Makes each end forget its peer, so that the next packet begins a session, and tells only device $1 where the other is.
# One request for each end: an emulated machine starts programs slowly.
afresh() {
    local to1=() to2=()
    if [[ $1 == wg1 ]]; then to1=(endpoint "$2:2"); else to2=(endpoint "$2:1"); fi
    wg set wg1 private-key <(echo "$key1") listen-port 1 peer "$pub2" remove \
        peer "$pub2" preshared-key <(echo "$psk") allowed-ips 192.168.241.2/32,fd00::2/128 "${to1[@]}"
    wg set wg2 private-key <(echo "$key2") listen-port 2 peer "$pub1" remove \
        peer "$pub1" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32,fd00::1/128 "${to2[@]}"
}

for outside in 127.0.0.1 "[::1]"; do
    step "${IMPL##*/} begins, ${PEER##*/} answers, outside over $outside"
    afresh wg1 "$outside"
    reaches n1 192.168.241.2
    reaches n2 fd00::1
    transfer TCP4 n2 n1 192.168.241.2 300000
    [[ $outside == *.* ]] || transfer UDP6 n1 n2 fd00::1 50000

    step "${PEER##*/} begins, ${IMPL##*/} answers, outside over $outside"
    afresh wg2 "$outside"
    reaches n2 192.168.241.1
    reaches n1 fd00::2
    transfer TCP6 n1 n2 fd00::1 300000
    [[ $outside == *.* ]] || transfer UDP4 n2 n1 192.168.241.2 50000
done

step "${IMPL##*/} roams to another port, ${PEER##*/} follows"
session=$(handshake_of wg2 "$pub1")
wg set wg1 listen-port 9999
reaches n1 192.168.241.2
expect "endpoint seen" "$(endpoint_of wg2 "$pub1")" "[::1]:9999"
reaches n2 fd00::1

step "${PEER##*/} roams to another port, ${IMPL##*/} follows"
wg set wg2 listen-port 9998
reaches n2 192.168.241.1
expect "endpoint seen" "$(endpoint_of wg1 "$pub2")" "[::1]:9998"
reaches n1 fd00::2
expect "time of the latest handshake" "$(handshake_of wg2 "$pub1")" "$session"
