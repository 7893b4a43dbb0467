#!/usr/bin/env bash
# `rvpn monitor` tells what happens to peers, and a hook is run for it: in order, in bounds, with nothing of the daemon's.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "only rvpn has events"

hooked=$world/hooked
mkdir "$hooked"
cat >"$world/hook" <<HOOK
#!/bin/sh
exec >>"$hooked/\$RVPN_EVENT" 2>&1
{ env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort; echo; }
readlink /proc/\$\$/fd/0 /proc/\$\$/cwd >>"$hooked/files"
ls -l /proc/\$\$/fd | sed -n 's/.* \([0-9]\) -> .*/\1/p' | tr -d '\n' >>"$hooked/files"
echo >>"$hooked/files"
grep -e NoNewPrivs -e Seccomp: /proc/\$\$/status >>"$hooked/status"
echo "\$RVPN_EVENT \$RVPN_PEER" >>"$hooked/order"
[ "\$RVPN_PEER_NAME" != slow ] || sleep 60
HOOK
chmod +x "$world/hook"

# The event $2 with the words after it is told by monitor $1.
told() {
    local monitor=$1 event=$2 word
    shift 2
    local lines
    lines=$(grep "\"event\":\"$event\"" "$world/$monitor.json") || return 1
    for word in "$@"; do lines=$(grep -F -- "$word" <<<"$lines") || return 1; done
}
hooked() { grep -qsx -- "$2" "$hooked/$1"; }
lines_are() { (($(grep -c -- "$2" "$3") == $1)); }
runner_of() { pgrep -P "$1" -x rvpn-hooks || true; }
# The socket was bound under another name than it has: see src/control/socket.rs.
watches() { ss -Hx state established | awk -v name="/.$1." -v least="$2" 'index($0, name) { n++ } END { exit n < least }'; }

step "events are told to everyone who watches, and to the hook"
export RVPN_HOOK=$world/hook
start_daemon wg1 "$IMPL"
unset RVPN_HOOK
"$IMPL" monitor wg1 --json >"$world/first.json" 2>"$world/monitor.log" 9>&- &
first=$!
"$IMPL" monitor wg1 >"$world/people" 2>&1 9>&- &
people=$!
within 2 "both watch" watches wg1 2
start_daemon wg2 "$PEER"
make_keys
move wg1 e1
move wg2 e2
configure_pair wg1 wg2
"$IMPL" set wg1 peer "$pub2" name bob
up e1 wg1 1
up e2 wg2 2
endpoint wg1 "$pub2" 127.0.0.1:2
reaches n1 192.168.241.2
within 2 "the peer was added" told first added '"interface":"wg1"' "\"public_key\":\"$pub2\""
within 2 "it is connected" told first connected "\"public_key\":\"$pub2\"" '"name":"bob"' '"endpoint":"127.0.0.1:2"'
within 2 "people are told" grep -q "^20..-..-.. ..:..:..  bob (${pub2:0:8}…)  connected, at 127.0.0.1:2$" "$world/people"
within 2 "the hook is run" hooked connected "RVPN_PEER=$pub2"
for variable in TUN_DEV_NAME=wg1 RVPN_PEER_NAME=bob RVPN_ENDPOINT=127.0.0.1:2; do
    hooked connected $variable || fail "the hook's environment: $(<"$hooked/connected")"
done
expect "other variables" "$(grep -v -e ^RVPN_ -e ^TUN_DEV_NAME= -e ^PATH= -e '^$' "$hooked/connected" || true)" ""
expect "files of the hook" "$(sort -u "$hooked/files" | tr '\n' ' ')" "/ /dev/null 012 "
expect "rights of the hook" "$(sort -u "$hooked/status" | tr -d '\t' | tr '\n' ' ')" "NoNewPrivs:1 Seccomp:0 "

step "a roam, with both addresses"
wg set wg2 listen-port 9999
reaches n2 192.168.241.1
within 2 "roamed" told first roamed '"endpoint":"127.0.0.1:9999"' '"previous_endpoint":"127.0.0.1:2"'
within 2 "the hook is run" hooked roamed RVPN_PREVIOUS_ENDPOINT=127.0.0.1:2
expect "events so far: traffic is none" "$(grep -o '"event":"[a-z]*' "$world/first.json" | cut -d'"' -f4 | xargs)" "added connected roamed"

step "a stolen prefix names both, then come removals, in the order of what happened"
thief=$(wg genkey | wg pubkey)
"$IMPL" set wg1 peer "$thief" name thief allowed-ips 192.168.241.2/32
within 2 "stolen" told first allowed-ip-stolen "\"public_key\":\"$pub2\"" '"allowed_ip":"192.168.241.2/32"' \
    "\"other_public_key\":\"$thief\"" '"other_name":"thief"'
"$IMPL" set wg1 peer "$thief" remove
within 2 "the hook is run" hooked removed "RVPN_PEER=$thief"
hooked allowed-ip-stolen "RVPN_OTHER_PEER=$thief" || fail "the hook does not name the thief"
within 2 "the last hook is run" grep -qx "removed $thief" "$hooked/order"
expect "order" "$(grep -F "$thief" "$hooked/order" | cut -d' ' -f1 | xargs)" "added removed"
expect "order" "$(grep -F "$pub2" "$hooked/order" | cut -d' ' -f1 | xargs)" "added connected roamed allowed-ip-stolen"

step "a hundred peers at once: every one is told and hooked, four at a time"
for ((n = 1; n <= 100; n++)); do printf 'public_key=%064x\n' $((n + 4096)); done |
    { printf 'set=1\n'; cat; printf '\n'; } | socat -t 5 - "UNIX-CONNECT:$(socket_of wg1)" | grep -q '^errno=0'
within 10 "all are told" lines_are 102 '"event":"added"' "$world/first.json"
within 10 "all are hooked" lines_are 102 '^added' "$hooked/order"

step "one that reads nothing stalls nobody, and is told what it missed"
exec 8< <("$IMPL" monitor wg1 --json 9>&- || true)
within 2 "it watches" watches wg1 3
many=$(for ((n = 1; n <= 12000; n++)); do printf 'public_key=%064x\n' $((n + 65536)); done)
{ printf 'set=1\n%s\n\n' "$many"; } | socat -t 30 - "UNIX-CONNECT:$(socket_of wg1)" | grep -q '^errno=0'
reaches n2 fd00::1
# Its pipe and its socket hold a few thousand lines.
[[ $(timeout 20 grep -m1 -o '"event":"missed".*' <&8) == *'"count":'* ]] || fail "it was not told"
exec 8<&-

step "a hook that takes too long is ended; the daemon's end is the end of all"
runner=$(runner_of "${pid_of[wg1]}")
[[ -n $runner ]] || fail "no process for hooks"
refuse "it holds the interface" grep -q . <(find "/proc/$runner/fd" -lname '*/net/tun')
kill -KILL "${pid_of[wg1]}"
ends_within_a_second "${pid_of[wg1]}" SIGKILL
within 12 "the process for hooks ends" eval "! alive $runner"
for watcher in $first $people; do
    status=0
    wait "$watcher" || status=$?
    expect "status of a monitor whose daemon ended" "$status" 0
done

step "a hook that is none is said at the start"
rm -f "$(socket_of wg1)"
message=$("$IMPL" -f --hook "$world/no-such" wg1 2>&1 </dev/null) && fail "taken"
[[ $message == *"hook $world/no-such: no such file"* ]] || fail "the message: $message"
