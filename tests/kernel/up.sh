#!/usr/bin/env bash
# `rvpn up` uses the kernel's driver where there is one: `reload` and `save` reach it, and `down` leaves nothing.
. "$(dirname "$0")/../netns/lib.sh"
isolate "$@"
# The driver is there whatever is at the ends of other cases.
tool=$IMPL
is_rvpn "$tool" || tool=$PEER
is_rvpn "$tool" || skip "neither end is ours"
file=$world/kernel0.conf

tables() {
    ip link show
    ip rule
    ip -6 rule
    ip route show table all
    nft list ruleset
}

index_of_link() { ip -o link show kernel0 | cut -d: -f1; }

step "up, with the driver"
(umask 077 && "$tool" genkey >"$world/mine" && "$tool" genkey >"$world/theirs")
theirs=$("$tool" pubkey <"$world/theirs")
cat >"$file" <<EOF
[Interface]
PrivateKey = $(<"$world/mine")
Address = 10.77.0.1/24, fd77::1/64
ListenPort = 7001
[Peer]
PublicKey = $theirs
AllowedIPs = 10.77.0.2/32, fd77::2/128
Endpoint = 127.0.0.1:7002
EOF
chmod 600 "$file"
before=$(tables)
"$tool" up "$file"
ip -d link show kernel0 | grep -qw wireguard || fail "kernel0 is not the driver's"
expect "allowed IPs" "$(wg show kernel0 allowed-ips)" "$theirs"$'\t'"10.77.0.2/32 fd77::2/128"

step "reload, without losing what is there"
index=$(index_of_link)
sed -i 's|^AllowedIPs = |&10.78.0.0/24, |' "$file"
"$tool" reload "$file"
expect "the interface" "$(index_of_link)" "$index"
expect "the new route" "$(ip route show dev kernel0 10.78.0.0/24)" "10.78.0.0/24 scope link "

step "save"
wg set kernel0 listen-port 7003
"$tool" save "$file"
grep -qx 'ListenPort = 7003' "$file" || fail "the new port is not in the file"

step "down"
"$tool" down "$file"
expect "links, rules, routes and filters" "$(tables)" "$before"
