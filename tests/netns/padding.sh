#!/usr/bin/env bash
# Padding stops at the MTU: no outer packet is larger than that of a whole inner one.
#
# In the kernel's test the device has an MTU of 1300 and a route over it one of 1299, at which its padding stops. A TUN
# device does not tell which route a packet took: here the device itself has 1299.
. "$(dirname "$0")/lib.sh"
isolate "$@"

mtu=1299
build_tunnel
ip1 link set wg1 mtu $mtu
ip2 link set wg2 mtu $mtu
reaches_all
# 20 bytes of IPv4, 8 of UDP, 16 of header and 16 of tag around each packet. One of 1297 bytes may be padded to 1299 and
# makes 1359; padded to a multiple of 16, which is 1312, it would make 1372, and 1360 if cut at the device's 1300.
nft -f - <<'NFT'
table inet outer {
    counter whole {}
    chain out {
        type filter hook output priority 0
        udp dport { 1, 2 } meta length > 1359 drop
        udp dport { 1, 2 } meta length 1359 counter name whole
    }
}
NFT
whole() { nft -j list counter inet outer whole | grep -o '"packets": [0-9]*' | grep -o '[0-9]*'; }

# All sizes over the last multiple of 16, which is 1296, become the MTU; request and reply are counted.
sent=0
for len in 1297 1298 1299; do
    n1 ping -n -q -c 1 -W 1 -M do -s $((len - 28)) 192.168.241.2 >/dev/null || fail "no answer to a packet of $len bytes"
    sent=$((sent + 2))
    expect "outer packets of 1359 bytes after one of $len" "$(whole)" $sent
done
n1 ping -n -q -c 1 -W 1 -M do -s $((1296 - 28)) 192.168.241.2 >/dev/null || fail "no answer to a packet of 1296 bytes"
expect "outer packets of 1359 bytes after one of 1296" "$(whole)" $sent
