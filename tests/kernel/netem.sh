#!/usr/bin/env bash
# Delay, loss, reordering and duplication outside: what is sent arrives whole, and the replay window refuses only copies.
. "$(dirname "$0")/../netns/lib.sh"
isolate "$@"

outside_is() { tc qdisc replace dev lo root netem limit 20000 "$@"; }
tc qdisc add dev lo root netem delay 1ms 2>/dev/null || skip "no sch_netem here"

step "a session begins through 30 % loss"
outside_is loss 30%
build_tunnel
within 60 "a handshake" n1 ping -n -q -c 1 -W 1 192.168.241.2

step "TCP through 20 ms +/- 15 ms and 2 % loss, both ways"
outside_is delay 20ms 15ms loss 2%
transfer TCP4 n2 n1 192.168.241.2 300000
transfer TCP6 n1 n2 fd00::1 300000

step "UDP through 40 ms +/- 35 ms without loss, both ways: none is refused"
outside_is delay 40ms 35ms
none_lost() {
    stream "$1" "$2" "$3" 3 -u -b 1600K -l 400 >/dev/null
    local seen lost
    seen=$(awk '/receiver/ { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+\/[0-9]+$/) print $i }' "$world/iperf3.log")
    lost=${seen%/*}
    # iperf3 stops listening while the last are on their way: no more than 75 ms of 500 a second.
    ((${seen#*/} > 500 && lost <= 40)) || fail "$3: $seen datagrams lost"
    grep -q 'out-of-order' "$world/iperf3.log" || true
    step "$3:: $seen datagrams lost"
}
none_lost n2 n1 192.168.241.2
none_lost n1 n2 192.168.241.1
n1 ping -n -q -i 0.01 -c 200 -W "$((2 * PATIENCE))" 192.168.241.2 >"$world/ping.log" || true
grep -q ' 200 received' "$world/ping.log" || fail "$(grep transmitted "$world/ping.log")"

step "every datagram twice: delivered once"
outside_is delay 5ms duplicate 100%
n1 ping -n -q -i 0.05 -c 40 -W "$((2 * PATIENCE))" 192.168.241.2 >"$world/ping.log" || true
grep -q ' 40 received' "$world/ping.log" || fail "$(grep transmitted "$world/ping.log")"
refuse "copies came through: $(grep transmitted "$world/ping.log")" grep -q duplicates "$world/ping.log"
