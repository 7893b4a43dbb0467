# shellcheck shell=bash
#
# Two implementations, each in both roles: sourced by interop_*.sh, which set OTHER. Not a case of its own.
#
# Times of handshakes are read from IMPL alone: boringtun shows ages where times belong.
#
# Tunnel A: wg1 is IMPL and begins; wg2 is OTHER. Tunnel B: wg4 is OTHER and begins; wg3 is IMPL. Ends as in lib.sh.

# Builds one tunnel from device $1 of program $2 (begins) to device $3 of program $4, ports and outside as given.
tunnel_between() {
    local name1=$1 program1=$2 name2=$3 program2=$4 port1=$5 port2=$6 outside=$7
    make_keys
    start_daemon "$name1" "$program1"
    start_daemon "$name2" "$program2"
    move "$name1" e1
    move "$name2" e2
    # In one request: boringtun refuses to change a peer.
    configure_pair "$name1" "$name2" "$port1" "$port2" endpoint "$outside:$port2"
    up e1 "$name1" 1
    up e2 "$name2" 2
}

take_down() {
    local name
    for name in "$@"; do
        if is_driver "${program_of[$name]}"; then
            ip -n "${end_of[$name]}" link del "$name"
            continue
        fi
        # Not the end that lifecycle.sh asks of IMPL: boringtun takes its time, and gotatun may have ended by itself.
        kill -KILL "${pid_of[$name]}" 2>/dev/null || true
        wait "${pid_of[$name]}" 2>/dev/null || true
        rm -f "$(socket_of "$name")"
    done
    within 2 "the interfaces are gone" eval "! ip1 link show dev $1 && ! ip2 link show dev $2"
}

short_interop() {
    local outside round=0 pair first second
    for outside in 127.0.0.1 "[::1]"; do
        for pair in "$IMPL $OTHER" "$OTHER $IMPL"; do
            read -r first second <<<"$pair"
            round=$((round + 1))
            step "${first##*/} begins, ${second##*/} answers, outside over $outside, with a pre-shared key"
            tunnel_between "wg1$round" "$first" "wg2$round" "$second" "101$round" "202$round" "$outside"
            reaches_all
            moves "  TCP there" n2 n1 192.168.241.2 1
            moves "  TCP back" n1 n2 fd00::1 1
            reaches_all
            take_down "wg1$round" "wg2$round"
        done
    done
}

# Pings through 120 s and the rekey, in both tunnels at once: five a second from the side that began.
long_interop() {
    step "two tunnels, one begun by each, for 126 s"
    local pings=630 a b first_a first_b key_a key_b
    tunnel_between wg1 "$IMPL" wg2 "$OTHER" 1 2 127.0.0.1
    key_a=$pub2
    reaches n1 192.168.241.2
    first_a=$(handshake_of wg1 "$key_a")
    # The second tunnel has its own addresses in the same ends.
    make_keys
    start_daemon wg3 "$IMPL"
    start_daemon wg4 "$OTHER"
    move wg3 e1
    move wg4 e2
    wg set wg3 private-key <(echo "$key1") listen-port 3 peer "$pub2" preshared-key <(echo "$psk") allowed-ips 192.168.242.2/32
    wg set wg4 private-key <(echo "$key2") listen-port 4 peer "$pub1" preshared-key <(echo "$psk") allowed-ips 192.168.242.1/32 \
        endpoint "[::1]:3"
    ip1 addr add 192.168.242.1/24 dev wg3
    ip2 addr add 192.168.242.2/24 dev wg4
    ip1 link set wg3 up
    ip2 link set wg4 up
    key_b=$pub2
    reaches n2 192.168.242.1
    first_b=$(handshake_of wg3 "$key_b")

    exec_in e1 ping -n -q -i 0.2 -c $pings -W $((2 * PATIENCE)) 192.168.241.2 >"$world/ping-a.log" 2>&1 9>&- &
    a=$!
    exec_in e2 ping -n -q -i 0.2 -c $pings -W $((2 * PATIENCE)) 192.168.242.1 >"$world/ping-b.log" 2>&1 9>&- &
    b=$!
    wait "$a" "$b" || true
    grep -q "$pings received" "$world/ping-a.log" || fail "${IMPL##*/} began: $(grep transmitted "$world/ping-a.log")"
    grep -q "$pings received" "$world/ping-b.log" || fail "${OTHER##*/} began: $(grep transmitted "$world/ping-b.log")"
    (($(handshake_of wg1 "$key_a") - first_a >= 118)) || fail "no rekey where ${IMPL##*/} began"
    (($(handshake_of wg3 "$key_b") - first_b >= 118)) || fail "no rekey where ${OTHER##*/} began"
    step "no ping of $pings lost in either, and a new handshake after $(($(handshake_of wg1 "$key_a") - first_a)) s"
}

run_interop() { if [[ $LONG == 1 ]]; then long_interop; else short_interop; fi; }
