# shellcheck shell=bash
#
# Shared by every case: a world of its own, two ends, daemons, conditions with deadlines. Sourced, not run.
#
# A case lives in a mount and a network namespace of its own (`isolate`), with an empty /run: names, sockets and
# interfaces cannot meet those of the host or of another case, and the kernel takes the whole world back at the end.
#
#      namespace e1           the case's own namespace ("the middle")          namespace e2
#     +-------------+        +------------------------------------------+     +-------------+
#     | wg1         |<-------| daemon wg1 : 1                           |     |         wg2 |
#     | 192.168.241.1   moved|        \  lo: 127.0.0.1, ::1  /          |     | 192.168.241.2
#     | fd00::1     |        |         ---- daemon wg2 : 2 -------------|---->| fd00::2     |
#     +-------------+        +------------------------------------------+     +-------------+
#
# The daemons start in the middle, so their UDP sockets stay there while the plaintext lives at the ends. `link_ends`
# joins e1 and e2 by a cable (veth) for the cases in which the daemons live at the ends.
#
# Environment:
#   IMPL   the daemon under test (default: the release build of rvpn)
#   PEER   the daemon at the other end (default: IMPL)
#   LONG   1: also the part that takes two minutes (a rekey)
#   PATIENCE  by how much longer to wait for anything than on a machine of one's own (default: 1)
#
# IMPL or PEER may be `kernel`: the driver of this kernel, where it has one (tests/kernel/guest has).
#
# Exit status of a case: 0 holds, 77 cannot be tried here, anything else does not hold.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
IMPL=${IMPL:-${CARGO_TARGET_DIR:-$root/target}/release/rvpn}
[[ $IMPL != */* ]] || IMPL=$(realpath -ms "$IMPL")
PEER=${PEER:-$IMPL}
LONG=${LONG:-0}
# A system call that is missing from a list of src/platform/linux/hardening ends the daemon instead of failing quietly.
export RVPN_HARDENING=${RVPN_HARDENING-kill}
PATIENCE=${PATIENCE:-1}
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/rvpn
world=/run/case

# --- the world -------------------------------------------------------------------------------------------------------

# Runs the script again in namespaces of its own, with `env` variables kept; returns in the inner run.
isolate() {
    if [[ -z ${RVPN_ISOLATED:-} ]]; then
        local flags=(--mount --net)
        ((EUID == 0)) || flags=(--user --map-root-user "${flags[@]}")
        RVPN_ISOLATED=1 exec unshare "${flags[@]}" -- bash "$0" "$@"
    fi
    unset RVPN_ISOLATED
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -m 700 "$world"
    exec 9>&2
    trap 'report_failure "$?" "$LINENO" "$BASH_COMMAND"' ERR
    trap tidy_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    set -E
    case ${IMPL##*/} in
        rvpn) [[ -x $IMPL ]] || fail "no $IMPL: run 'cargo build --release' first" ;;
        kernel) ;;
        *) command -v "$IMPL" >/dev/null || fail "no $IMPL" ;;
    esac
    ip link set lo up
    ip netns add e1
    ip netns add e2
    ip -n e1 link set lo up
    ip -n e2 link set lo up
}

# Ends what runs in this world, and nothing else: the mount namespace is the mark.
tidy_up() {
    local status=$? pid
    trap - ERR EXIT
    trap '' INT TERM HUP PIPE
    set +e
    # In a shell of its own: whatever goes wrong there, the processes are ended.
    case $status in 0 | 77 | 130 | 143) ;; *) (show_logs) ;; esac
    for pid in $(world_pids); do kill -TERM "$pid" 2>/dev/null || true; done
    for _ in {1..40}; do
        [[ -n $(world_pids) ]] || break
        sleep 0.05
    done
    for pid in $(world_pids); do kill -KILL "$pid" 2>/dev/null || true; done
    exit "$status"
}

# Prints the processes of this world other than this shell and its subshells.
world_pids() {
    local mine dir pid
    mine=$(readlink /proc/self/ns/mnt)
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        [[ $pid == "$$" || $pid == "$BASHPID" ]] && continue
        [[ $(readlink "$dir/ns/mnt" 2>/dev/null) == "$mine" ]] || continue
        alive "$pid" || continue
        [[ $(parent_of "$pid") == "$BASHPID" ]] || echo "$pid"
    done
}

