#!/usr/bin/env bash
# After a change of the private key both ends shake hands at once with the new one.
. "$(dirname "$0")/lib.sh"
isolate "$@"

build_tunnel
reaches n1 192.168.241.2

step "a new private key, and the peer swapped in one command"
new_key=$(wg genkey)
new_pub=$(wg pubkey <<<"$new_key")
wg set wg1 private-key <(echo "$new_key")
wg set wg2 peer "$new_pub" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32,fd00::1/128 peer "$pub1" remove
reaches n1 192.168.241.2
reaches n2 192.168.241.1

step "and back, then a new pre-shared key for the next handshake"
wg set wg1 private-key <(echo "$key1")
wg set wg2 peer "$pub1" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32,fd00::1/128 peer "$new_pub" remove
reaches n1 192.168.241.2
wg set wg1 peer "$pub2" preshared-key <(wg genpsk)
reaches n1 192.168.241.2
