#!/usr/bin/env bash
# However many peers and allowed IPs there are, each is listed once and in its place; prefixes come and go without trace.
. "$(dirname "$0")/lib.sh"
isolate "$@"

make_keys
start_daemon wg1
wg set wg1 private-key <(echo "$key1")

# A configuration with one peer, whose prefixes are read, one a line: peer_with KEY
peer_with() { printf '[Peer]\nPublicKey = %s\n' "$1" && sed 's/^/AllowedIPs = /'; }
# The prefixes of a peer as they are shown, one a line.
shown() { wg show wg1 allowed-ips | awk -v key="$1" '$1 == key { for (i = 2; i <= NF; i++) print $i }'; }
# Keys that nobody has: 42 free base64 digits, one whose last two bits are 0, and the sign of the end.
new_keys() { head -c $(($1 * 63 / 2 + 1)) /dev/urandom | base64 -w 42 | head -n "$1" | sed 's/$/A=/'; }

step "one peer with 130,560 prefixes"
awk 'BEGIN {
    for (a = 1; a < 256; a++) for (b = 0; b < 256; b++) { printf "%d.%d.0.0/16\n", a, b; printf "%x::%x/128\n", a, b + 256 }
}' >"$world/many"
peer_with "$pub2" <"$world/many" >"$world/many.conf"
started=$(now_ms)
wg addconf wg1 "$world/many.conf"
set_ms=$(($(now_ms) - started)) started=$(now_ms)
wg show wg1 allowed-ips >"$world/shown"
step "one request with 130,560 prefixes: set in $set_ms ms, read in $(($(now_ms) - started)) ms"
expect "words of the listing" "$(wc -w <"$world/shown")" 130561
cmp <(sort "$world/many") <(shown "$pub2" | sort) || fail "what is listed is not what was set"
wg set wg1 peer "$pub2" remove

step "40 peers with 52 prefixes each"
mapfile -t keys < <(new_keys 40)
for ((peer = 0; peer < 40; peer++)); do
    for ((n = 0; n < 26; n++)); do printf '10.%d.%d.0/24\nfd00:%x:%x::/64\n' $peer $n $((peer + 1)) $((n + 1)); done >"$world/of.$peer"
    peer_with "${keys[peer]}" <"$world/of.$peer"
done >"$world/forty.conf"
wg addconf wg1 "$world/forty.conf"
expect "words of the listing" "$(wg show wg1 allowed-ips | wc -w)" $((40 * 53))
for ((peer = 0; peer < 40; peer++)); do
    expect "prefixes of peer $peer" "$(shown "${keys[peer]}" | sort)" "$(sort "$world/of.$peer")"
done

step "29 peers without prefixes, then one with two"
wg setconf wg1 <(printf '[Interface]\nPrivateKey = %s\n' "$key1")
expect "peers after they were all taken away" "$(wg show wg1 peers)" ""
new_keys 29 | sed 's/^/peer /' | xargs wg set wg1
wg set wg1 peer "$pub2" allowed-ips 192.168.2.3/32,abcd::1234/128
expect "words of the listing" "$(wg show wg1 allowed-ips | wc -w)" $((29 * 2 + 3))
expect "peers without a prefix" "$(wg show wg1 allowed-ips | grep -c '(none)')" 29

step "a peer without prefixes, then one with 197"
wg setconf wg1 <(printf '[Interface]\nPrivateKey = %s\n' "$key1")
{ read -r empty && read -r full; } < <(new_keys 2)
wg set wg1 peer "$empty"
for ((n = 1; n <= 197; n++)); do printf 'abcd::%x/128\n' $n; done >"$world/six"
wg addconf wg1 <(peer_with "$full" <"$world/six")
expect "prefixes of the first" "$(shown "$empty")" "(none)"
cmp <(sort "$world/six") <(shown "$full" | sort) || fail "what is listed is not what was set"

if is_rvpn "$IMPL"; then
    step "six of 394 prefixes are taken away, by their names"
    for ((n = 1; n <= 197; n++)); do echo "192.168.$n.0/24"; done >"$world/four"
    wg addconf wg1 <(cat "$world/four" "$world/six" | peer_with "$full")
    expect "prefixes before" "$(shown "$full" | wc -l)" 394
    gone=(192.168.1.0/24 192.168.100.0/24 192.168.197.0/24 abcd::1/128 abcd::64/128 abcd::c5/128)
    # The socket itself is asked: the sign needs a wg of 2025.
    {
        printf 'set=1\npublic_key=%s\n' "$(base64 -d <<<"$full" | od -An -v -tx1 | tr -d ' \n')"
        printf 'allowed_ip=-%s\n' "${gone[@]}" 10.0.0.0/8
        echo
    } | socat -t 5 - "UNIX-CONNECT:$(socket_of wg1)" >"$world/answer"
    expect "answer" "$(xargs <"$world/answer")" "errno=0"
    cmp <(cat "$world/four" "$world/six" | grep -vxF -f <(printf '%s\n' "${gone[@]}") | sort) <(shown "$full" | sort) ||
        fail "what is left is not the other 388"
fi

step "prefixes within each other are replaced, again and again"
for ((round = 0; round < 3; round++)); do
    for list in 0.0.0.0/0,10.0.0.0/8,10.0.0.0/10,10.0.0.0/12,10.0.0.0/14 0.0.0.0/0 \
        ::/0,a000::/5,a000::/23,a000::/42,a000::/119 ::/0; do
        wg set wg1 peer "$full" allowed-ips "$list"
        expect "prefixes after a replacement" "$(shown "$full" | sort)" "$(tr , '\n' <<<"$list" | sort)"
    done
done
wg set wg1 peer "$full" remove peer "$empty" remove
expect "peers at the end" "$(wg show wg1 peers)" ""

step "an interface that is not there is not shown"
refuse "a missing interface was shown" wg show wg9
refuse "a missing interface was shown" "$IMPL" show wg9