parent_of() { sed -n 's/^PPid:\s*//p' "/proc/$1/status" 2>/dev/null || true; }

# True while process $1 runs; a zombie is dead.
alive() { [[ -r /proc/$1/status ]] && ! grep -q '^State:\s*[ZX]' "/proc/$1/status" 2>/dev/null; }

n1() { nsenter --net=/run/netns/e1 -- "$@"; }
n2() { nsenter --net=/run/netns/e2 -- "$@"; }
ip1() { ip -n e1 "$@"; }
ip2() { ip -n e2 "$@"; }

# Becomes a command in a namespace ("" is the middle), so that `$!` of the background job is the command itself.
exec_in() {
    local namespace=$1
    shift
    if [[ -n $namespace ]]; then exec nsenter --net="/run/netns/$namespace" -- "$@"; else exec "$@"; fi
}

# A cable between the ends: 10.0.0.1 and fd00:aa::1 in e1, 10.0.0.2 and fd00:aa::2 in e2.
link_ends() {
    ip link add veth1 netns e1 type veth peer name veth2 netns e2
    # No link-local addresses: they come in their own time, and a case compares tables of routes.
    ip1 link set veth1 addrgenmode none
    ip2 link set veth2 addrgenmode none
    ip1 addr add 10.0.0.1/24 dev veth1
    ip1 addr add fd00:aa::1/96 dev veth1 nodad
    ip2 addr add 10.0.0.2/24 dev veth2
    ip2 addr add fd00:aa::2/96 dev veth2 nodad
    ip1 link set veth1 up
    ip2 link set veth2 up
    on_the_cable n1 10.0.0.2 fd00:aa::2
    on_the_cable n2 10.0.0.1 fd00:aa::1
}

# Waits until addresses of the other end are known: the first neighbour solicitation after a change may get no answer,
# and the second comes after a second. NAMESPACE_COMMAND ADDRESS...
on_the_cable() {
    local address
    for address in "${@:2}"; do within 4 "$address answers outside the tunnel" "$1" ping -n -q -c 1 -W 1 "$address"; done
}

# --- telling ---------------------------------------------------------------------------------------------------------

step() { printf -- '- %s\n' "$*"; }

fail() {
    printf 'FAIL: %s\n' "$*" >&9
    trap - ERR
    exit 1
}

skip() {
    printf 'skipped: %s\n' "$*" >&9
    trap - ERR
    exit 77
}

report_failure() {
    # An interrupt also ends the commands that were running; that is no failure.
    case $1 in 130 | 141 | 143) return ;; esac
    printf 'FAIL: line %s of %s: %s (status %s)\n' "$2" "${0##*/}" "$3" "$1" >&9
}

