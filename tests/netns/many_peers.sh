#!/usr/bin/env bash
# 20,000 peers set in one request are read back equal, while a ping through another peer loses nothing.
. "$(dirname "$0")/lib.sh"
isolate "$@"

peers=20000
build_tunnel
reaches_all

# A valid key is 42 free base64 digits, one whose last two bits are 0, and the sign of the end.
head -c $((peers * 63 / 2)) /dev/urandom | base64 -w 42 | sed "s/\$/A=/" >"$world/keys"
awk '{
    a = int(NR / 65536); b = int(NR / 256) % 256; c = NR % 256
    printf "[Peer]\nPublicKey = %s\nAllowedIPs = 10.%d.%d.%d/32, fd07::%x/128\n\n", $1, a, b, c, NR
}' "$world/keys" >"$world/many.conf"
awk '{
    a = int(NR / 65536); b = int(NR / 256) % 256; c = NR % 256
    printf "%s 10.%d.%d.%d/32\n%s fd07::%x/128\n", $1, a, b, c, $1, NR
}' "$world/keys" | sort >"$world/expected"

start_pinging e1 192.168.241.2
started=$(now_ms)
wg addconf wg1 "$world/many.conf"
set_ms=$(($(now_ms) - started))
started=$(now_ms)
wg show wg1 allowed-ips >"$world/found.raw"
get_ms=$(($(now_ms) - started))
if is_rvpn "$IMPL"; then
    stop_pinging "while $peers peers are set and read"
else
    kill "$pinger"
fi
step "one request with $peers peers: set in $set_ms ms, read in $get_ms ms"

awk -v other="$pub2" '$1 != other { for (i = 2; i <= NF; i++) print $1, $i }' "$world/found.raw" | sort >"$world/found"
cmp "$world/expected" "$world/found" || fail "what is read back is not what was set"

if is_rvpn "$IMPL"; then
    wg showconf wg1 >"$world/all.conf"
    start_pinging e1 192.168.241.2
    wg syncconf wg1 "$world/all.conf"
    stop_pinging "while $peers unchanged peers are synchronised"

    start_pinging e1 192.168.241.2
    started=$(now_ms)
    "$IMPL" metrics wg1 >"$world/metrics"
    step "the metrics of $peers peers: $(($(wc -c <"$world/metrics") / 1000000)) MB in $(($(now_ms) - started)) ms"
    stop_pinging "while they are read"
    expect "peers in the metrics" "$(grep -c '^rvpn_peer_receive_bytes_total{' "$world/metrics")" $((peers + 1))
fi

step "2,000 of them removed by name"
head -n 2000 "$world/keys" | awk '{ print "peer", $1, "remove" }' | xargs wg set wg1
expect "peers left" "$(wg show wg1 peers | wc -l)" $((peers - 2000 + 1))
reaches_all
