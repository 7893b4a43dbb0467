#!/usr/bin/env bash
# Configuration never lies, never half-applies and never drops a live session.
. "$(dirname "$0")/lib.sh"
isolate "$@"

build_tunnel
reaches_all

step "showconf gives back what setconf set"
extra=$(wg genkey | wg pubkey)
cat >"$world/wg1.conf" <<CONF
[Interface]
PrivateKey = $key1
ListenPort = 1
FwMark = 0xca6c

[Peer]
PublicKey = $pub2
PresharedKey = $psk
AllowedIPs = 192.168.241.2/32, fd00::2/128
Endpoint = 127.0.0.1:2

[Peer]
PublicKey = $extra
AllowedIPs = 10.7.0.0/16, fd07::/64
Endpoint = [::1]:7
PersistentKeepalive = 25
CONF
# One setting a line, in an order of its own, without spaces or case: two spellings of one configuration are equal.
canonical() {
    tr -d ' ' | tr A-Z a-z | awk -F= -v OFS== '
        /^\[peer\]/ { next } /^publickey/ { peer = $2 } /^$/ { next }
        /^allowedips/ { n = split(substr($0, 12), list, ","); for (i = 1; i <= n; i++) print peer, "allowedips", list[i]; next }
        { print peer, $0 }' | sort
}
wg setconf wg1 "$world/wg1.conf"
diff <(canonical <"$world/wg1.conf") <(wg showconf wg1 | canonical) || fail "showconf differs from what setconf set"
if is_rvpn "$IMPL"; then
    expect "peers in the order they were added" "$(wg show wg1 peers)" "$pub2"$'\n'"$extra"
    expect "lines on the means by which packets move" "$("$IMPL" show wg1 | grep -cE '^  (encryption|offloads): [^ ]')" 2
fi
wg showconf wg1 >"$world/saved.conf"
wg setconf wg1 "$world/saved.conf"
diff <(canonical <"$world/saved.conf") <(wg showconf wg1 | canonical) || fail "showconf of showconf differs"
reaches_all

if is_rvpn "$IMPL"; then
    step "syncconf with the same file loses no packet"
    before=$(handshake_of wg1 "$pub2")
    start_pinging e1 192.168.241.2
    for _ in {1..200}; do wg syncconf wg1 "$world/saved.conf"; done
    stop_pinging "200 x syncconf with the same file"
    expect "time of the latest handshake after syncconf" "$(handshake_of wg1 "$pub2")" "$before"
fi

if is_rvpn "$IMPL"; then
    step "a name is kept beside the key, written back, and stands for it"
    { cat "$world/saved.conf"; echo '#rvpn: Name = last one'; } >"$world/named.conf"
    "$IMPL" syncconf wg1 "$world/named.conf"
    "$IMPL" show wg1 | grep -qx '  name: last one' || fail "the name is not shown"
    "$IMPL" show wg1 --json | grep -q '"name":"last one"' || fail "the name is not in the JSON"
    "$IMPL" showconf wg1 | grep -qx '#rvpn: Name = last one' || fail "the name is not written back"
    "$IMPL" set wg1 peer "last one" persistent-keepalive 26 name other
    expect "keepalive of the peer that was named" "$(wg show wg1 persistent-keepalive | awk -v key="$extra" '$1 == key { print $2 }')" 26
    if message=$("$IMPL" set wg1 peer "last one" remove 2>&1); then fail "a name that is no more was taken"; fi
    [[ $message == *"or the name of a peer" ]] || fail "the error does not say that it may be a name: $message"
    # The stock tool, where `wg` is not ours, knows no names.
    if [[ $(wg --version) == wireguard-tools* ]]; then
        wg syncconf wg1 "$world/saved.conf"
        "$IMPL" showconf wg1 | grep -qx '#rvpn: Name = other' || fail "stock wg took a name away"
    fi
    "$IMPL" syncconf wg1 "$world/saved.conf"
    if "$IMPL" show wg1 | grep -q '^  name:'; then fail "syncconf without the name kept it"; fi