show_logs() {
    local log
    for log in "$world"/*.log; do
        [[ -s $log ]] || continue
        printf -- '--- last lines of %s\n' "${log##*/}"
        tail -n 25 "$log"
    done >&9
    ((${#end_of[@]} == 0)) || dmesg 2>/dev/null | grep wireguard: | tail -n 25 >&9 || true
}

# True for our own daemon: guards what other implementations do not promise.
is_rvpn() { [[ ${1##*/} == rvpn ]]; }
is_driver() { [[ $1 == kernel ]]; }

# Fails unless $2 equals $3. $1 says what it is.
expect() { [[ $2 == "$3" ]] || fail "$1: expected '$3', found '$2'"; }

# Milliseconds of an uninterrupted clock.
now_ms() { local t; read -r t _ </proc/uptime; echo $((10#${t/./} * 10)); }

# Waits until a command succeeds: within SECONDS WHAT COMMAND...
within() {
    local deadline what=$2
    deadline=$(($(now_ms) + $1 * 1000 * PATIENCE))
    shift 2
    until "$@" >/dev/null 2>&1; do
        (($(now_ms) < deadline)) || fail "not in time: $what"
        sleep 0.02
    done
}

# Lets seconds pass, for a case about time itself: that nothing happens within them, or that something is forgotten.
seconds_pass() {
    local until=$(($(now_ms) + $1 * 1000))
    within $(($1 + 5)) "$1 seconds pass" eval "((\$(now_ms) >= $until))"
}

# Fails if a command succeeds. WHAT COMMAND...
refuse() {
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then fail "$what"; fi
}

# --- daemons ---------------------------------------------------------------------------------------------------------

# Starts a daemon as a background job: start_daemon IFNAME [PROGRAM [NAMESPACE]], by default IMPL in the middle.
# Its process is pid_of[IFNAME], its log $world/IFNAME.log.
declare -A pid_of program_of
start_daemon() {
    local name=$1 program=${2:-$IMPL}
    if is_driver "$program"; then
        program_of[$name]=$program
        add_driver_device "$name" "${3:-}"
        return
    fi
    local arguments=(-f "$name")
    [[ ${program##*/} != @(boringtun-cli|gotatun) ]] || arguments=(--foreground --disable-drop-privileges --verbosity info "$name")
    LOG_LEVEL=verbose exec_in "${3:-}" "$program" "${arguments[@]}" >"$world/$name.log" 2>&1 9>&- </dev/null &
    pid_of[$name]=$! program_of[$name]=$program
    within 5 "the socket of $name answers" answers "$name"
}

# True once device $1 can be configured; fails at once if its process ended before.
answers() {
    alive "${pid_of[$1]}" || fail "the daemon of $1 ended before it was ready"
    # `wg` deletes a socket that is bound but does not listen yet; ours is in place only when it listens.
    is_rvpn "${program_of[$1]-$IMPL}" || grep -q " 00010000 .*/wireguard//*$1.sock\$" "/proc/${pid_of[$1]}/net/unix" || return
    wg show "$1"
}

# Process $1 is gone within a second. $2 says why it should be.
ends_within_a_second() { within 1 "process $1 ends after $2" eval "! alive $1"; }

# A device of the kernel's driver stands for a daemon. Its UDP sockets stay in the namespace where it was made, too, but it
# is configured in the one where it lives: `move` and `wg` see to that.
declare -A end_of=()
add_driver_device() {
    exec_in_shell "$2" ip link add "$1" type wireguard 2>/dev/null || skip "no driver here: ip link add type wireguard"
    [[ -z $2 ]] || end_of[$1]=$2
}

exec_in_shell() { (exec_in "$@"); }

# Moves a device to an end: move IFNAME NAMESPACE
move() {
    ip link set "$1" netns "$2"
    ! is_driver "${program_of[$1]}" || end_of[$1]=$2
}

# `wg`, where its device can be seen.
wg() { exec_in_shell "${end_of[${2:-none}]:-}" wg "$@"; }

# Prints the process that runs interface $1, which went to the background.
pidof_daemon() {
    local pid
    for pid in $(world_pids); do
        [[ $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) != "rvpn -- $1 " ]] || echo "$pid"
    done
}

socket_of() { echo "/run/wireguard/$1.sock"; }

# --- a tunnel --------------------------------------------------------------------------------------------------------

# Makes keys: key1 key2 (private), pub1 pub2, psk.
make_keys() {
    key1=$(wg genkey) key2=$(wg genkey) psk=$(wg genpsk)
    pub1=$(wg pubkey <<<"$key1") pub2=$(wg pubkey <<<"$key2")
}

# Gives devices wg1 (port 1) and wg2 (port 2) keys, a pre-shared key and each other as peers, without endpoints.
# configure_pair [NAME1 NAME2 PORT1 PORT2 [endpoint ADDRESS]]: the last two words are for the peer of NAME1.
configure_pair() {
    local name1=${1:-wg1} name2=${2:-wg2} port1=${3:-1} port2=${4:-2}
    wg set "$name1" private-key <(echo "$key1") listen-port "$port1" \
        peer "$pub2" preshared-key <(echo "$psk") allowed-ips 192.168.241.2/32,fd00::2/128 "${@:5}"
    wg set "$name2" private-key <(echo "$key2") listen-port "$port2" \
        peer "$pub1" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32,fd00::1/128
}

# Brings a device up at its end with the addresses of side 1 or 2: up NAMESPACE IFNAME SIDE
up() {
    local try
    ip -n "$1" addr add "192.168.241.$3/24" dev "$2"
    ip -n "$1" addr add "fd00::$3/112" dev "$2" nodad
    ip -n "$1" link set "$2" up
    # The sockets come a moment after that, and whoever calls before calls again after five seconds.
    for try in {1..50}; do
        ! is_bound "$2" || return 0
        sleep 0.02
    done
}

# True if the UDP port of device $1 is open where its daemon is, or if that cannot be known.
is_bound() {
    local pid=${pid_of[$1]:-} port
    [[ -n $pid && -r /proc/$pid/net/udp ]] || return 0
    port=$(wg show "$1" listen-port 2>/dev/null) || return 0
    ((port)) || return 0
    grep -qs ":$(printf %04X "$port") " "/proc/$pid/net/udp" "/proc/$pid/net/udp6"
}

# The whole drawing above, with endpoints over IPv4 on both sides unless $1 is `no_endpoints`.
build_tunnel() {
    make_keys
    start_daemon wg1 "$IMPL"
    start_daemon wg2 "$PEER"
    move wg1 e1
    move wg2 e2
    configure_pair
    up e1 wg1 1
    up e2 wg2 2
    if [[ ${1:-} != no_endpoints ]]; then
        endpoint wg1 "$pub2" 127.0.0.1:2
        endpoint wg2 "$pub1" 127.0.0.1:1
    fi
}

endpoint() { wg set "$1" peer "$2" endpoint "$3"; }
endpoint_of() { wg show "$1" endpoints | awk -v key="$2" '$1 == key { print $2 }'; }
handshake_of() { wg show "$1" latest-handshakes | awk -v key="$2" '$1 == key { print $2 }'; }
received_by() { wg show "$1" transfer | awk -v key="$2" '$1 == key { print $2 }'; }
sent_by() { wg show "$1" transfer | awk -v key="$2" '$1 == key { print $3 }'; }

# One ping in a second, handshake included: reaches n1 192.168.241.2
reaches() { "$1" ping -n -q -c 1 -W "$PATIENCE" "$2" >/dev/null || fail "no answer within a second: $1 ping $2"; }

# Both families, both ways.
reaches_all() {
    reaches n1 192.168.241.2
    reaches n2 192.168.241.1
    reaches n1 fd00::2
    reaches n2 fd00::1
}

# Starts a ping every 10 ms in the background: start_pinging NAMESPACE ADDRESS; end it with `stop_pinging`.
start_pinging() {
    exec_in "$1" ping -n -i 0.01 -W 1 "$2" >"$world/ping.log" 2>&1 9>&- &
    pinger=$!
    within 2 "the background ping runs" grep -q 'icmp_seq=20 ' "$world/ping.log"
}

# Ends the background ping; fails if a packet was lost. $1 says meanwhile what.
stop_pinging() {
    local summary sent received answered
    # Packets lost by what was done just before are missed only when later ones are answered.
    answered=$(grep -c 'icmp_seq=' "$world/ping.log")
    within 3 "pings go on" eval "((\$(grep -c 'icmp_seq=' '$world/ping.log') >= $answered + 10))"
    kill -INT "$pinger"
    wait "$pinger" || true
    summary=$(grep 'packets transmitted' "$world/ping.log")
    read -r sent _ _ received _ <<<"$summary"
    # The last requests may be on their way when ping is told to stop.
    ((received >= sent - 5)) || fail "$1: $summary"
    missing=$(grep -o 'icmp_seq=[0-9]*' "$world/ping.log" | awk -F= 'NR > 1 && $2 != last + 1 { print last + 1 } { last = $2 }')
    [[ -z $missing ]] || fail "$1: lost or reordered packets: ${missing//$'\n'/ }"
    step "$1: $received of $sent pings answered"
}

# TCP or UDP for some seconds; prints Mbit/s as received: stream SERVER_NS CLIENT_NS ADDRESS SECONDS [iperf3 options...]
stream() {
    local server=$1 client=$2 address=$3 seconds=$4
    shift 4
    "$server" timeout $((seconds + 15)) iperf3 -s -1 -B "$address" >"$world/iperf3-server.log" 2>&1 9>&- </dev/null &
    local server_pid=$!
    within 3 "iperf3 listens" listens "$server" 5201
    # In the background and waited for, so that an interrupt is acted on at once.
    "$client" timeout $((seconds + 10)) iperf3 -c "$address" -t "$seconds" -f m "$@" >"$world/iperf3.log" 2>&1 9>&- </dev/null &
    wait $! ||
        fail "iperf3 to $address $*: $(tail -n 2 "$world/iperf3.log")"
    wait "$server_pid" || true
    awk '/receiver/ { for (i = 2; i <= NF; i++) if ($i == "Mbits/sec") print $(i - 1) }' "$world/iperf3.log"
}

# A file of SIZE bytes over TCP or UDP (`4` or `6` says the family), compared by checksum at the other end:
# transfer TCP4|TCP6|UDP4|UDP6 SERVER_NS CLIENT_NS ADDRESS SIZE. UDP is for what the buffer of a socket can hold: 100,000 bytes.
transfer() {
    local kind=$1 server=$2 client=$3 address=$4 size=$5 sent=$world/sent received=$world/received from=$1-LISTEN ss=-Htln
    [[ $kind == TCP* ]] || from=$kind-RECV ss=-Huln
    [[ $address != *:* ]] || address="[$address]"
    head -c "$size" /dev/urandom >"$sent"
    : >"$received"
    exec_in "e${server#n}" timeout $((30 * PATIENCE)) socat -u "$from:5002" "OPEN:$received,append" 9>&- </dev/null &
    local receiver=$!
    within 3 "a receiver listens" eval "[[ -n \$($server ss $ss 'sport = :5002') ]]"
    "$client" timeout $((30 * PATIENCE)) socat -u -b 1000 "OPEN:$sent" "$kind:$address:5002" || fail "$kind to $address: could not send"
    within 10 "$kind to $address: all $size bytes arrive" eval "((\$(stat -c %s '$received') == $size))"
    kill "$receiver" 2>/dev/null || true
    wait "$receiver" 2>/dev/null || true
    expect "checksum of $size bytes by $kind to $address" "$(sha256sum <"$received")" "$(sha256sum <"$sent")"
}

listens() { [[ -n $("$1" ss -Htln "sport = :$2") ]]; }

# The same as a step of a case: moves WHAT SERVER_NS CLIENT_NS ADDRESS SECONDS [iperf3 options...]. Fails unless each
# stream moved something. Within the words of another command, as in `step "$(stream ...)"`, a failure would pass unseen.
moves() {
    local what=$1 rates slowest total
    shift
    rates=$(stream "$@")
    [[ -n $rates ]] || fail "$what: nothing was measured"
    slowest=$(sort -g <<<"$rates" | head -n 1) total=$(tail -n 1 <<<"$rates")
    awk -v slowest="$slowest" 'BEGIN { exit !(slowest > 0) }' || fail "$what: a stream moved nothing: ${rates//$'\n'/ }"
    step "$what: $total Mbit/s"
}

# What daemon $1 told at its end of what it held and made; it must have run with LOG_LEVEL=verbose.
objects_left() { sed -n 's/.*: left: //p' "$world/$1.log"; }

# The number of $1 in $2, a list like `2 peers, 0 staged packets`.
number_of() { grep -oE "(^|, )[0-9]+ $1(,|\$)" <<<"$2" | grep -oE '[0-9]+'; }

# Fails if daemon $1 held ($2) anything but its configuration at its end.
nothing_is_left() {
    local what
    for what in 'removed peers' handshakes keypairs 'lingering keypairs' 'staged packets' timers buffers; do
        expect "$what left in $1" "$(number_of "$what" "$2")" 0
    done
    expect "routes in $1" "$(number_of routes "$2")" "$(number_of prefixes "$2")"
}

# Numbered datagrams at a modest rate; prints: sent, received, then their median, 99th percentile and longest time in ms:
# numbered RECEIVER_NS SENDER_NS ADDRESS RATE LENGTH SECONDS
numbered() {
    local receiver=$1 sender=$2 address=$3 program=$root/tests/bench/sequence.py
    shift 3
    command -v python3 >/dev/null || fail "no python3"
    "$receiver" python3 "$program" receive "$address" 5400 >"$world/numbered-received" 9>&- </dev/null &
    local receiver_pid=$!
    within 5 "the receiver of numbered datagrams is bound" eval '[[ -n $('"$receiver"' ss -Hlun "sport = :5400") ]]'
    "$sender" python3 "$program" send "$address" 5400 "$@" >"$world/numbered-sent" 9>&- </dev/null
    wait "$receiver_pid" || fail "the receiver of numbered datagrams failed"
    xargs <<<"$(<"$world/numbered-sent") $(<"$world/numbered-received")"
}
