#!/usr/bin/env bash
# A file is a peer: it comes, changes and goes with its file, alone; a wrong or half-written one changes nothing.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "peers as files are rvpn's own"

make_keys
key_of() { wg genkey | wg pubkey; }
bob=$(key_of) extra=$(key_of)
peers=$world/peers
mkdir -m 700 "$peers"
# As a careful editor: the file is there whole, or as before.
put() {
    cat >"$peers/.$1.new"
    mv "$peers/.$1.new" "$peers/$1.conf"
}
alice() {
    put alice <<CONF
[Peer]
PublicKey = $pub2
PresharedKey = $psk
AllowedIPs = 192.168.241.2/32, fd00::2/128${1:-}
Endpoint = 127.0.0.1:2
${2:-}
CONF
}
alice
has_peer() { [[ $(wg show wg1 peers) == *"$1"* ]]; }
has_no_peer() { ! has_peer "$1"; }
told() { grep -qF "$1" "$world/wg1.log"; }

# In the background, where the option and the relative path have to be handed down.
(cd "$world" && LOG_LEVEL=verbose "$IMPL" --peers-dir peers wg1 >"$world/wg1.log" 2>&1 9>&- </dev/null)
pid=$(pidof_daemon wg1) program_of[wg1]=$IMPL
start_daemon wg2 "$PEER"
step "the files that are there at the start are peers when the daemon is ready"
expect "peers" "$(wg show wg1 peers)" "$pub2"
"$IMPL" show wg1 | grep -qx '  name: alice' || fail "the file's name is not the peer's"
move wg1 e1
move wg2 e2
wg set wg1 private-key <(echo "$key1") listen-port 1 peer "$extra" allowed-ips 10.9.0.0/16
wg set wg2 private-key <(echo "$key2") listen-port 2 \
    peer "$pub1" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32,fd00::1/128 endpoint 127.0.0.1:1
up e1 wg1 1
up e2 wg2 2
reaches_all
shaken=$(handshake_of wg1 "$pub2")
start_pinging e1 192.168.241.2

step "a file that comes is a peer, and one that is written is none before it is closed"
exec 8>"$peers/carol.conf"
printf '[Peer]\nPublicKey' >&8
put bob <<CONF
[Peer]
PublicKey = $bob
AllowedIPs = 10.7.0.0/16
#rvpn: Name = Bob's phone
CONF
within 1 "bob is a peer" has_peer "$bob"
"$IMPL" show wg1 | grep -qx "  name: Bob's phone" || fail "bob has no name"
if told carol; then fail "a file that is being written was read"; fi
exec 8>&-
within 1 "the half-written file is told of" told "$peers/carol.conf:2:1: \`PublicKey\`: expected \`Key = value\`"
expect "peers beside the half-written file" "$(wg show wg1 peers | wc -l)" 3

step "a wrong file changes nothing, and a changed one its peer alone"
alice ", 10.8.0.0/33"
within 1 "the wrong file is told of" told "$peers/alice.conf:4:45: \`10.8.0.0/33\`: expected a prefix length of 0 to 32"
alice ", 10.8.0.0/16" "PersistentKeepalive = 25"
within 1 "the change is there" eval '[[ $(wg show wg1 allowed-ips) == *10.8.0.0/16* ]]'
expect "keepalive" "$(wg show wg1 persistent-keepalive | awk -v key="$pub2" '$1 == key { print $2 }')" 25

step "what configures all peers leaves those of files alone"
"$IMPL" showconf wg1 | sed '/^$/q' >"$world/bare.conf"
chmod 600 "$world/bare.conf"
"$IMPL" syncconf wg1 "$world/bare.conf"
has_peer "$pub2" && has_peer "$bob" || fail "syncconf took peers of files away"
has_no_peer "$extra" || fail "syncconf kept a peer of no file"
wg setconf wg1 "$world/bare.conf"
has_peer "$pub2" && has_peer "$bob" || fail "setconf took peers of files away"
wg set wg1 peer "$extra" allowed-ips 10.9.0.0/16

step "a file that goes takes its peer along, and no other"
rm "$peers/bob.conf"
within 1 "bob is gone" has_no_peer "$bob"
has_peer "$extra" || fail "a peer of no file is gone"
stop_pinging "while files came, changed and went"
expect "handshake of the peer whose file changed" "$(handshake_of wg1 "$pub2")" "$shaken"

step "the process after an upgrade follows the files where this one stops"
"$IMPL" upgrade wg1 >"$world/upgrade.log" 2>&1 || fail "no upgrade: $(cat "$world/upgrade.log")"
within 2 "the process before is gone" eval '! alive "$pid"'
pid=$(pidof_daemon wg1)
put bob <<<"[Peer]"$'\n'"PublicKey = $bob"
within 1 "bob is a peer again" has_peer "$bob"
wg setconf wg1 "$world/bare.conf"
has_peer "$pub2" && has_peer "$bob" || fail "setconf took peers of files away"
rm "$peers/bob.conf"
within 1 "bob is gone" has_no_peer "$bob"
expect "handshake after the upgrade" "$(handshake_of wg1 "$pub2")" "$shaken"
wg set wg1 peer "$extra" allowed-ips 10.9.0.0/16

step "an endpoint that is a name is followed"
sed 's/^Endpoint = .*/Endpoint = localhost:2/' "$peers/alice.conf" | put alice
within 1 "the name is alice's" eval '[[ $("$IMPL" show wg1 --json) == *\"localhost:2\"* ]]'

step "SIGHUP has all files read again, and the name is looked up for a peer that is made again"
wg set wg1 peer "$pub2" remove
kill -HUP "$pid"
within 1 "alice is back" has_peer "$pub2"
within 5 "alice answers" n1 ping -n -q -c 1 -W 1 192.168.241.2

step "a thousand files at once"
for ((n = 0; n < 1000; n++)); do
    printf '[Peer]\nPublicKey = %042dA=\nAllowedIPs = 10.%d.%d.0/24\n' "$n" $((100 + n / 250)) $((n % 250)) >"$peers/n$n.conf"
done
within 10 "all of them are peers" eval '(($(wg show wg1 peers | wc -l) == 1002))'
rm -r "$peers"
within 10 "none of them is" eval '[[ $(wg show wg1 peers) == "$extra" ]]'
within 1 "that the directory is gone is told, with the way out" told 'is not followed until `rvpn upgrade'

step "a directory in its place is followed after an upgrade"
mkdir -m 700 "$peers"
put bob <<<"[Peer]"$'\n'"PublicKey = $bob"
"$IMPL" upgrade wg1 >"$world/upgrade.log" 2>&1 || fail "no upgrade: $(cat "$world/upgrade.log")"
within 2 "the process before is gone" eval '! alive "$pid"'
pid=$(pidof_daemon wg1)
has_peer "$bob" && has_peer "$extra" || fail "peers after the upgrade: $(wg show wg1 peers)"
rm "$peers/bob.conf"
within 1 "bob is gone" has_no_peer "$bob"
ip1 link del wg1
ends_within_a_second "$pid" "its interface is deleted"
