#!/usr/bin/env bash
# Whatever was made has gone at the end: peers, keypairs and their indices, prefixes, staged packets, timers, buffers.
#
# The kernel's test reads a line for each object made and each that went; the daemon tells the sums when it ends.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "${IMPL##*/} does not count its objects"

build_tunnel
reaches_all
moves "traffic" n2 n1 192.168.241.2 1

step "peers come and go, some with packets that wait for a key"
for round in 1 2 3; do
    peers=()
    for ((n = 0; n < 20; n++)); do
        peers+=(peer "$(head -c 32 /dev/urandom | base64 | sed 's/.=$/A=/')" endpoint 127.0.0.1:9 persistent-keepalive 1
            allowed-ips "10.0.$n.0/24,fd09:$n::/64")
    done
    wg set wg1 "${peers[@]}"
    ip1 route replace 10.0.0.0/16 dev wg1
    for ((n = 0; n < 20; n += 5)); do n1 ping -n -q -c 1 -W 0.01 "10.0.$n.1" >/dev/null || true; done
    # Those of the last round stay.
    ((round == 3)) || wg syncconf wg1 <(wg showconf wg1 | awk -v RS= -v key="$pub2" '/^\[Interface/ || index($0, key)' ORS='\n\n')
done
expect "peers at the end" "$(wg show wg1 peers | wc -l)" 21

step "keys and links change"
for round in 1 2 3; do
    new_key=$(wg genkey) new_pub=
    new_pub=$(wg pubkey <<<"$new_key")
    wg set wg1 private-key <(echo "$new_key")
    wg set wg2 peer "$new_pub" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32,fd00::1/128 \
        peer "$(wg show wg2 peers)" remove
    reaches n1 192.168.241.2
    reaches n2 192.168.241.1
done
for ((n = 0; n < 10; n++)); do
    ip1 link set wg1 down
    ip1 link set wg1 up
done
# A responder takes no second initiation within 37 ms, and the next attempt comes after 5 s.
within 7 "the tunnel works again" n1 ping -n -q -c 1 -W 1 192.168.241.2

step "prefixes within each other come and go"
other=$(wg show wg1 peers | tail -n 1)
for list in 0.0.0.0/0,10.0.0.0/8,10.0.0.0/10,10.0.0.0/12,10.0.0.0/14 0.0.0.0/0 ::/0,a000::/5,a000::/23,a000::/42 ::/0; do
    wg set wg1 peer "$other" allowed-ips "$list"
done

step "the end"
kill -TERM "${pid_of[wg1]}" "${pid_of[wg2]}"
ends_within_a_second "${pid_of[wg1]}" SIGTERM
ends_within_a_second "${pid_of[wg2]}" SIGTERM
for name in wg1 wg2; do
    left=$(objects_left "$name")
    step "$name: $left"
    held=${left%; made *} made=${left#*; made }
    nothing_is_left "$name" "$held"
    # The heap keeps what was made earlier until it is due.
    most=$((4 * ($(number_of peers "$made") + $(number_of keypairs "$made"))))
    (($(number_of deadlines "$held") <= most)) || fail "more than $most deadlines are left in $name"
    if [[ $name == wg1 ]]; then
        expect "peers made in wg1" "$(number_of peers "$made")" 61
        expect "peers configured in wg1" "$(number_of peers "$held")" 21
        # Two of the first peer and of each of the others but the last, which has ::/0 alone.
        expect "prefixes listed in wg1" "$(number_of prefixes "$held")" 41
        (($(number_of keypairs "$made") >= 5)) || fail "too few keypairs were made in wg1: the case shows nothing"
    else
        expect "peers made in wg2" "$(number_of peers "$made")" 4
    fi
done
