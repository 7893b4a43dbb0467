#!/usr/bin/env bash
# The running daemon keeps what it needs and no more, thread by thread, and everything can still be changed.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "$IMPL makes no such promise"

# Each thread of process $1 promised away new privileges, is filtered, and has the capabilities $2 if it is one of the
# two that need any, else none. The threads that carry packets have two filters more than those that are configured.
every_thread_is_confined() {
    local pid=$1 kept=$2 thread key value count=0
    local -A field filters
    for thread in "/proc/$pid/task/"*; do
        field=()
        # The one that starts others may be on its way out.
        while IFS=$':\t' read -r key value; do field[$key]=$value; done < <(cat "$thread/status" 2>/dev/null || true)
        [[ -n ${field[Name]:-} && ${field[State]} != X* ]] || continue
        expect "Seccomp of ${field[Name]}" "${field[Seccomp]}" 2
        expect "NoNewPrivs of ${field[Name]}" "${field[NoNewPrivs]}" 1
        case ${field[Name]} in
            rvpn-link | rvpn-apply) expect "capabilities of ${field[Name]}" "${field[CapEff]} ${field[CapPrm]}" "$kept $kept" ;;
            *) expect "capabilities of ${field[Name]}" "${field[CapEff]} ${field[CapPrm]}" "$no_capability $no_capability" ;;
        esac
        expect "inherited by ${field[Name]}" "${field[CapInh]} ${field[CapAmb]}" "$no_capability $no_capability"
        filters[${field[Name]}]=${field[Seccomp_filters]:-0}
        ((++count))
    done
    ((count >= 7)) || fail "only $count threads"
    # Linux before 5.9 does not count.
    ((filters[packets] == 0 || filters[packets] == filters[rvpn-apply] + 2)) ||
        fail "filters: packets ${filters[packets]}, rvpn-apply ${filters[rvpn-apply]}"
}
no_capability=0000000000000000

