#!/usr/bin/env bash
# Under a service manager and with no more rights than rvpn@.service gives: it is told, and the tunnel works. Its socket
# may come from there, and its log go there.
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

step "the first who asks has it started, on the socket that the service manager keeps"
socket=$(socket_of wg4)
systemd-socket-activate -l "$socket" -E PATH -E RVPN_HARDENING -E LOG_LEVEL=verbose -E LOG_FORMAT=json \
    "$IMPL" -f wg4 >"$world/wg4.log" 2>&1 9>&- </dev/null &
pid_of[wg4]=$!
within 2 "the service manager listens" test -S "$socket"
refuse "nobody has asked, and it is started" ip link show wg4
wg set wg4 private-key <(echo "$key1")
expect "public key" "$(wg show wg4 public-key)" "$pub1"
kill -TERM "${pid_of[wg4]}"
ends_within_a_second "${pid_of[wg4]}" SIGTERM
[[ -S $socket ]] || fail "it took the socket away that another made"
grep -q '^{"interface":"wg4","level":"debug","message":"wg4: device started","time":"20.*Z"}$' "$world/wg4.log" ||
    fail "no line of JSON says that it is started"

step "the journal gets fields"
mkdir -p /run/systemd/journal
socat -u UNIX-RECV:/run/systemd/journal/socket "CREATE:$world/journal" 9>&- &
within 2 "the journal listens" test -S /run/systemd/journal/socket
: >"$world/wg5.log"
stream=$(stat -c %d:%i "$world/wg5.log")
JOURNAL_STREAM=$stream LOG_LEVEL=verbose exec_in "" "$IMPL" -f wg5 \
    >>"$world/wg5.log" 2>&1 9>&- </dev/null &
pid_of[wg5]=$! program_of[wg5]=$IMPL
within 5 "the socket answers" answers wg5
"$IMPL" set wg5 private-key <(echo "$key1") peer "$pub2" name bob
within 2 "the event" grep -aq '^RVPN_EVENT' "$world/journal"
# A value follows its length, eight bytes, least first.
entry=$(tr '\0' '.' <"$world/journal" | grep -a -B 12 -A 30 'Peer bob')
for value in PRIORITY:6 SYSLOG_IDENTIFIER:rvpn RVPN_INTERFACE:wg5 RVPN_EVENT:added "RVPN_PEER:$pub2" \
    RVPN_PEER_NAME:bob; do
    grep -a -A 1 "^${value%%:*}\$" <<<"$entry" | grep -aqF "${value#*:}" || fail "no $value in the entry: $entry"
done
[[ ! -s $world/wg5.log ]] || fail "it is on standard error, too: $(<"$world/wg5.log")"
refuse "a private key is in the journal" grep -aqF "$key1" "$world/journal"
kill -TERM "${pid_of[wg5]}"
ends_within_a_second "${pid_of[wg5]}" SIGTERM
