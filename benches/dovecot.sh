#!/bin/bash
# Starts Debian's dovecot-imapd on 127.0.0.1 with a private configuration, for compare.py.
#
#   dovecot.sh DIRECTORY PORT [mbox|maildir]
#
# Prints the server's description for compare.py and stays up until it is interrupted. Runs as root only, as Dovecot
# does; the mail belongs to the user `nobody`. The mailbox that the measurements use is DIRECTORY/mail/bench.
set -euo pipefail
directory=$1 port=$2 format=${3:-mbox}
mkdir -p "$directory/mail" "$directory/run"
chown -R nobody:nogroup "$directory/mail"
chmod 755 "$directory"
cat > "$directory/dovecot.conf" <<CONF
base_dir = $directory/run
state_dir = $directory/run
log_path = $directory/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = $format:$directory/mail:INBOX=$directory/inbox:INDEX=$directory/index
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
default_internal_user = dovecot
default_login_user = dovenull
mbox_read_locks = fcntl
mbox_write_locks = dotlock fcntl
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=$directory/mail
}
service imap-login {
  inet_listener imap {
    port = $port
  }
  inet_listener imaps {
    port = 0
  }
}
CONF
touch "$directory/inbox"
chown nobody:nogroup "$directory/inbox"
mkdir -p "$directory/index"
chown nobody:nogroup "$directory/index"
file=$directory/mail/bench create=
if [ "$format" = maildir ]; then
    file=$directory/mail/.bench create=,create=bench
fi
dovecot -F -c "$directory/dovecot.conf" &
server=$!
trap 'kill $server 2> /dev/null; wait $server' EXIT INT TERM
echo "name=dovecot-$format,port=$port,user=bench,password=secret,pid=$server,file=$file,mailbox=bench$create,clean=find $directory/index -mindepth 1 -delete"
wait $server
