#!/usr/bin/env bash
# A step of `rvpn up` that fails undoes those before it; `down` takes away what is left after a crash of the daemon or of `up`.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "up and down are rvpn's own"

link_ends
make_keys
ip1 route add default via 10.0.0.77
echo "nameserver 192.0.2.1" >"$world/resolv.conf"
mount --bind "$world/resolv.conf" /etc/resolv.conf

state_of_client() {
    ip1 -o link show | awk '{ print $2 }'
    ip1 -4 rule show
    ip1 -6 rule show
    ip1 -4 route show table all | sort
    ip1 -6 route show table all | sort
    n1 nft list ruleset
    n1 cat /proc/sys/net/ipv4/conf/all/src_valid_mark /etc/resolv.conf
    ls /run/wireguard
    find /run/rvpn 2>/dev/null || true
}

write_file() {
    printf '[Interface]\nPrivateKey = %s\nAddress = 192.168.241.1/24, fd00::1/112\nDNS = 10.0.0.53\n%s\n[Peer]\nPublicKey = %s\nAllowedIPs = %s\nEndpoint = 10.0.0.2:2\n' \
        "$key1" "$1" "$pub2" "$2" >"$world/wgq.conf"
    chmod 600 "$world/wgq.conf"
}

settles() {
    for _ in {1..100}; do
        state_of_client >"$world/now"
        ! cmp -s "$world/before" "$world/now" || return 0
        sleep 0.02
    done
    diff "$world/before" "$world/now" || fail "$1: not as before"
}

mkdir -p /run/wireguard
state_of_client >"$world/before"

fails_at() {
    step "$1"
    write_file "$2" "$3"
    refuse "$1: up succeeded" eval "n1 $IMPL up $world/wgq.conf 2>$world/error"
    grep -q "$4" "$world/error" || fail "$1: the message does not say '$4': $(cat "$world/error")"
    settles "$1"
}

fails_at "a command that fails" "PostUp = exit 7" "0.0.0.0/0, ::/0" 'exit 7: ended with status 7; all that was done before is undone'
fails_at "an address that the kernel refuses" "Address = ff02::1/64" "0.0.0.0/0" 'address ff02::1/64: '
fails_at "a PreUp that fails" "PreUp = false" "0.0.0.0/0" '.false. ended with status 1'
fails_at "a file with errors" $'MTU = 7\nAdress = 1' "0.0.0.0/33" 'wgq.conf:9:14: .0.0.0.0/33.: expected a prefix length'
ip1 route add 10.9.0.0/16 dev lo
state_of_client >"$world/before"
fails_at "a route that is taken" "" "10.9.0.0/16, 10.8.0.0/16" 'route 10.9.0.0/16: file exists'
ip1 route del 10.9.0.0/16
state_of_client >"$world/before"
fails_at "a host without an address" "" "10.0.0.0/8
Endpoint = :7
[Peer]
PublicKey = $pub1" ':7.: there is no such host'

step "what is there is not taken over"
ip1 link add wgq type veth peer name other
write_file "" "10.7.0.0/16"
refuse "up took an interface that was there" n1 "$IMPL" up "$world/wgq.conf"
refuse "down took an interface that up has not made" n1 "$IMPL" down wgq
ip1 link show wgq >/dev/null || fail "the interface is gone"
ip1 link del wgq

step "after the daemon was killed, down leaves nothing"
write_file "#rvpn: KillSwitch = yes" "0.0.0.0/0, ::/0"
n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
refuse "up twice" n1 "$IMPL" up "$world/wgq.conf"
refuse "down in another network namespace" n2 "$IMPL" down wgq
grep -q 10.0.0.53 /etc/resolv.conf || fail "no DNS server"
daemon=$(pidof_daemon wgq)
kill -KILL "$daemon"
within 2 "the interface goes with its process" eval '! ip1 link show wgq'
[[ $(n1 nft list tables) == *rvpn-kill-switch-wgq* ]] || fail "the kill switch went with the daemon"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
settles "after a killed daemon"

step "after up was killed at any step, down leaves nothing"
write_file "PostUp = kill -9 \$PPID" "0.0.0.0/0, ::/0"
refuse "up survived" n1 "$IMPL" up "$world/wgq.conf"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
settles "after a killed up"
write_file "PreUp = kill -9 \$PPID" "0.0.0.0/0, ::/0"
refuse "up survived" n1 "$IMPL" up "$world/wgq.conf"
write_file "" "0.0.0.0/0"
n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
settles "after an up that was killed at once"

step "what a power cut left of DNS is put right before endpoints are looked up"
write_file "" "10.7.0.0/16"
n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
cp /etc/resolv.conf "$world/left"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
cat "$world/left" >/etc/resolv.conf
write_file "PreUp = cp /etc/resolv.conf $world/seen" "10.7.0.0/16"
n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
expect "the servers while endpoints are looked up" "$(cat "$world/seen")" "nameserver 192.0.2.1"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
settles "after a power cut"

step "what others did meanwhile stays"
write_file "" "10.7.0.0/16"
n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
ip1 link del wgq
within 2 "the daemon ends with its interface" eval '[[ ! -e $(socket_of wgq) ]]'
ip1 link add wgq type veth peer name other
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(cat "$world/rvpn.log")"
ip1 link show wgq >/dev/null || fail "down deleted somebody else's interface"
ip1 link del wgq
settles "after the interface was replaced"

step "an interrupted up undoes what it did"
write_file "PostUp = touch $world/reached; exec sleep 10" "0.0.0.0/0"
exec_in e1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null &
upper=$!
within 5 "the command runs" test -e "$world/reached"
# As from a terminal: the command gets it too.
kill -TERM "$upper" "$(pgrep -P "$upper" -x sleep)"
refuse "up went on" wait "$upper"
settles "after an interrupted up"
