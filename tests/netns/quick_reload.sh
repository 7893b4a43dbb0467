#!/usr/bin/env bash
# `rvpn reload` changes peers, addresses, routes, filters and DNS of a tunnel that is up, and loses no packet.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "reload is rvpn's own"

link_ends
make_keys
echo "nameserver 192.0.2.1" >"$world/resolv.conf"
mount --bind "$world/resolv.conf" /etc/resolv.conf
start_daemon wg2 "$PEER" e2
wg set wg2 private-key <(echo "$key2") listen-port 2 peer "$pub1" allowed-ips 192.168.241.0/24,fd00::1/128
up e2 wg2 2
ip2 addr add 198.51.100.1/32 dev lo
ip2 route add 192.168.241.0/24 dev wg2 2>/dev/null || true
extra=$(wg genkey | wg pubkey)

# The key is not in the file: a reload is not to take it away.
(umask 077 && echo "$key1" >"$world/key")
# The first peer stays, whatever the rest of the file says: write_file INTERFACE ALLOWED_IPS [PEER...]
write_file() {
    printf '[Interface]\nPostUp = wg set %%i private-key %s\n%s\n[Peer]\nPublicKey = %s\nAllowedIPs = %s\nEndpoint = 10.0.0.2:2\n%s\n' \
        "$world/key" "$1" "$pub2" "$2" "${3:-}" >"$world/wgq.conf"
    chmod 600 "$world/wgq.conf"
}
reload() { n1 "$IMPL" reload wgq >>"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "reload failed: $(tail -n 3 "$world/rvpn.log")"; }
has() { [[ $1 == *"$2"* ]] || fail "no '$2' in: $1"; }
has_not() { [[ $1 != *"$2"* ]] || fail "'$2' in: $1"; }

state_of_client() {
    ip1 -o link show | awk '{ print $2 }'
    ip1 -4 rule show
    ip1 -4 route show table all | sort
    n1 nft list ruleset
    cat /etc/resolv.conf
}
state_of_client >"$world/before"

write_file $'Address = 192.168.241.1/24\nDNS = 10.0.0.53' "192.168.241.0/24, 10.7.0.0/16"
n1 "$IMPL" up "$world/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
reaches n1 192.168.241.2
port=$(wg show wgq listen-port)
shaken=$(handshake_of wgq "$pub2")
start_pinging e1 192.168.241.2

step "a file with an error changes nothing"
state_of_client >"$world/up"
write_file "Address = 192.168.241.1/33" "192.168.241.0/24"
refuse "a file with an error was taken" n1 "$IMPL" reload wgq
state_of_client | diff "$world/up" - || fail "something has changed"

step "a second address, another route, another peer, other servers"
write_file $'Address = 192.168.241.1/24, 192.168.242.1/24, fd00::1/112\nDNS = 10.0.0.54, example.com\nMTU = 1400' \
    "192.168.241.0/24, 10.8.0.0/16" "[Peer]
PublicKey = $extra
AllowedIPs = 10.9.0.0/16"
reload
routes=$(ip1 route show)
has "$routes" "10.8.0.0/16 dev wgq"
has "$routes" "10.9.0.0/16 dev wgq"
has_not "$routes" "10.7.0.0/16"
has "$(ip1 addr show wgq)" "192.168.242.1/24"
has "$(ip1 link show wgq)" "mtu 1400"
has "$(wg show wgq peers)" "$extra"
has "$(cat /etc/resolv.conf)" "nameserver 10.0.0.54"
has_not "$(cat /etc/resolv.conf)" "10.0.0.53"

step "the first address goes, and takes none of its network along"
write_file $'Address = 192.168.241.1/24, 192.168.241.9/24' "192.168.241.0/24"
reload
write_file $'Address = 192.168.241.9/24' "192.168.241.0/24"
# The answers come to an address that stays.
stop_pinging "while peers, addresses, routes and DNS changed"
reload
has "$(ip1 addr show wgq)" "192.168.241.9/24"
has "$(ip1 route show)" "192.168.241.0/24 dev wgq"
has_not "$(ip1 addr show wgq)" "192.168.241.1/24"
has_not "$(wg show wgq peers)" "$extra"
expect "resolv.conf" "$(cat /etc/resolv.conf)" "nameserver 192.0.2.1"

step "a network that was connected becomes a route, and is one again"
write_file $'Address = 192.168.241.9/32' "192.168.241.0/24"
reload
has "$(ip1 route show)" "192.168.241.0/24 dev wgq scope link"
has_not "$(ip1 addr show wgq)" "192.168.241.9/24"
write_file $'Address = 192.168.241.9/24' "192.168.241.0/24"
reload
has "$(ip1 route show)" "192.168.241.0/24 dev wgq proto kernel"
start_pinging e1 192.168.241.2

step "everything through it, with the kill switch, and back"
write_file $'Address = 192.168.241.9/24\n#rvpn: KillSwitch = yes' "0.0.0.0/0"
reload
reaches n1 198.51.100.1
has "$(n1 nft list tables)" "rvpn-kill-switch-wgq"
has "$(ip1 rule show)" "not from all fwmark"
write_file $'Address = 192.168.241.9/24\nFwMark = 9' "0.0.0.0/0"
refuse "another mark was taken" n1 "$IMPL" reload wgq
reaches n1 198.51.100.1
write_file $'Address = 192.168.241.9/24' "192.168.241.0/24"
reload
stop_pinging "while a default route and a kill switch came and went"
expect "tables" "$(n1 nft list tables)" ""
has_not "$(ip1 rule show)" "fwmark"
expect "the port" "$(wg show wgq listen-port)" "$port"
expect "the last handshake" "$(handshake_of wgq "$pub2")" "$shaken"

step "an interface is called as the symbolic link it was brought up by"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(tail -n 3 "$world/rvpn.log")"
mkdir "$world/links"
mv "$world/wgq.conf" "$world/the office.conf"
ln -s "../the office.conf" "$world/links/wgq.conf"
n1 "$IMPL" up "$world/links/wgq.conf" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "up failed: $(cat "$world/rvpn.log")"
sed -i 's/^AllowedIPs.*/AllowedIPs = 192.168.241.0\/24, 10.6.0.0\/16/' "$world/the office.conf"
reload
has "$(ip1 route show)" "10.6.0.0/16 dev wgq"
n1 "$IMPL" save wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "save failed: $(tail -n 3 "$world/rvpn.log")"
grep -q '^ListenPort' "$world/the office.conf" || fail "not saved"

step "down leaves nothing of it"
n1 "$IMPL" down wgq >>"$world/rvpn.log" 2>&1 9>&- || fail "down failed: $(tail -n 3 "$world/rvpn.log")"
for _ in {1..50}; do
    state_of_client >"$world/after"
    ! cmp -s "$world/before" "$world/after" || break
    sleep 0.02
done
diff "$world/before" "$world/after" || fail "down left something, or took too much"
refuse "reload of what is not up" n1 "$IMPL" reload wgq
