#!/usr/bin/env bash
# `rvpn up` tells systemd-resolved over D-Bus, else the program resolvconf, of the file's DNS servers; `down` takes it back.
#
# systemd-resolved is Debian's own, on a bus of this case's own. It is unpacked and not installed: its package takes over
# /etc/resolv.conf. Without resolvconf there is a stub of that program, which writes down how it is called.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "up and down are rvpn's own"
resolved=$cache/systemd-resolved
[[ -x $resolved/lib/systemd/systemd-resolved ]] || skip "no $resolved: run 'scripts/needs test' first"
command -v dbus-daemon >/dev/null || skip "no dbus-daemon"

link_ends
make_keys
echo "nameserver 192.0.2.1" >"$world/resolv.conf"
mount --bind "$world/resolv.conf" /etc/resolv.conf
cat >"$world/wgq.conf" <<CONF
[Interface]
PrivateKey = $key1
Address = 192.168.241.1/24
DNS = 10.0.0.53, fd00::53, example.com

[Peer]
PublicKey = $pub2
AllowedIPs = 0.0.0.0/0
Endpoint = 10.0.0.2:2
CONF
chmod 600 "$world/wgq.conf"
rvpn() { n1 "$IMPL" "$@" >"$world/rvpn.log" 2>&1 9>&- </dev/null || fail "$1 failed: $(cat "$world/rvpn.log")"; }

step "by resolvconf, where there is no bus"
mkdir "$world/bin"
printf '#!/bin/sh\necho "$@" >>"%s"\ncat >>"%s"\n' "$world/called" "$world/called" >"$world/bin/resolvconf"
chmod 755 "$world/bin/resolvconf"
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$world/bus
PATH=$world/bin:$PATH rvpn up "$world/wgq.conf"
PATH=$world/bin:$PATH rvpn down wgq
expect "what resolvconf was told" "$(cat "$world/called")" \
    $'-a wgq -m 0 -x\nnameserver 10.0.0.53\nnameserver fd00::53\nsearch example.com\n-d wgq -f'

step "by systemd-resolved"
# It wants a user of its own, and takes any.
{ cat /etc/passwd; echo "systemd-resolve:x:0:0::/:/bin/false"; } >"$world/passwd"
mount --bind "$world/passwd" /etc/passwd
cat >"$world/bus.conf" <<CONF
<busconfig>
  <type>system</type>
  <listen>unix:path=$world/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
CONF
dbus-daemon --config-file="$world/bus.conf" --nofork --nopidfile >"$world/bus.log" 2>&1 9>&- </dev/null &
within 5 "the bus is there" test -S "$world/bus"
mkdir /run/systemd
export LD_LIBRARY_PATH=$resolved/usr/lib/$(uname -m)-linux-gnu/systemd
exec_in e1 "$resolved/lib/systemd/systemd-resolved" >"$world/resolved.log" 2>&1 9>&- </dev/null &
ctl() { n1 "$resolved/usr/bin/resolvectl" --no-pager "$@"; }
within 10 "systemd-resolved answers" ctl dns
before=$(ctl dns; ctl domain; ctl default-route)

rvpn up "$world/wgq.conf"
grep -q 'by systemd-resolved' "$world/rvpn.log" || fail "it was not told: $(cat "$world/rvpn.log")"
[[ $(ctl dns wgq) == *"(wgq): 10.0.0.53 fd00::53" ]] || fail "servers: $(ctl dns wgq)"
[[ $(ctl domain wgq) == *"(wgq): example.com ~." ]] || fail "domains: $(ctl domain wgq)"
[[ $(ctl default-route wgq) == *"(wgq): yes" ]] || fail "default route: $(ctl default-route wgq)"
expect "resolv.conf" "$(cat /etc/resolv.conf)" "nameserver 192.0.2.1"

step "a reload tells it of other servers"
sed -i 's/^DNS = .*/DNS = 10.0.0.54/' "$world/wgq.conf"
rvpn reload wgq
[[ $(ctl dns wgq) == *"(wgq): 10.0.0.54" ]] || fail "servers: $(ctl dns wgq)"
sed -i '/^DNS/d' "$world/wgq.conf"
rvpn reload wgq
[[ $(ctl dns wgq) == *"(wgq):" ]] || fail "servers: $(ctl dns wgq)"

step "down takes it back"
rvpn down wgq
same() { [[ $(ctl dns; ctl domain; ctl default-route) == "$before" ]]; }
within 2 "it knows of no more than before" same
