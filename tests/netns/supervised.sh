#!/usr/bin/env bash
# Under a service manager and with no more rights than rvpn@.service gives: it is told, and the tunnel works.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "the unit is rvpn's"

heard() { { grep -ao "$1" "$world/heard" || true; } | wc -l; }
has_heard() { (($(heard "$1") >= $2)); }

link_ends
make_keys
step "it says that it is ready when it can be configured"
socat -u "UNIX-RECV:$world/notify" "CREATE:$world/heard" 9>&- &
within 2 "the service manager listens" test -S "$world/notify"
# The service manager is patient for a second. As in the unit: one capability, no new rights, a /proc of processes alone.
LOG_LEVEL=verbose NOTIFY_SOCKET=$world/notify WATCHDOG_USEC=1000000 exec_in e1 unshare --mount bash -c '
    mount -t proc -o subset=pid proc /proc
    exec setpriv --bounding-set=-all,+net_admin --inh-caps=-all --no-new-privs "$@"' supervised \
    "$IMPL" -f wg1 >"$world/wg1.log" 2>&1 9>&- </dev/null &
pid_of[wg1]=$! program_of[wg1]=$IMPL
within 5 "READY" has_heard READY=1 1
answers wg1 || fail "it said that it is ready, and is not"

step "it carries packets"
start_daemon wg2 "$PEER" e2
# A port below 1024 would take a second capability.
configure_pair wg1 wg2 51821 51822 endpoint 10.0.0.2:51822
up e1 wg1 1
up e2 wg2 2
reaches_all

step "it gives signs of life, and says when it stops"
count=$(heard WATCHDOG=1)
within 3 "three more signs of life" has_heard WATCHDOG=1 $((count + 3))
expect "words before the end" "$(heard STOPPING=1) $(heard READY=1)" "0 1"
kill -TERM "${pid_of[wg1]}"
ends_within_a_second "${pid_of[wg1]}" SIGTERM
within 1 "STOPPING" has_heard STOPPING=1 1

step "a process in the background has no supervisor"
NOTIFY_SOCKET=$world/notify "$IMPL" wg1 2>"$world/wg1.log" 9>&- </dev/null
wg show wg1 >/dev/null
ip link delete wg1
within 1 "the socket of wg1 is gone" eval "[[ ! -e $(socket_of wg1) ]]"
expect "words of all" "$(heard READY=1) $(heard STOPPING=1)" "1 1"
