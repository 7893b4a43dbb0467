#!/usr/bin/env bash
# A peer that answers from a new address, port or family is followed at its first authenticated packet.
. "$(dirname "$0")/lib.sh"
isolate "$@"

build_tunnel
reaches_all
session=$(handshake_of wg2 "$pub1")

step "to another IPv4 address and port"
ip -4 addr del 127.0.0.1/8 dev lo
ip -4 addr add 127.212.121.99/8 dev lo
wg set wg1 listen-port 9999
endpoint wg1 "$pub2" 127.0.0.1:2
reaches n1 fd00::2
expect "endpoint seen" "$(endpoint_of wg2 "$pub1")" 127.212.121.99:9999
reaches n2 fd00::1

step "to IPv6"
wg set wg1 listen-port 9998
endpoint wg1 "$pub2" "[::1]:2"
reaches n1 192.168.241.2
expect "endpoint seen" "$(endpoint_of wg2 "$pub1")" "[::1]:9998"
reaches n2 192.168.241.1

step "without a new handshake"
expect "time of the latest handshake" "$(handshake_of wg2 "$pub1")" "$session"
