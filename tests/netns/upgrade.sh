#!/usr/bin/env bash
# Another process goes on with a live tunnel: no packet is lost, no session is new, and a broken one changes nothing.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "no other implementation hands over"

# The process that runs interface $1: who listens at its socket, and is not just going.
runs() {
    local pid
    for pid in $(world_pids); do
        [[ $(<"/proc/$pid/comm") == rvpn && $(tr '\0' ' ' <"/proc/$pid/cmdline") == *" $1 " ]] && echo "$pid"
    done 2>/dev/null || true
}

# Has another process go on with wg1; the one before must end, and the interface stay. `said` is what it said.
upgrade() {
    local before
    before=$(runs wg1)
    said=$("$IMPL" upgrade wg1 2>&1 9>&-) || fail "upgrade: $said"
    within 2 "the process before has ended" eval "! alive $before"
    [[ $(runs wg1) =~ ^[0-9]+$ ]] || fail "not one process runs wg1 but '$(runs wg1)'"
    [[ $(runs wg1) != "$before" ]] || fail "the same process runs wg1"
    pid_of[wg1]=$(runs wg1)
    step "$said"
}

# The sum of received and sent bytes of wg1.
bytes() { echo $(($(received_by wg1 "$pub2") + $(sent_by wg1 "$pub2"))); }
inode() { stat -c %i "$(socket_of wg1)"; }

build_tunnel
reaches_all
wg set wg1 fwmark 0x77 peer "$pub2" persistent-keepalive 25
configuration=$(wg showconf wg1)
index=$(ip1 -o link show wg1 | cut -d: -f1) socket=$(inode)

step "three times under load: pings every 10 ms, and one TCP stream each way"
n2 timeout 120 iperf3 -s -B 192.168.241.2 >"$world/iperf3-server.log" 2>&1 9>&- </dev/null &
within 3 "iperf3 listens" listens n2 5201
n1 timeout 120 iperf3 -c 192.168.241.2 -t 110 --bidir >"$world/iperf3.log" 2>&1 9>&- </dev/null &
client=$!
start_pinging e2 192.168.241.1
handshakes="$(handshake_of wg1 "$pub2") $(handshake_of wg2 "$pub1")"
made=$(grep -c 'Keypair created' "$world/wg2.log")
for ((n = 1; n <= 3; n++)); do
    counted=$(bytes)
    upgrade
    (($(bytes) >= counted)) || fail "the counters went back: $counted, then $(bytes)"
    alive "$client" || fail "the TCP streams ended: $(tail -n 3 "$world/iperf3.log")"
    answered=$(grep -c icmp_seq= "$world/ping.log")
    within 3 "pings go on" eval "((\$(grep -c icmp_seq= '$world/ping.log') >= $answered + 20))"
done
# With the streams' queues gone, few pings are on their way at the end.
kill "$client"
wait "$client" 2>/dev/null || true
stop_pinging "three upgrades under load"
expect "last handshakes" "$(handshake_of wg1 "$pub2") $(handshake_of wg2 "$pub1")" "$handshakes"
expect "keypairs the other end has made" "$(grep -c 'Keypair created' "$world/wg2.log")" "$made"

step "all is as it was, and can be changed"
expect "configuration" "$(wg showconf wg1)" "$configuration"
expect "index of the interface" "$(ip1 -o link show wg1 | cut -d: -f1)" "$index"
expect "the socket's file" "$(inode)" "$socket"
[[ $(ss -Haune 'sport = :1') == *fwmark:0x77* ]] || fail "the sockets lost their mark"
expect "filters of system calls" "$(awk '$1 == "Seccomp:" { print $2 }' "/proc/${pid_of[wg1]}/status")" 2
wg set wg1 listen-port 4711
[[ -z $(ss -Haun 'sport = :1') ]] || fail "the port of before is still bound"
reaches n1 192.168.241.2
wg set wg1 listen-port 1
reaches n1 fd00::2
ip1 link set wg1 mtu 1300
within 2 "the MTU is followed" eval "[[ \$(grep -c 'MTU 1300' '$world/wg1.log') == 1 ]]"

# Has the program $2 go on, which is broken: $1 says how. The process that runs wg1 stays, and not a packet is lost.
broken() {
    local before said
    before=$(runs wg1)
    if said=$("$IMPL" upgrade --program "$2" wg1 2>&1 9>&-); then fail "$1: it went on: $said"; fi
    expect "the process that runs wg1, $1" "$(runs wg1)" "$before"
    [[ $said == *"wg1 goes on as it was"* ]] || fail "$1: the message is: $said"
    step "$1: $said"
}

step "a program that is broken"
handshakes=$(handshake_of wg1 "$pub2")
start_pinging e2 192.168.241.1
broken "it is none" /dev/null
broken "it ends at once" "$(command -v false)"
printf '#!/bin/sh\nexec sleep 100\n' >"$world/hangs" && chmod 755 "$world/hangs"
broken "it says nothing" "$world/hangs"
# One that gets all there is and then neither goes on nor ends: stopped when it has been offered the device.
cat >"$world/stops" <<-END
	#!/usr/bin/env python3
	import os, socket, time
	channel = socket.socket(fileno=0)
	daemon = socket.socket(socket.AF_UNIX)
	daemon.connect("$(socket_of wg1)")
	daemon.sendall(b"rvpn_ask=upgrade\nversion=1\n\n")
	channel.sendall(b"\1")
	def frame():
	    head = daemon.recv(5, socket.MSG_WAITALL)
	    return head[0], daemon.recv(int.from_bytes(head[1:], "little"), socket.MSG_WAITALL)
	assert daemon.recv(1) == b"\0"
	assert frame()[0] == 0
	daemon.recv(1)
	while frame()[0] != 3: pass
	daemon.sendall(b"\4\0\0\0\0")
	while frame()[0] != 3: pass
	if "MUTE" in os.environ: time.sleep(100)
	channel.sendall(b"it has seen enough")
END
chmod 755 "$world/stops"
broken "it takes all and ends" "$world/stops"
stop_pinging "five programs that are broken"
expect "last handshake" "$(handshake_of wg1 "$pub2")" "$handshakes"

step "one that says nothing while packets wait: the tunnel goes on after 5 s"
started=$(now_ms)
MUTE=1 "$IMPL" upgrade --program "$world/stops" wg1 >"$world/mute.log" 2>&1 9>&- &
mute=$!
within 3 "packets wait" eval "! n2 ping -n -q -c 1 -W 0.2 192.168.241.1"
within 8 "the tunnel goes on" n2 ping -n -q -c 1 -W 0.2 192.168.241.1
step "after $(($(now_ms) - started)) ms"
expect "last handshake" "$(handshake_of wg1 "$pub2")" "$handshakes"
kill "$mute" && wait "$mute" 2>/dev/null || true

step "and then one that works"
upgrade
reaches_all

step "signals, and the end"
kill -USR2 "${pid_of[wg1]}"
within 1 "the log says what to do instead" grep -q 'SIGUSR2.*rvpn upgrade' "$world/wg1.log"
kill -TERM "${pid_of[wg1]}"
ends_within_a_second "${pid_of[wg1]}" SIGTERM
within 1 "the interface is gone" eval "! ip1 link show dev wg1"
[[ ! -e $(socket_of wg1) ]] || fail "a socket is left"
refuse "there is nothing to hand over" "$IMPL" upgrade wg1
