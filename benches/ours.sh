#!/bin/bash
# Starts `ailurus serve` as the user nobody on 127.0.0.1, for compare.py.
#
#   ours.sh DIRECTORY PORT [mbox|mbx|any other format that mailboxes can be made in]
#
# Prints the server's description for compare.py and stays up until it is interrupted. Runs as root, so that mail and server
# belong to `nobody` as with dovecot.sh. Builds the release programs first. The mailbox that the measurements use is
# DIRECTORY/home/bench (for mh, DIRECTORY/home/Mail/bench); one that is neither mbox nor mbx is made by compare.py.
set -euo pipefail
directory=$1 port=$2 format=${3:-mbox}
here=$(cd "$(dirname "$0")/.." && pwd)
cargo build --quiet --release --manifest-path "$here/Cargo.toml" -p ailurus-daemon >&2
target=${CARGO_TARGET_DIR:-$here/target}
mkdir -p "$directory/home"
# Where the checkout is, `nobody` may not reach.
install -m 755 "$target/release/ailurus" "$directory/ailurus"
chown nobody:nogroup "$directory/home"
chmod 755 "$directory" "$directory/home"
cd "$directory/home"
file=$directory/home/bench mailbox=bench create=
case $format in
mbox | mbx) ;;
mh)
    echo 'Path: Mail' > .mh_profile
    mkdir -p Mail
    chown nobody:nogroup Mail
    file=$directory/home/Mail/bench mailbox=#mh/bench create=,create=#mh/bench
    ;;
*) create=,create=#driver.$format/bench ;;
esac
env -i HOME="$directory/home" PATH="$PATH" TZ=UTC AILURUS_LOG=stderr \
    setpriv --reuid nobody --regid nogroup --clear-groups \
    "$directory/ailurus" serve --listen "127.0.0.1:$port" --tls-listen "127.0.0.1:$((port + 1))" > "$directory/log" 2>&1 &
server=$!
trap 'kill $server 2> /dev/null; wait $server' EXIT INT TERM
secret=$directory/home/.local/state/ailurus/password
for _ in $(seq 100); do
    [ -s "$secret" ] && (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && break
    sleep 0.1
done
IFS=$'\t' read -r user password < "$secret"
echo "name=ours-$format,port=$port,user=$user,password=$password,pid=$server,file=$file,mailbox=$mailbox$create,clean=rm -rf $directory/home/.cache"
wait $server