fi

step "a busy port is refused by name, and the old one still works"
socat -u UDP4-RECV:5555 /dev/null 9>&- &
within 2 "the port is busy" eval '[[ -n $(ss -Hlun "sport = :5555") ]]'
if message=$(wg set wg1 listen-port 5555 2>&1); then fail "a busy port was accepted"; fi
[[ $message == *"Address already in use"* ]] || fail "the error does not say why: $message"
if is_rvpn "$IMPL"; then
    expect "port after the refusal" "$(wg show wg1 listen-port)" 1
    reaches_all
    if wg set wg1 listen-port 5555 peer "$extra" remove 2>/dev/null; then fail "a busy port was accepted"; fi
    [[ $(wg show wg1 peers) == *"$extra"* ]] || fail "a refused request was applied in part"
fi
wg set wg1 listen-port 1
expect "port set back" "$(wg show wg1 listen-port)" 1
endpoint wg2 "$pub1" 127.0.0.1:1
reaches_all

step "allowed IPs come and go one by one"
wg set wg1 peer "$extra" allowed-ips 10.8.0.5/16,10.9.0.0/16,fd09::1/64
expect "allowed IPs, masked" "$(wg show wg1 allowed-ips | awk -v key="$extra" '$1 == key' | tr '\t ' '\n\n' | sed 1d | sort | xargs)" \
    "10.8.0.0/16 10.9.0.0/16 fd09::/64"
request() { printf 'set=1\npublic_key=%s\n%s\n\n' "$(base64 -d <<<"$extra" | od -An -v -tx1 | tr -d ' \n')" "$1" | socat - "UNIX-CONNECT:$(socket_of wg1)"; }
# The sign needs a wg of 2025; the socket itself is asked, so that any wg will do.
if is_rvpn "$IMPL"; then
    expect "answer to the removal" "$(request allowed_ip=-10.9.0.0/16)" "errno=0"
    expect "allowed IPs after a removal" "$(wg show wg1 allowed-ips | awk -v key="$extra" '$1 == key' | tr '\t ' '\n\n' | sed 1d | sort | xargs)" \
        "10.8.0.0/16 fd09::/64"
    expect "answer to an unknown key" "$(request colour=red)" "errno=-22"
    request allowed_ip=-192.168.241.2/32 >/dev/null
    reaches_all
fi
wg set wg1 peer "$extra" allowed-ips ""
expect "allowed IPs after all were removed" "$(wg show wg1 allowed-ips | awk -v key="$extra" '$1 == key { print $2 }')" "(none)"

step "keys can be read back and cleared"
expect "private key" "$(wg show wg1 private-key)" "$key1"
expect "pre-shared key" "$(wg show wg1 preshared-keys | awk -v key="$pub2" '$1 == key { print $2 }')" "$psk"
wg set wg1 private-key /dev/null peer "$pub2" preshared-key /dev/null
expect "private key when cleared" "$(wg show wg1 private-key)" "(none)"
expect "pre-shared key when cleared" "$(wg show wg1 preshared-keys | awk -v key="$pub2" '$1 == key { print $2 }')" "(none)"
slashed="/${key1:1}"
wg set wg1 private-key <(echo "$slashed")
expect "first letter of a key stored clamped" "$(wg show wg1 private-key | cut -c1)" "+"

step "the own key is no peer"
wg set wg1 private-key <(echo "$key1") peer "$pub2" remove peer "$extra" remove
wg set wg1 peer "$pub1" allowed-ips 10.3.0.0/16
expect "peers after the own key was added" "$(wg show wg1 peers)" ""
wg set wg1 peer "$pub2" allowed-ips 10.4.0.0/16
wg set wg1 private-key <(echo "$key2")
expect "peers after one became the own key" "$(wg show wg1 peers)" ""
wg set wg1 peer "$pub1" allowed-ips 10.3.0.0/16
expect "peers once the key is another's" "$(wg show wg1 peers)" "$pub1"
