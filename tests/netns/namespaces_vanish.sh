#!/usr/bin/env bash
# Daemons neither outlive the namespace of their interface nor keep alive the one of their sockets, even if they cross.
#
# A driver has no process: in the kernel's test a namespace goes when its name does, and caches of routes must not hold
# it. A daemon holds the namespace it runs in for as long as it runs, by itself; what is asked here is that it ends when
# its interface goes with the other namespace, and that nothing holds a namespace after its daemon.
. "$(dirname "$0")/lib.sh"
isolate "$@"

# A cable from the middle into each end: it goes when the end really goes, whatever the names say.
witnesses() {
    local side
    for side in 1 2; do
        ip link add "seen$side" type veth peer name witness netns e$side
    done
}
still_there() { ip link show "seen$1"; }
gone() { within 5 "namespace e$1 is gone $2" eval "! still_there $1"; }

new_ends() {
    local side
    for side in 1 2; do
        ip netns add e$side
        ip -n e$side link set lo up
    done
}

# The status of daemon $1, which has ended, is 0.
ended_well() {
    local status=0
    ends_within_a_second "${pid_of[$1]}" "$2"
    wait "${pid_of[$1]}" || status=$?
    expect "exit status of $1 after $2" "$status" 0
    [[ ! -e $(socket_of "$1") ]] || fail "a socket is left of $1 after $2"
}

for round in 1 2; do
    step "the ends vanish with the interfaces of daemons in the middle, round $round"
    build_tunnel
    witnesses
    reaches_all
    ip netns del e1
    ip netns del e2
    ended_well wg1 "deletion of its interface's namespace"
    ended_well wg2 "deletion of its interface's namespace"
    gone 1 "after its daemon"
    gone 2 "after its daemon"
    new_ends
done

for round in 1 2; do
    step "daemons at the ends, over a cable, round $round"
    link_ends
    make_keys
    start_daemon wg1 "$IMPL" e1
    start_daemon wg2 "$IMPL" e2
    configure_pair wg1 wg2 1 2 endpoint 10.0.0.2:2
    up e1 wg1 1
    up e2 wg2 2
    witnesses
    reaches_all
    ip netns del e1
    ip netns del e2
    still_there 1 >/dev/null || fail "a namespace vanished under its daemon"
    kill -TERM "${pid_of[wg1]}" "${pid_of[wg2]}"
    ended_well wg1 SIGTERM
    ended_well wg2 SIGTERM
    gone 1 "after its daemon"
    gone 2 "after its daemon"
    new_ends
done

for signal in TERM KILL; do
    step "each daemon at one end with its interface at the other, ended by SIG$signal"
    link_ends
    make_keys
    start_daemon wg1 "$IMPL" e1
    start_daemon wg2 "$IMPL" e2
    ip1 link set wg1 netns e2
    ip2 link set wg2 netns e1
    configure_pair wg1 wg2 1 2 endpoint 10.0.0.2:2
    up e2 wg1 1
    up e1 wg2 2
    witnesses
    reaches n2 192.168.241.2
    reaches n1 192.168.241.1
    ip netns del e1
    ip netns del e2
    kill -"$signal" "${pid_of[wg1]}"
    if [[ $signal == TERM ]]; then
        ended_well wg1 SIGTERM
        # The other one's interface was in the namespace that this one held, and that went with it.
        gone 1 "after its daemon"
        ended_well wg2 "deletion of its interface's namespace"
    else
        gone 1 "after its daemon"
        ends_within_a_second "${pid_of[wg2]}" "deletion of its interface's namespace"
        rm -f "$(socket_of wg1)"
    fi
    gone 2 "after its daemon"
    new_ends
done
