#!/usr/bin/env bash
# Our wg speaks to the kernel's driver as the stock one does: what either sets, both show, to the byte.
. "$(dirname "$0")/../netns/lib.sh"
isolate "$@"
# The driver is the one that is asked, whatever is at the ends of other cases.
tool=$IMPL
is_rvpn "$tool" || tool=$PEER
is_rvpn "$tool" || skip "neither end is ours"

# Both tools say the same with the same status: same ARGUMENTS...
same() {
    local ours=0 theirs=0
    wg "$@" >"$world/theirs.out" 2>"$world/theirs.err" || theirs=$?
    "$tool" "$@" >"$world/ours.out" 2>"$world/ours.err" || ours=$?
    expect "status of '$*'" "$ours" "$theirs"
    cmp -s "$world/theirs.out" "$world/ours.out" ||
        fail "'$*' differs: $(diff "$world/theirs.out" "$world/ours.out" | head -n 6)"
}

# Both show the same of an interface in every way there is.
same_shown() {
    local field
    same show interfaces
    same showconf "$1"
    for field in public-key private-key listen-port fwmark peers preshared-keys endpoints allowed-ips latest-handshakes \
        transfer persistent-keepalive dump; do
        same show "$1" "$field"
    done
    WG_COLOR_MODE=always WG_HIDE_KEYS=never same show "$1"
    same show all dump
}

# The two that hold everything: an emulated machine starts programs slowly.
same_dumped() {
    same showconf "$1"
    same show "$1" dump
}

# The driver has the same in theirs, which stock wg has changed, as in ours, which our tool has.
equal() {
    diff <(wg show theirs dump) <(wg show ours dump) >"$world/difference" ||
        fail "$1: the driver has something else: $(head -n 6 "$world/difference")"
}

# The same change by either tool: change WORD ARGUMENTS...
change() {
    local word=$1
    shift
    wg "$word" theirs "$@"
    "$tool" "$word" ours "$@"
    equal "$word $*"
}

for name in theirs ours third; do ip link add "$name" type wireguard; done
make_keys
echo "$psk" >"$world/psk"
echo "$key1" >"$world/key"
chmod 600 "$world/psk" "$world/key"

step "a device without a word"
same_shown ours

step "a file with everything"
cat >"$world/all.conf" <<CONF
[Interface]
PrivateKey = $key1
ListenPort = 4711
FwMark = 0xca6c
[Peer]
PublicKey = $pub1
AllowedIPs = 10.1.0.0/16
[Peer]
PublicKey = $pub2
PresharedKey = $psk
AllowedIPs = 192.168.241.2/32, fd00::2/128, 0.0.0.0/0, ::/0
Endpoint = 127.0.0.1:2
PersistentKeepalive = 25
[Peer]
PublicKey = $(wg genkey | wg pubkey)
Endpoint = [fe80::1%lo]:7
AllowedIPs = fd07::/64
CONF
chmod 600 "$world/all.conf"
change setconf "$world/all.conf"
same_shown ours
(($(wg show ours peers | wc -l) == 2)) || fail "the driver leaves out a peer with its own key, and nothing else"

step "each word of set"
change set listen-port 4712 fwmark 7
change set private-key "$world/key" peer "$pub2" preshared-key /dev/null persistent-keepalive off
change set peer "$pub2" allowed-ips 10.9.0.0/24,fd09::/64 endpoint '[::1]:9' preshared-key "$world/psk"
change set peer "$pub2" allowed-ips ''
same_dumped ours
change set fwmark off peer "$pub2" remove
sed -n '/^\[Peer\]/,$p' "$world/all.conf" >"$world/peers.conf"
chmod 600 "$world/peers.conf"
change addconf "$world/peers.conf"
same_dumped ours
change set private-key /dev/null
same_dumped ours

step "six hundred peers, one of them with two thousand networks"
{
    sed '/^\[Peer\]/,$d' "$world/all.conf"
    # Keys of 43 digits are as good as any to a device that nobody talks to.
    for n in {10001..10600}; do
        printf '[Peer]\nPublicKey = %s\nAllowedIPs = 10.%d.%d.0/24, fd00:%x::/64\n' \
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA${n}0=" $((n % 1000 / 250)) $((n % 250)) "$n"
    done
    printf 'AllowedIPs = '
    for n in {1..1999}; do printf '11.%d.%d.0/24, ' $((n / 250)) $((n % 250)); done
    printf '12.0.0.0/8\n'
} >"$world/many.conf"
chmod 600 "$world/many.conf"
change setconf "$world/many.conf"
same_dumped ours
change syncconf "$world/all.conf"
same_dumped ours

step "a live session"
move_to() {
    ip link add "$2" type wireguard
    ip link set "$2" netns "$1"
}
move_to e1 wg1
move_to e2 wg2
n1 "$tool" set wg1 private-key "$world/key" listen-port 1 peer "$pub2" allowed-ips 192.168.241.2/32 endpoint 127.0.0.1:2
n2 "$tool" set wg2 private-key <(echo "$key2") listen-port 2 peer "$pub1" allowed-ips 192.168.241.1/32
up e1 wg1 1
up e2 wg2 2
within 10 "a ping passes" n1 ping -n -q -c 1 -W 2 192.168.241.2
# Nothing moves between the two: the session has 10 s until its next keepalive.
n1 wg show wg1 dump >"$world/theirs.out"
n1 "$tool" show wg1 dump >"$world/ours.out"
cmp "$world/theirs.out" "$world/ours.out"
[[ $(n1 "$tool" show wg1 latest-handshakes) != *$'\t'0 ]] || fail "there was a handshake, and it is not shown"

step "what is refused"
if ! "$tool" set ours peer "$pub2" allowed-ips -10.9.0.0/24 2>"$world/refusal"; then
    grep -q "drivers before Linux 6.16" "$world/refusal" || fail "the refusal does not say why: $(<"$world/refusal")"
fi
same show no-such
same showconf lo
same set ours listen-port 1 peer x
setpriv --reuid 65534 --clear-groups "$tool" show ours >/dev/null 2>"$world/refusal" && fail "anyone may read keys"
grep -q "ours: cannot ask the kernel's driver: operation not permitted" "$world/refusal" ||
    fail "the refusal does not say why: $(<"$world/refusal")"