# The field $2 of the status of process $1.
status_of() { awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"; }

told() { grep -o 'hardening holds.*' "$world/$1.log"; }

# Process $1 of device $2 has no core dumps, and its memory is locked if it says so.
nothing_leaves_its_memory() {
    expect "core dumps" "$(awk '/^Max core file size/ { print $5, $6 }' "/proc/$1/limits")" "0 0"
    if [[ $(told "$2") == *"memory (locked)"* ]]; then
        refuse "no memory is locked" grep -q '^VmLck:\s*0 kB' "/proc/$1/status"
    fi
}

step "a tunnel between hardened ends"
build_tunnel
reaches_all
step "$(told wg1)"
for part in dumps capabilities seccomp; do [[ $(told wg1) == *"$part ("* ]] || fail "$part does not hold"; done
every_thread_is_confined "${pid_of[wg1]}" 0000000000001400
nothing_leaves_its_memory "${pid_of[wg1]}" wg1

step "listen port and mark, while traffic passes"
for port in 4711 7 0 1; do
    wg set wg1 listen-port $port
    reaches n1 192.168.241.2
    reaches n2 fd00::1
done
wg set wg1 fwmark 0x1234
[[ $(ss -Haune 'sport = :1') == *fwmark:0x1234* ]] || fail "the sockets are not marked: $(ss -Haune 'sport = :1')"
reaches n1 192.168.241.2
# A mark from the start, on sockets bound by the thread that sees the interface go up.
ip1 link set wg1 down
ip1 link set wg1 up
ip1 addr replace fd00::1/112 dev wg1 nodad
within 1 "the sockets are there again" eval '[[ $(ss -Haune "sport = :1") == *fwmark:0x1234* ]]'
within 2 "traffic after down and up" n1 ping -n -q -c 1 -W 0.2 192.168.241.2
wg set wg1 fwmark 0

step "changes of the interface in another namespace are heard, not found out by looking once a second"
started=$(now_ms)
for mtu in 1300 1301 1302 1303 1304; do
    ip1 link set wg1 mtu $mtu
    within 2 "MTU $mtu is seen" grep -q "MTU $mtu\$" "$world/wg1.log"
done
((($(now_ms) - started) < 2500)) || fail "five changes took $(($(now_ms) - started)) ms to be seen"

step "one message of 2,000 peers"
peers=$(for ((n = 0; n < 2000; n++)); do
    printf 'public_key=%064x\nallowed_ip=10.%s.%s.0/24\n' $((n + 1)) $((n / 256)) $((n % 256))
done)
printf 'set=1\n%s\n\n' "$peers" | socat -t 5 - "UNIX-CONNECT:$(socket_of wg2)" | grep -q '^errno=0' || fail "not taken"
reaches n2 192.168.241.1
alive "${pid_of[wg1]}" || fail "wg1 ended"
alive "${pid_of[wg2]}" || fail "wg2 ended"

step "it ends in order"
for name in wg1 wg2; do
    kill -TERM "${pid_of[$name]}"
    ends_within_a_second "${pid_of[$name]}" SIGTERM
    [[ ! -e $(socket_of "$name") ]] || fail "the socket of $name is left"
done

step "in the background"
RVPN_HARDENING=auto "$IMPL" wg3 </dev/null >/dev/null 2>&1 9>&- || fail "no start in the background"
background=$(for pid in $(world_pids); do [[ $(<"/proc/$pid/comm") != rvpn ]] || echo "$pid"; done)
every_thread_is_confined "$background" 0000000000001400
rm "$(socket_of wg3)"
ends_within_a_second "$background" "removal of its socket"

step "parts that are left out"
RVPN_HARDENING=off start_daemon wg3
expect "Seccomp" "$(status_of "${pid_of[wg3]}" Seccomp)" 0
expect "NoNewPrivs" "$(status_of "${pid_of[wg3]}" NoNewPrivs)" 0
expect "CapEff" "$(status_of "${pid_of[wg3]}" CapEff)" "$(status_of $$ CapEff)"
[[ $(grep -c 'hardening.*switched off' "$world/wg3.log") == 1 && $(grep hardening "$world/wg3.log") == *"holds nothing"* ]] ||
    fail "the log does not say that it is off"
kill "${pid_of[wg3]}"
ends_within_a_second "${pid_of[wg3]}" SIGTERM
RVPN_HARDENING=no-seccomp,no-landlock start_daemon wg3
expect "Seccomp" "$(status_of "${pid_of[wg3]}" Seccomp)" 0
expect "NoNewPrivs" "$(status_of "${pid_of[wg3]}" NoNewPrivs)" 1
[[ $(told wg3) == *"not landlock: switched off; not seccomp: switched off"* ]] || fail "the log says: $(told wg3)"
kill "${pid_of[wg3]}"
ends_within_a_second "${pid_of[wg3]}" SIGTERM
message=$(RVPN_HARDENING=no-secomp "$IMPL" -f wg3 2>&1 </dev/null) && fail "a word that is none was taken"
[[ $message == *"RVPN_HARDENING=no-secomp"*no-seccomp* ]] || fail "the message does not help: $message"

step "where no user has a name and no file can be read"
unshare --mount -- bash -c 'mount -t tmpfs tmpfs /etc && LOG_LEVEL=verbose exec "$0" -f wg3' "$IMPL" \
    >"$world/wg3.log" 2>&1 9>&- </dev/null &
pid_of[wg3]=$! program_of[wg3]=$IMPL
within 5 "the socket answers" answers wg3
every_thread_is_confined "${pid_of[wg3]}" 0000000000001400
kill "${pid_of[wg3]}"
ends_within_a_second "${pid_of[wg3]}" SIGTERM

# Another user: only where there are others than root, and with a TUN that he may open.
[[ $(awk '{ print $3 }' /proc/self/uid_map) == 4294967295 ]] || exit 0
if [[ $(stat -Lc %a /dev/net/tun) != *[67] ]]; then
    mknod -m 666 /run/tun c 10 200 && mount --bind /run/tun /dev/net/tun || exit 0
fi
step "a user with CAP_NET_ADMIN and nothing else"
# Where everybody may run it.
install -m 755 "$IMPL" /run/rvpn
chown 65534 /run/wireguard
make_keys
start_daemon wg2
ip link set wg2 netns e2
LOG_LEVEL=verbose setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all,+net_admin \
    --inh-caps -all,+net_admin --ambient-caps -all,+net_admin /run/rvpn -f wg1 >"$world/wg1.log" 2>&1 9>&- </dev/null &
pid_of[wg1]=$! program_of[wg1]=$IMPL
within 5 "the socket answers" answers wg1
step "$(told wg1)"
every_thread_is_confined "${pid_of[wg1]}" 0000000000001000
ip link set wg1 netns e1
configure_pair wg1 wg2 4711 2
up e1 wg1 1
up e2 wg2 2
endpoint wg1 "$pub2" 127.0.0.1:2
# It may not enter the interface's namespace, so it looks once a second.
within 2 "wg1 is up" grep -q 'Interface up$' "$world/wg1.log"
reaches_all
wg set wg1 fwmark 5 listen-port 4712
[[ $(ss -Haune 'sport = :4712') == *fwmark:0x5* ]] || fail "the sockets are not marked"
reaches n1 192.168.241.2
ip1 link set wg1 mtu 1280
within 2 "the MTU is followed" grep -q 'MTU 1280$' "$world/wg1.log"
kill "${pid_of[wg1]}"
ends_within_a_second "${pid_of[wg1]}" SIGTERM
[[ ! -e $(socket_of wg1) ]] || fail "the socket is left"
