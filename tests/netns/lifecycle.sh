#!/usr/bin/env bash
# Each way to end the daemon ends it within a second, in order, with nothing left; each way to start it is honest.
. "$(dirname "$0")/lib.sh"
isolate "$@"

link_exists() { ip link show dev "$1" >/dev/null 2>&1; }

# The status of process $1, ended, is 0, and neither interface nor socket $2 is left.
nothing_left() {
    local status=0
    wait "$1" || status=$?
    expect "exit status after $3" "$status" 0
    within 1 "the interface is gone after $3" eval "! ip link show dev $2"
    [[ ! -e $(socket_of "$2") ]] || fail "a socket is left after $3"
}

for signal in TERM INT; do
    step "signal $signal"
    # A background job starts with SIGINT ignored; env gives it back.
    LOG_LEVEL=verbose env --default-signal="$signal" "$IMPL" -f wg1 >"$world/wg1.log" 2>&1 </dev/null 9>&- &
    pid_of[wg1]=$!
    within 5 "the socket answers" answers wg1
    kill -"$signal" "${pid_of[wg1]}"
    ends_within_a_second "${pid_of[wg1]}" "SIG$signal"
    nothing_left "${pid_of[wg1]}" wg1 "SIG$signal"
done

step "the interface is deleted"
start_daemon wg1
ip link del wg1
ends_within_a_second "${pid_of[wg1]}" "ip link del"
nothing_left "${pid_of[wg1]}" wg1 "ip link del"

step "the interface is deleted in another namespace, with a peer and traffic"
build_tunnel
reaches_all
ip1 link del wg1
ends_within_a_second "${pid_of[wg1]}" "ip link del in another namespace"
nothing_left "${pid_of[wg1]}" wg1 "ip link del in another namespace"

step "the socket file is removed"
rm "$(socket_of wg2)"
ends_within_a_second "${pid_of[wg2]}" "removal of its socket"
nothing_left "${pid_of[wg2]}" wg2 "removal of its socket"

step "a second start is refused and leaves the first alone"
start_daemon wg1
status=0
message=$("$IMPL" wg1 2>&1 </dev/null) || status=$?
expect "exit status of the second start" "$status" 1
if is_rvpn "$IMPL"; then [[ $message == *wg1* ]] || fail "the refusal does not name the interface: $message"; fi
wg show wg1 >/dev/null || fail "the first daemon is gone after the second start"
alive "${pid_of[wg1]}" || fail "the first daemon ended after the second start"

step "a killed daemon's socket is replaced"
kill -KILL "${pid_of[wg1]}"
wait "${pid_of[wg1]}" 2>/dev/null || true
[[ -S $(socket_of wg1) ]] || fail "no stale socket to try"
within 2 "the interface of the killed daemon is gone" eval "! ip link show dev wg1"

step "in the background: ready when it returns, with no descriptor but its own"
exec 7</dev/null
"$IMPL" wg1 >"$world/background.log" 2>&1 </dev/null 9>&- || fail "the start in the background failed with status $?"
wg show wg1 >/dev/null || fail "not ready when the start returned"
link_exists wg1 || fail "no interface when the start returned"
exec 7>&-
program=$(readlink -f "$(command -v "$IMPL")")
# Beside it there is the process that looks up names for it.
is_the_daemon() { [[ $(readlink "/proc/$1/exe") == "$program" && $(<"/proc/$1/comm") != rvpn-names ]]; }
daemon=$(for pid in $(world_pids); do ! is_the_daemon "$pid" || echo "$pid"; done)
[[ $daemon =~ ^[0-9]+$ ]] || fail "not one process runs in the background but '$daemon'"
if is_rvpn "$IMPL"; then
    expect "the session it leads" "$(ps -o sid= -p "$daemon" | tr -d ' ')" "$daemon"
    for descriptor in "/proc/$daemon/fd"/*; do
        case $(readlink "$descriptor" || true) in
            "$world"/*) fail "the daemon holds a file of its starter: $(readlink "$descriptor")" ;;
        esac
        number=${descriptor##*/}
        flags=$(awk '/^flags/ { print $2 }' "/proc/$daemon/fdinfo/$number" 2>/dev/null || true)
        ((number < 3)) || [[ -z $flags ]] || ((0$flags & 02000000)) ||
            fail "descriptor $number ($(readlink "$descriptor")) would leak to a child"
    done
fi
kill -TERM "$daemon"
ends_within_a_second "$daemon" "SIGTERM in the background"
within 1 "the interface is gone" eval "! ip link show dev wg1"
[[ ! -e $(socket_of wg1) ]] || fail "a socket is left of the daemon in the background"

step "a machine without IPv6"
for switch in all default lo; do echo 1 >/proc/sys/net/ipv6/conf/$switch/disable_ipv6; done
start_daemon wg1
start_daemon wg2
ip link set wg1 netns e1
ip link set wg2 netns e2
configure_pair
up e1 wg1 1
up e2 wg2 2
endpoint wg1 "$pub2" 127.0.0.1:2
reaches n1 192.168.241.2
reaches n2 fd00::1
kill -TERM "${pid_of[wg1]}" "${pid_of[wg2]}"
ends_within_a_second "${pid_of[wg1]}" SIGTERM
ends_within_a_second "${pid_of[wg2]}" SIGTERM

is_rvpn "$IMPL" || exit 0

# Runs the daemon in the foreground; fails unless it ends with 1 and its message has all of the words given.
start_fails() {
    local what=$1 message status=0 word
    shift
    message=$("${attempt[@]}" 2>&1 </dev/null) || status=$?
    expect "exit status $what" "$status" 1
    for word in "$@"; do [[ $message == *"$word"* ]] || fail "the message $what does not say '$word': $message"; done
    step "$what: $message"
}

attempt=(setpriv --bounding-set -net_admin --inh-caps -net_admin "$IMPL" -f wg9)
start_fails "without CAP_NET_ADMIN" CAP_NET_ADMIN
attempt=(unshare --mount -- bash -c 'mount -t tmpfs tmpfs /dev/net && exec "$0" -f wg9' "$IMPL")
start_fails "without /dev/net/tun" /dev/net/tun
attempt=("$IMPL" -f a-name-that-is-too-long)
start_fails "with a name of 23 letters" a-name-that-is-too-long 15
attempt=("$IMPL" -f a/b)
start_fails "with a slash in the name" a/b
[[ -z $(ls -A /run/wireguard) ]] || fail "a failed start left $(ls -A /run/wireguard)"
