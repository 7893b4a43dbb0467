#!/usr/bin/env bash
# What two implementations can do with each other: IMPL begins, PEER answers. A line for each check, `ok` or `no` and why.
#
# Run by `matrix`. Only IMPL knows where the other is, both have a pre-shared key. The exit status says whether the checks
# could be made, not how they came out.
. "$(dirname "$0")/../netns/lib.sh"
. "$here/interop.sh"
isolate "$@"

# Makes a check; what it fails with is its line, or who ended by itself: with that the round is over. check WHAT COMMAND...
check() {
    local what=$1 ended
    shift
    ((! is_over)) || return 0
    if (trap - ERR; "$@") >"$world/why" 2>&1 9>>"$world/why"; then
        echo "ok $what"
    else
        if ended=$(ended); then
            is_over=1
            echo "no $what: $ended"
        else
            echo "no $what: $(grep -m 1 FAIL "$world/why" | sed 's/^FAIL: //' || true)"
        fi
    fi
}

# Names a program whose process of this round is gone, or is gone within two seconds, and succeeds if there is one.
ended() {
    local name try
    for try in {1..20}; do
        for name in "wg1$round" "wg2$round"; do
            if ! is_driver "${program_of[$name]}" && ! alive "${pid_of[$name]}"; then
                echo "${program_of[$name]##*/} ended by itself"
                return
            fi
        done
        sleep 0.1
    done
    return 1
}

both() { reaches n1 192.168.241.2 && reaches n2 fd00::1; }

# One end listens elsewhere and sends; the other one answers there. roams N: side 1 or 2
roams() {
    local n=$1 other=$((3 - $1)) key=pub$1 port=$((3000 + 10 * round + $1))
    wg set "wg$n$round" listen-port "$port" || fail "it cannot change its port"
    reaches "n$n" "192.168.241.$other"
    [[ $(endpoint_of "wg$other$round" "${!key}") == *":$port" ]] || fail "the other end did not follow"
    reaches "n$other" "192.168.241.$n"
}

round=0
for outside in 127.0.0.1 "[::1]"; do
    round=$((round + 1)) is_over=0
    family=IPv4
    [[ $outside == 127* ]] || family=IPv6
    tunnel_between "wg1$round" "$IMPL" "wg2$round" "$PEER" "101$round" "202$round" "$outside"
    check "handshake over $family" within 7 "a handshake" n1 ping -n -q -c 1 -W 1 192.168.241.2
    check "both families over $family" both
    check "TCP there over $family" transfer TCP4 n2 n1 192.168.241.2 200000
    check "TCP back over $family" transfer TCP6 n1 n2 fd00::1 200000
    check "UDP there over $family" transfer UDP6 n2 n1 fd00::2 50000
    check "UDP back over $family" transfer UDP4 n1 n2 192.168.241.1 50000
    check "initiator roams over $family" roams 1
    check "responder roams over $family" roams 2
    take_down "wg1$round" "wg2$round"
done
