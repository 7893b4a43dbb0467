#!/usr/bin/env bash
# A hundred link flaps, then a storm of configuration by 1,000 clients, leave the daemon whole; it ends within 2 s in the middle.
#
# 100 flaps in 6 s and 8 s of storm; LONG=1: 500 flaps in 30 s and 60 s of storm. Every client gets a whole answer or a
# clean close, and no `get` takes longer than 5 s.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "the figures are rvpn's"
command -v python3 >/dev/null || fail "no python3"

flaps=100 storm=8
((LONG == 0)) || flaps=500 storm=60

build_tunnel
reaches_all
descriptors() { find "/proc/${pid_of[wg1]}/fd" -type l | wc -l; }
memory() { awk '/^VmRSS/ { print $2 }' "/proc/${pid_of[wg1]}/status"; }

step "$flaps link flaps under traffic"
n2 ping -n -q -i 0.01 192.168.241.1 >/dev/null 2>&1 9>&- &
before=$(descriptors)
started=$(now_ms)
for ((flap = 1; flap <= flaps; flap++)); do
    ip1 link set wg1 down
    within 1 "half of flap $flap" eval '(($(now_ms) >= started + 60 * flap - 30))'
    ip1 link set wg1 up
    within 1 "flap $flap" eval '(($(now_ms) >= started + 60 * flap))'
done
step "they took $(($(now_ms) - started)) ms"
ip1 addr replace fd00::1/112 dev wg1 nodad
within 12 "a ping passes after the flaps" n1 ping -n -q -c 1 -W 1 192.168.241.2
within 1 "as many files are open as before: $before" eval '(($(descriptors) == before))'

step "$storm s of a storm by 1,000 clients"
hex() { base64 -d | od -An -v -tx1 | tr -d ' \n'; }
printf '%s\n' "$(hex <<<"$key1")" "$(wg genkey | hex)" >"$world/keys"
# Each client has a file, and so has Python.
ulimit -n 4096
python3 "$here/storm.py" "$(socket_of wg1)" 1000 "$world/keys" >"$world/storm" 2>"$world/storm.log" 9>&- &
storming=$!
started=$(now_ms)
within "$((storm + 1))" "the storm is over" eval '(($(now_ms) >= started + storm * 1000)) || ! alive "$storming"'
alive "$storming" || fail "the clients gave up: $(tail -n 3 "$world/storm.log")"
alive "${pid_of[wg1]}" || fail "the daemon did not survive the storm"
step "$(descriptors) files open in it, $(memory) KiB of memory"

step "its end, in the middle of it"
started=$(now_ms)
kill -TERM "${pid_of[wg1]}"
within 2 "the daemon ends" eval '! alive "${pid_of[wg1]}"'
took=$(($(now_ms) - started))
status=0
wait "${pid_of[wg1]}" || status=$?
expect "exit status" "$status" 0
within 1 "the interface is gone" eval '! ip1 link show dev wg1'
[[ ! -e $(socket_of wg1) ]] || fail "its socket is left"
wait "$storming" || fail "the clients failed: $(tail -n 3 "$world/storm.log")"
left=$(objects_left wg1)
step "$left"
nothing_is_left wg1 "${left%; made *}"
# shellcheck disable=SC1091
. "$world/storm"
step "ended in $took ms; requests answered: ${answered:?}, closed without an answer: ${closed:?}, slowest get: ${slowest_get:?} ms"
expect "answers torn" "${torn:?}" 0
expect "requests with neither answer nor close" "${hung:?}" 0
((answered > 300)) || fail "only $answered requests were answered"
((slowest_get < 5000)) || fail "a get took $slowest_get ms"
