#!/usr/bin/env bash
# A client that moves to another uplink, and a server that starts anew, are back within two seconds; by one handshake.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "only rvpn looks at its ways"

#  e1 (client)                           the middle (router)                 e2 (server)
#  up1 10.1.0.2, metric 100 ------- 10.1.0.1
#                                                   10.9.0.1 ------------------ veth2 10.9.0.2
#  up2 10.2.0.2, metric 200 ------- 10.2.0.1
for n in 1 2; do
    ip link add "up$n" netns e1 type veth peer name "router$n"
    ip addr add "10.$n.0.1/24" dev "router$n"
    ip link set "router$n" up
    ip1 addr add "10.$n.0.2/24" dev "up$n"
    ip1 link set "up$n" up
    ip1 route add default via "10.$n.0.1" metric "${n}00"
done
ip link add veth2 netns e2 type veth peer name router9
ip addr add 10.9.0.1/24 dev router9
ip link set router9 up
ip2 addr add 10.9.0.2/24 dev veth2
ip2 link set veth2 up
ip2 route add default via 10.9.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward
on_the_cable n1 10.9.0.2

make_keys
start_daemon wg1 "$IMPL" e1
start_daemon wg2 "$PEER" e2
configure_pair wg1 wg2 1 2 endpoint 10.9.0.2:2
up e1 wg1 1
up e2 wg2 2
reaches n1 192.168.241.2

initiations() { grep -c 'Sending handshake initiation' "$world/wg1.log" || true; }
pings_answered() { grep -c 'time=' "$world/pings" || true; }
start_pings() {
    exec_in e1 ping -D -n -i 0.1 192.168.241.2 >"$world/pings" 2>&1 9>&- &
    pinger=$!
    within 5 "pings are answered" grep -q 'icmp_seq=.*time=' "$world/pings"
}
# Waits until pings are answered again; prints the longest time without an answer, in ms.
goes_on() {
    local answered
    answered=$(pings_answered)
    within "$1" "pings are answered again" eval "((\$(pings_answered) >= $answered + 10))"
    kill -INT "$pinger"
    wait "$pinger" 2>/dev/null || true
    grep -oE '^\[[0-9.]+\].*time=' "$world/pings" | tr -d '[]' |
        awk 'NR > 1 && $1 - last > most { most = $1 - last } { last = $1 } END { printf "%d\n", most * 1000 }' >"$world/gap"
}

# Two handshakes are five seconds apart: the one that is expected must be allowed.
seconds_pass 5
step "changes of routes that are not the endpoint's cause no handshake"
before=$(initiations)
start_pings
ip1 route add 192.0.2.0/24 via 10.2.0.1
ip1 addr add 10.77.0.1/24 dev up2
ip1 route del 192.0.2.0/24 via 10.2.0.1
goes_on 5
expect "initiations" "$(initiations)" "$before"

step "the preferred uplink goes, and the other one is used at once"
start_pings
ip1 link set up1 down
goes_on 8
gap=$(<"$world/gap")
step "... after $gap ms"
((gap < 2000 * PATIENCE)) || fail "the tunnel was away for $gap ms"
expect "initiations" "$(initiations)" "$((before + 1))"
expect "endpoint seen by the server" "$(endpoint_of wg2 "$pub1")" 10.2.0.2:1

step "who only listens is found all the same: the preferred uplink is back"
seconds_pass 5
n2 ping -n -q -c 2 -i 0.2 -W 1 192.168.241.1 >/dev/null || fail "no answer to the server"
ip1 link set up1 up
ip1 route add default via 10.1.0.1 metric 100
is_found() { [[ $(endpoint_of wg2 "$pub1") == 10.1.0.2:1 ]]; }
within 2 "the server knows the new address" is_found
expect "initiations" "$(initiations)" "$((before + 2))"

step "a server that starts anew and knows no session"
seconds_pass 5
start_pings
before=$(now_ms)
kill -KILL "${pid_of[wg2]}"
wait "${pid_of[wg2]}" 2>/dev/null || true
rm -f "$(socket_of wg2)"
start_daemon wg2 "$PEER" e2
wg set wg2 private-key <(echo "$key2") listen-port 2 peer "$pub1" preshared-key <(echo "$psk") \
    allowed-ips 192.168.241.1/32,fd00::1/128
up e2 wg2 2
away=$(($(now_ms) - before))
goes_on 12
gap=$(<"$world/gap")
step "... after $gap ms, of which $away ms are its start"
((gap < away + 2000 * PATIENCE)) || fail "the tunnel was away for $gap ms"

step "silence after a conversation is no reason for a handshake"
before=$(initiations)
seconds_pass 3
expect "initiations" "$(initiations)" "$before"
