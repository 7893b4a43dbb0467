#!/usr/bin/env bash
# Limits on what a peer may send and be sent are held within 5 %, each way by itself, by UDP and by TCP.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "limits are rvpn's own"

build_tunnel
reaches_all
# Bytes that have come out of the tunnel at end $1. What iperf3 itself sees is less: a burst may be more than its socket holds.
arrived() { ip -n "e$1" -s -j link show "wg$1" | grep -o '"rx":{"bytes":[0-9]*' | grep -o '[0-9]*$'; }
SECONDS_EACH=8
# Both ways at once, each within its limit: held WHAT DOWN UP [iperf3 options...]
held() {
    local what=$1 limits=("$2" "$3") before rates attempt begun way all_reached
    shift 3
    # A machine that has other things to do may hold a sender up for longer than a limit remembers: the best of three.
    for attempt in 1 2 3; do
        before=("$(arrived 2)" "$(arrived 1)") begun=$(now_ms) rates=() all_reached=1
        n2 timeout 40 iperf3 -s -1 -B 192.168.241.2 >/dev/null 2>&1 9>&- </dev/null &
        within 3 "iperf3 listens" listens n2 5201
        # Down and up in one program; what it says of itself is not looked at.
        n1 timeout 30 iperf3 -c 192.168.241.2 -t "$SECONDS_EACH" --bidir "$@" >"$world/iperf3.log" 2>&1 9>&- </dev/null ||
            fail "$what: $(tail -n 2 "$world/iperf3.log")"
        for way in 0 1; do
            read -r rate most < <(awk -v bytes=$(($(arrived $((2 - way))) - before[way])) -v ms=$(($(now_ms) - begun)) \
                -v seconds="$SECONDS_EACH" 'BEGIN { printf "%.2f %.2f\n", bytes * 8e-6 / (seconds + 0.25), bytes * 8e-6 / (ms / 1000 + 0.25) }')
            rates+=("$rate")
            awk -v rate="$most" -v limit="${limits[way]}" 'BEGIN { exit !(rate <= limit * 1.05) }' ||
                fail "$what: $most Mbit/s is more than 5 % over ${limits[way]}"
            awk -v rate="$rate" -v limit="${limits[way]}" 'BEGIN { exit !(rate >= limit * 0.95) }' || all_reached=0
        done
        step "$what: ${rates[0]} Mbit/s of ${limits[0]} to the peer, ${rates[1]} of ${limits[1]} from it"
        ((all_reached == 0)) || return 0
    done
    fail "$what: more than 5 % under a limit, the third time"
}

"$IMPL" set wg1 peer "$pub2" rate-down 20M rate-up 5M
"$IMPL" show wg1 | grep -qx '  rate limits: 5Mbit/s up, 20Mbit/s down' || fail "the limits are not shown"
held UDP 20 5 -u -l 1392 -b 40M
held TCP 20 5

"$IMPL" set wg1 peer "$pub2" rate-down off rate-up off
rate=$(stream n2 n1 192.168.241.2 2)
step "without a limit: $rate Mbit/s"
awk -v rate="$rate" 'BEGIN { exit !(rate > 30) }' || fail "the limit stays when it is taken away"
