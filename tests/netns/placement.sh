#!/usr/bin/env bash
# UDP sockets are where --listen, --bind-device and --netns say: at one address, on one interface, in another namespace.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "these options are rvpn's own"

# Two cables between the ends; by the routes, all goes over the first.
link_ends
ip link add veth3 netns e1 type veth peer name veth4 netns e2
ip1 addr add 10.0.3.1/24 dev veth3
ip2 addr add 10.0.3.2/24 dev veth4
ip1 link set veth3 up
ip2 link set veth4 up
ip1 addr add 10.0.0.11/24 dev veth1
make_keys
start_daemon wg2 "$PEER" e2
wg set wg2 private-key <(echo "$key2") listen-port 2 peer "$pub1" allowed-ips 192.168.241.1/32,fd00::1/128
up e2 wg2 2

# Runs end 1 anew with these options, and configures it.
end_1() {
    exec_in e1 env LOG_LEVEL=verbose "$IMPL" -f "$@" wg1 >"$world/wg1.log" 2>&1 9>&- </dev/null &
    pid_of[wg1]=$! program_of[wg1]=$IMPL
    within 5 "the socket of wg1 answers" answers wg1
    wg set wg1 private-key <(echo "$key1") listen-port 1 peer "$pub2" allowed-ips 192.168.241.2/32,fd00::2/128 endpoint 10.0.0.2:2
    up e1 wg1 1
}
end_1_goes() {
    ip1 link del wg1
    ends_within_a_second "${pid_of[wg1]}" "its interface is deleted"
}
sockets() { $1 ss -Hlun "sport = :1" | awk '{ print $4 }' | sort | xargs; }
packets_on() { ip1 -s -j link show "$1" | grep -o '"tx":{"bytes":[0-9]*,"packets":[0-9]*' | grep -o '[0-9]*$'; }

step "at one address: it is the source, and there is no socket of the other family"
end_1 --listen 10.0.0.11
expect "sockets" "$(sockets n1)" "10.0.0.11:1"
reaches n1 192.168.241.2
expect "where the other end hears it from" "$(endpoint_of wg2 "$pub1")" 10.0.0.11:1
end_1_goes
end_1 --listen fd00:aa::1,10.0.0.1
expect "sockets of both families" "$(sockets n1)" "10.0.0.1:1 [fd00:aa::1]:1"
end_1_goes

step "an address that is none is a sentence"
if message=$(n1 "$IMPL" -f --listen 10.0.0.99 wg1 2>&1); then fail "an address of somebody else was taken"; fi
[[ $message == *"10.0.0.99 is no address of this host"* ]] || fail "the error does not say so: $message"
if message=$(n1 env RVPN_LISTEN=10.0.0.1:7 "$IMPL" -f wg1 2>&1); then fail "an address with a port was taken"; fi
[[ $message == *"RVPN_LISTEN=10.0.0.1:7: expected an address"* ]] || fail "the error does not say so: $message"

step "on one interface, whatever the routes say: the first cable is free, the second carries it"
ip2 addr add 10.0.0.2/32 dev lo
ip1 route add 10.0.0.2/32 dev veth3 metric 500
end_1 --bind-device veth3
before=$(packets_on veth1)
within 5 "it answers over the second cable" n1 ping -n -q -c 1 -W 1 192.168.241.2
n1 ping -n -q -c 20 -i 0.01 192.168.241.2 >/dev/null
(($(packets_on veth3) >= 20)) || fail "the second cable carried $(packets_on veth3) packets"
(($(packets_on veth1) - before < 5)) || fail "the first cable carried $(($(packets_on veth1) - before)) packets"
step "packets of 20 pings over the first cable: $(($(packets_on veth1) - before))"
end_1_goes
if message=$(n1 env RVPN_BIND_DEVICE=veth9 "$IMPL" -f wg1 2>&1); then fail "an interface that is not there was taken"; fi
[[ $message == *"cannot send by the interface veth9: there is no such interface"* ]] || fail "the error does not say so: $message"

step "in another namespace than the interface, by name and by process, in the background too"
ip netns add inner
ip -n inner link set lo up
for netns in e1 "$$"; do
    namespace=n1
    if [[ $netns == "$$" ]]; then namespace='env'; fi
    LOG_LEVEL=verbose RVPN_NETNS=$netns nsenter --net=/run/netns/inner -- "$IMPL" wg1 >"$world/wg1.log" 2>&1 9>&- </dev/null
    pid=$(pidof_daemon wg1)
    [[ -n $pid ]] || fail "there is no process: $(cat "$world/wg1.log")"
    ip -n inner link show wg1 >/dev/null || fail "the interface is not where it was made"
    wg set wg1 private-key <(echo "$key1") listen-port 1 peer "$pub2" allowed-ips 192.168.241.2/32 endpoint 10.0.0.2:2
    up inner wg1 1
    within 1 "the sockets are in $netns" eval '[[ -n $(sockets $namespace) ]]'
    expect "sockets beside the interface" "$(sockets "nsenter --net=/run/netns/inner --")" ""
    if [[ $netns == e1 ]]; then within 5 "it answers" nsenter --net=/run/netns/inner -- ping -n -q -c 1 -W 1 192.168.241.2; fi
    ip -n inner link del wg1
    ends_within_a_second "$pid" "its interface is deleted"
done
if message=$(RVPN_NETNS=nowhere "$IMPL" -f wg1 2>&1); then fail "a namespace that is not there was taken"; fi
[[ $message == *"cannot enter the network namespace of the sockets: /run/netns/nowhere: "* ]] || fail "the error does not say so: $message"
