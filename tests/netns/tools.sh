#!/usr/bin/env bash
# The tools that are built in do the work of wg: whole cases with them in its place, on rvpn and on wireguard-go.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
release=${CARGO_TARGET_DIR:-$root/target}/release/rvpn
IMPL=${IMPL:-$release}
tool=$IMPL
[[ ${tool##*/} == rvpn ]] || tool=$release

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
printf '#!/bin/sh\nexec "%s" "$@"\n' "$tool" >"$bin/wg"
chmod 755 "$bin" "$bin/wg"
[[ $(PATH="$bin:$PATH" wg --version) == rvpn* ]] || { echo "wg is not ours" >&2; exit 1; }

tried=0
for daemon in "$IMPL" "$(command -v wireguard-go || true)"; do
    [[ -n $daemon ]] || continue
    for case in config many_peers private_key_change roaming; do
        status=0
        printf '== %s with %s\n' "$case" "${daemon##*/}"
        IMPL=$daemon PEER=$daemon PATH="$bin:$PATH" "$here/$case.sh" || status=$?
        case $status in
            0) tried=$((tried + 1)) ;;
            77) ;;
            *) exit "$status" ;;
        esac
    done
done
((tried > 0)) || exit 77
