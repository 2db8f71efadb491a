#!/bin/bash
# The whole comparison in one go: corpora, servers, and row by row what each of them takes.
#
#   [SERVERS="ours/mbox ours/mbx dovecot/mbox"] [CORPUS=mbox-charsets] compare.sh [COUNT [ARGUMENTS OF compare.py]]
#
# CORPUS names mail of another kind than the usual; there is none of it in mbx.
# SERVERS names what is compared, each as PROGRAM/FORMAT: `ours` in any format that mailboxes can be made in, `dovecot`
# (Debian's dovecot-imapd) in mbox or maildir. Needs root, and room for two copies of the mail for each of them under
# ${TMPDIR:-/tmp}.
set -euo pipefail
count=${1:-10000}
shift || true
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/ailurus-bench.XXXXXX")
chmod 755 "$work"
started=()
cleanup() {
    for process in "${started[@]}"; do kill "$process" 2> /dev/null || true; done
    wait || true
    rm -rf "$work"
}
trap cleanup EXIT
# Here, for a server that is being built does not answer in time.
cargo build --quiet --release --manifest-path "$here/../Cargo.toml" -p ailurus-daemon -p xtask
corpus() { cargo run --quiet --release --manifest-path "$here/../Cargo.toml" -p xtask -- corpus "$1" "$count" 1 "$work/mail.$2"; }
corpus "${CORPUS:-mbox}" mbox
if [ -z "${CORPUS:-}" ]; then corpus mbx mbx; fi
# Prints the description that a server has written to its file.
described() {
    for _ in $(seq 600); do
        grep -s ^name= "$1" && return
        sleep 0.1
    done
    echo "no server: $1" >&2
    exit 1
}
port=21431 descriptions=()
for server in ${SERVERS:-ours/mbox ours/mbx dovecot/mbox}; do
    name=${server/\//-}
    "$here/${server%/*}.sh" "$work/$name" $port "${server#*/}" > "$work/$name.txt" & started+=($!)
    port=$((port + 2))
    description=$(described "$work/$name.txt")
    if [ "$server" = ours/mbx ]; then description+=,mail=$work/mail.mbx; fi
    descriptions+=("$description")
done
sleep 1
"$here/compare.py" --mail "$work/mail.mbox" --count "$count" "$@" "${descriptions[@]}"
