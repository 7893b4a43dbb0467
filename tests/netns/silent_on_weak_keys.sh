#!/usr/bin/env bash
# Public keys with which every secret is zero are taken and listed, and never a datagram is sent to them.
. "$(dirname "$0")/lib.sh"
isolate "$@"

# The points of small order on Curve25519, and those that are equal to one of them modulo 2^255 - 19.
weak=(
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
    AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
    4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=
    X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=
    7P///////////////////////////////////////38=
    7f///////////////////////////////////////38=
    7v///////////////////////////////////////38=
)
make_keys
start_daemon wg1
wg set wg1 private-key <(echo "$key1")
for key in "${weak[@]}"; do
    wg set wg1 peer "$key" endpoint 127.0.0.1:1111 persistent-keepalive 1 allowed-ips 10.0.0.0/8
done
# Is heard from: so the others would be.
wg set wg1 peer "$pub2" endpoint 127.0.0.1:2222 persistent-keepalive 1

listen() { timeout 2 socat -u "UDP4-RECV:$1" "CREATE:$world/from-$1" 9>&- & }
listen 1111
listener=$!
listen 2222
for port in 1111 2222; do
    within 2 "the listener on port $port is there" eval "[[ -n \$(ss -Hlun 'sport = :$port') ]]"
done
ip addr add 10.255.0.1/8 dev wg1
ip link set wg1 up
# Packets for the one of them that has the prefix.
ping -n -q -c 5 -i 0.1 -W 0.5 10.0.0.1 >/dev/null || true
status=0
wait "$listener" || status=$?
expect "status of the listener, which was to be ended after two seconds" "$status" 124
[[ -s $world/from-2222 ]] || fail "nothing was sent to the peer with a good key"
[[ ! -s $world/from-1111 ]] || fail "$(wc -c <"$world/from-1111") bytes were sent to peers with weak keys"
# In the order they were added, where that is promised.
expect "peers" "$(wg show wg1 peers | sort)" "$(printf '%s\n' "${weak[@]}" "$pub2" | sort)"
alive "${pid_of[wg1]}" || fail "the daemon ended"
