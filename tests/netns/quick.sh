#!/usr/bin/env bash
# `rvpn up` and `down` do what stock wg-quick does: the same addresses, routes, rules and packet filters, and nothing left.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "up and down are rvpn's own"

link_ends
make_keys
ip1 route add default via 10.0.0.77
ip1 -6 route add default via fd00:aa::77

# Names of tables differ; so do the TUN's flags and the number of its index.
state_of_client() {
    ip1 -o link show | awk '{ print $2, $5 }'
    ip1 -o addr show | awk '{ $1 = ""; print }' | grep -v 'inet6 fe80:' || true
    ip1 -4 rule show
    ip1 -6 rule show
    ip1 -4 route show table all | sort
    # Link-local addresses are random, and come and go in their own time.
    ip1 -6 route show table all | sed '/fe80:\|ff00::\/8/d' | sort
    # wg-quick protects that address too.
    n1 nft list ruleset | sed 's/rvpn-\|wg-quick-/NAME-/; /daddr fe80:/d'
    n1 cat /proc/sys/net/ipv4/conf/all/src_valid_mark
    # Keys, peers, MTU.
    if [[ -S $(socket_of wgq) ]]; then
        wg showconf wgq | sed /ListenPort/d
        ip1 -o link show wgq | grep -o 'mtu [0-9]*'
    fi
    { find /run/wireguard /run/rvpn 2>/dev/null || true; } | sort
}

write_file() {
    printf '[Interface]\nPrivateKey = %s\n%s\n[Peer]\nPublicKey = %s\nAllowedIPs = %s\nEndpoint = 10.0.0.2:2\n' \
        "$key1" "$1" "$pub2" "$2" >"$world/wgq.conf"
    chmod 600 "$world/wgq.conf"
}

# The interface is gone a little after its process, and the other way round.
settles_as() {
    for _ in {1..100}; do
        state_of_client >"$world/now"
        ! diff "$world/$1" "$world/now" >"$world/diff" || return 0
        sleep 0.02
    done
    cat "$world/diff"
    return 1
}

state_of_client >"$world/before"
mkdir -p /run/wireguard
before_both() { n1 sysctl -q net.ipv4.conf.all.src_valid_mark=0; }

compare() {
    local what=$1
    write_file "$2" "$3"
    step "$what"
    before_both
    state_of_client >"$world/before"
    WG_QUICK_USERSPACE_IMPLEMENTATION=$IMPL n1 wg-quick up "$world/wgq.conf" >"$world/wg-quick.log" 2>&1 9>&- </dev/null ||
        fail "$what: wg-quick up failed"
    state_of_client >"$world/theirs"
    n1 wg-quick down "$world/wgq.conf" >>"$world/wg-quick.log" 2>&1 9>&- </dev/null || fail "$what: wg-quick down failed"
    # wg-quick leaves this one.
    before_both
    settles_as before || fail "$what: wg-quick down left something"

    n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "$what: rvpn up failed: $(cat "$world/rvpn.log")"
    grep -v '/run/rvpn' "$world/theirs" >"$world/theirs.short"
    for _ in {1..50}; do
        state_of_client | grep -v '/run/rvpn' >"$world/ours"
        ! cmp -s "$world/theirs.short" "$world/ours" || break
        sleep 0.02
    done
    diff "$world/theirs.short" "$world/ours" || fail "$what: up differs (< wg-quick, > rvpn)"
    n1 "$IMPL" down "$world/wgq.conf" >>"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "$what: rvpn down failed: $(cat "$world/rvpn.log")"
    settles_as before || fail "$what: down left something, or took too much"
}

compare "some networks" "Address = 192.168.241.1/24, fd00::1/112" "192.168.241.0/24, 10.7.0.0/16, fd00::/112, fd07::/64"
compare "single addresses" "Address = 192.168.241.1" "192.168.241.1/32, 192.168.241.2/32, fd00::2/128"
compare "everything" "Address = 192.168.241.1/32, fd00::1/128" "0.0.0.0/0, ::/0"
compare "everything of IPv4, with networks" "Address = 192.168.241.1/24, 192.168.242.1/24" "0.0.0.0/0, 10.0.0.0/8"
compare "everything, with a mark of the file" "Address = 192.168.241.1/32"$'\n'"FwMark = 0x64" "0.0.0.0/0"
compare "an MTU and a table of the file" "Address = 192.168.241.1/32"$'\n'"MTU = 1400"$'\n'"Table = 1234" "0.0.0.0/0, ::/0, 10.7.0.0/16"
compare "no routes" "Address = 192.168.241.1/24"$'\n'"Table = off" "0.0.0.0/0, ::/0"
ip1 route add 192.0.2.0/24 dev lo table 51820
ip1 link set veth1 mtu 1400
compare "a table that is taken, and a smaller way" "Address = 192.168.241.1/24" "0.0.0.0/0"
ip1 link set veth1 mtu 1500

step "strip and save write what wg-quick writes"
hooks=$'PreUp = true\nPostUp = echo "%i   up" >'"$world/hook"$'\nPostDown = echo "%i down" >>'"$world/hook"$'\nMTU = 1400\nTable = auto'
write_file $'  Address = 192.168.241.1/24 # mine\n'"$hooks" "10.7.0.0/16"
diff <(wg-quick strip "$world/wgq.conf") <("$IMPL" strip "$world/wgq.conf") || fail "strip differs"
n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "rvpn up failed: $(cat "$world/rvpn.log")"
wg set wgq peer "$pub2" persistent-keepalive 25
cp "$world/wgq.conf" "$world/kept"
n1 wg-quick save "$world/wgq.conf" >>"$world/rvpn.log" 2>&1 9>&-
cp "$world/wgq.conf" "$world/theirs"
cp "$world/kept" "$world/wgq.conf"
n1 "$IMPL" save wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "save failed: $(cat "$world/rvpn.log")"
# wg-quick also writes the address that the kernel made up.
diff <(grep -v 'Address = fe80' "$world/theirs") "$world/wgq.conf" || fail "save differs"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
expect "what the commands wrote" "$(cat "$world/hook")" $'wgq   up\nwgq down'

step "down saves what SaveConfig asks for"
write_file $'Address = 192.168.241.1/24\nSaveConfig = true\n#rvpn: TrustedInterfaces = veth1' "10.7.0.0/16"
n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
wg set wgq peer "$pub2" persistent-keepalive 21
ip1 addr add 192.168.243.1/24 dev wgq
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
for line in "Address = 192.168.243.1/24" "SaveConfig = true" "#rvpn: TrustedInterfaces = veth1" "PersistentKeepalive = 21" "PrivateKey = $key1"; do
    grep -qxF "$line" "$world/wgq.conf" || fail "not saved: $line"
done
expect "the mode of the file" "$(stat -c %a "$world/wgq.conf")" 600

step "multicast goes into the tunnel on request"
way_of_multicast() { ip1 -6 route get ff05::42 | grep -o 'dev [a-z0-9]*'; }
expect "the way of multicast" "$(way_of_multicast)" "dev veth1"
write_file $'Address = fd00::1/112\n#rvpn: Multicast = yes' "::/0"
n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
expect "the way of multicast" "$(way_of_multicast)" "dev wgq"
[[ $(ip1 link show wgq) == *MULTICAST* ]] || fail "no multicast flag"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
expect "the way of multicast" "$(way_of_multicast)" "dev veth1"
