#!/usr/bin/env python3
"""Compares IMAP servers row by row, on copies of the same mailbox, side by side in one run.

    compare.py --mail corpus.mbox SERVER SERVER...

A SERVER is a comma-separated description:

    name=ours,port=1143,user=me,password=secret,file=/home/me/bench,mailbox=bench,pid=1234[,clean=COMMAND]
        [,mail=FILE][,create=NAME]

`file` is where the server finds the mailbox named `mailbox`, a file or a directory; before each measured row it is
replaced by a fresh copy of --mail (or of `mail`, for another format) and `clean` is run, so that every row is cold: no
index, no cache. With `create`, the mailbox to copy is made first: by CREATE of that name, and APPENDs of what is in
--mail. With --warm, a session that is not measured opens each copy first and asks for what a mail program asks for.
`pid` is the server's root process: the CPU that it and its descendants use is what counts, taken from /proc in
nanoseconds, divided by the number of messages. Rounds go through the servers in turn (A B A B ...), the median
round is printed, and the ratio of every server to the first one.

Needs nothing but Python 3 and Linux. Talks to 127.0.0.1 only.
"""

import argparse
import mailbox
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time


class Imap:
    """As little of a client as a measurement wants."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tag = 0
        self.read_until(b"\r\n")

    def read_until(self, end):
        data = b""
        while not data.endswith(end):
            data += self.socket.recv(65536)
        return data

    def command(self, text):
        """Sends a command and reads up to its tagged response; returns octets read and the last line."""
        self.tag += 1
        tag = b"x%d" % self.tag
        self.socket.sendall(tag + b" " + text + b"\r\n")
        return self.finish(tag)

    def finish(self, tag):
        total, tail, mark = 0, b"", b"\n" + tag + b" "
        while True:
            chunk = self.socket.recv(1 << 18)
            if not chunk:
                raise SystemExit(f"connection closed within {tag!r}: {tail[-300:]!r}")
            total += len(chunk)
            tail = (tail + chunk)[-4096:]
            at = (b"\n" + tail).rfind(mark)
            if at >= 0 and tail.endswith(b"\r\n"):
                line = tail[at:].strip()
                if not line.startswith(tag + b" OK"):
                    raise SystemExit(f"not OK: {line!r}")
                return total, line

    def append_all(self, mailbox, messages):
        self.tag += 1
        tag = b"x%d" % self.tag
        octets = b"".join(b" {%d+}\r\n" % len(message) + message for message in messages)
        self.socket.sendall(tag + b" APPEND " + mailbox + octets + b"\r\n")
        self.finish(tag)

    def append(self, mailbox, message):
        self.tag += 1
        tag = b"x%d" % self.tag
        self.socket.sendall(tag + b" APPEND " + mailbox + b" {%d}\r\n" % len(message))
        if not self.read_until(b"\r\n").startswith(b"+"):
            raise SystemExit("no continuation")
        self.socket.sendall(message + b"\r\n")
        self.finish(tag)


def descendants(root):
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parents.setdefault(int(stat.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
            except OSError:
                pass
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += parents.get(pid, [])
    return found


def cpu_of(pids):
    """Nanoseconds on a CPU, per process."""
    used = {}
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                    used[task] = int(stat.read().split()[0])
        except OSError:
            pass
    return used


class Server:
    def __init__(self, text, mail):
        fields = dict(part.split("=", 1) for part in text.split(","))
        self.name, self.port, self.pid = fields["name"], int(fields["port"]), int(fields["pid"])
        self.user, self.password = fields["user"], fields["password"]
        self.file, self.mailbox = fields["file"], fields.get("mailbox", "bench").encode()
        self.clean, self.mail = fields.get("clean"), fields.get("mail", mail)
        if "create" in fields:
            self.make(fields["create"].encode(), mail)

    def make(self, name, mail):
        """Makes the mailbox that is copied for each row."""
        client = self.login()
        client.command(b"CREATE " + name)
        messages = [m.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for m in mailbox.mbox(mail)]
        for first in range(0, len(messages), 200):
            client.append_all(self.mailbox, messages[first : first + 200])
        client.socket.close()
        time.sleep(0.5)
        self.mail = os.path.join(tempfile.mkdtemp(prefix="ailurus-bench.", dir=os.path.dirname(mail)), "mail")
        subprocess.run(["cp", "-a", self.file, self.mail], check=True)

    def fresh(self):
        if self.clean:
            subprocess.run(self.clean, shell=True, check=True)
        owner = os.stat(os.path.dirname(self.file))
        # The same inode each time would hide what a server does with a new file; a new one is what a copy is.
        if os.path.isdir(self.mail):
            shutil.rmtree(self.file, ignore_errors=True)
            subprocess.run(["cp", "-a", self.mail, self.file], check=True)
            return
        if os.path.exists(self.file):
            os.unlink(self.file)
        shutil.copyfile(self.mail, self.file)
        os.chmod(self.file, 0o600)
        os.chown(self.file, owner.st_uid, owner.st_gid)
        # Nobody keeps what is known of a mailbox that was written within the last moment.
        time.sleep(0.1)

    def warm(self):
        """A session that leaves behind what the server remembers of a mailbox."""
        client = self.login()
        client.command(b"SELECT " + self.mailbox)
        client.command(b"FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)")
        client.command(b"SORT (DATE) UTF-8 ALL")
        client.command(b"THREAD REFERENCES UTF-8 ALL")
        client.command(b"CLOSE")
        client.command(b"LOGOUT")
        client.socket.close()
        # What was written within the last moment is not trusted by everybody.
        time.sleep(0.2)

    def login(self):
        client = Imap(self.port)
        client.command(f'LOGIN "{self.user}" "{self.password}"'.encode())
        return client

    def measure(self, work):
        before = cpu_of(descendants(self.pid))
        start = time.perf_counter()
        work()
        wall = time.perf_counter() - start
        after = cpu_of(descendants(self.pid))
        cpu = sum(used - before.get(task, 0) for task, used in after.items())
        return cpu / 1e9, wall


def rows(count, quick):
    """Each row: name, what it is divided by, preparation, measured work. Both take client and server."""

    def fetch(items):
        return lambda client, server: client.command(b"FETCH 1:* " + items)

    def open_only(client, server):
        client.command(b"SELECT " + server.mailbox)

    def settle(client, server):
        client.command(b"NOOP")

    def select(client, server):
        # What a server does once after the first open (give every message its UID, say) has a row of its own.
        open_only(client, server)
        settle(client, server)

    def random_fetches(client, server):
        chooser = random.Random(1)
        for _ in range(300):
            client.command(b"FETCH %d BODY.PEEK[]" % chooser.randint(1, count))

    def noops(client, server):
        for _ in range(1000):
            client.command(b"NOOP")

    def pipelined(client, server):
        client.socket.sendall(b"".join(b"p%d NOOP\r\n" % n for n in range(1000)))
        client.finish(b"p999")

    def flag_and_close(client, server):
        client.command(b"STORE 1:* +FLAGS.SILENT (\\Flagged)")
        client.command(b"CLOSE")

    def delete_half(client, server):
        select(client, server)
        for first in range(1, count + 1, 2000):
            wanted = ",".join(str(n) for n in range(first, min(first + 2000, count + 1), 2))
            client.command(b"STORE %s +FLAGS.SILENT (\\Deleted)" % wanted.encode())

    def copy(client, server):
        client.command(b"COPY 1:* bench-copy")

    def make_copy(client, server):
        try:
            client.command(b"DELETE bench-copy")
        except SystemExit:
            pass
        client.command(b"CREATE bench-copy")
        select(client, server)

    def appends(client, server):
        message = b"From: a@example.com\r\nSubject: small\r\nDate: Mon, 6 Jan 2020 10:00:00 +0000\r\n\r\nhello\r\n"
        for _ in range(20):
            client.append(server.mailbox, message)

    def status(client, server):
        client.command(b"STATUS %s (MESSAGES UNSEEN UIDNEXT)" % server.mailbox)

    def warm(client, server):
        # A user who has seen all mail of the mailbox, twice: what a server keeps beside it is there by now.
        for _ in range(2):
            time.sleep(0.1)
            select(client, server)
            client.command(b"CLOSE")

    def append(client, server):
        client.append(server.mailbox, b"Subject: small\r\n\r\nhello\r\n")

    def nothing(client, server):
        pass

    key = "Žluťoučký".encode()
    search = b"SEARCH CHARSET UTF-8 TEXT {%d+}\r\n%s" % (len(key), key)
    table = [
        ("open", count, nothing, open_only),
        ("first NOOP after the first open", count, open_only, settle),
        ("FETCH (UID FLAGS INTERNALDATE RFC822.SIZE)", count, select, fetch(b"(UID FLAGS INTERNALDATE RFC822.SIZE)")),
        ("FETCH ENVELOPE", count, select, fetch(b"ENVELOPE")),
        ("FETCH BODYSTRUCTURE", count, select, fetch(b"BODYSTRUCTURE")),
        ("FETCH BODY.PEEK[HEADER.FIELDS (...)]", count, select, fetch(b"BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)]")),
        ("FETCH BODY.PEEK[]", count, select, fetch(b"BODY.PEEK[]")),
        ("SEARCH TEXT absent", count, select, lambda c, s: c.command(b"SEARCH TEXT xyzzyplugh")),
        ("SEARCH CHARSET UTF-8 TEXT, absent", count, select, lambda c, s: c.command(search)),
        ("SEARCH SUBJECT", count, select, lambda c, s: c.command(b"SEARCH SUBJECT xyzzyplugh")),
        ("SEARCH FROM", count, select, lambda c, s: c.command(b"SEARCH FROM xyzzyplugh")),
        ("SORT (DATE)", count, select, lambda c, s: c.command(b"SORT (DATE) UTF-8 ALL")),
        ("SORT (SUBJECT)", count, select, lambda c, s: c.command(b"SORT (SUBJECT) UTF-8 ALL")),
        ("THREAD REFERENCES", count, select, lambda c, s: c.command(b"THREAD REFERENCES UTF-8 ALL")),
        ("STORE 1:* +FLAGS, then CLOSE", count, select, flag_and_close),
        ("EXPUNGE every second", count, delete_half, lambda c, s: c.command(b"EXPUNGE")),
        ("COPY 1:*", count, make_copy, copy),
        ("300 random FETCH BODY.PEEK[], each", 300, select, random_fetches),
        ("APPEND of 20, each", 20, nothing, appends),
        ("STATUS", 1, nothing, status),
        ("open again", count, warm, open_only),
        ("STATUS again", 1, warm, status),
        ("APPEND, again", 1, warm, append),
        ("NOOP, each of 1000", 1000, select, noops),
        ("NOOP pipelined, each of 1000", 1000, select, pipelined),
    ]
    return [row for row in table if not quick or quick.lower() in row[0].lower()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mail", required=True, help="the mailbox that every row starts from")
    parser.add_argument("--count", type=int, required=True, help="how many messages it has")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", action="store_true", help="every mailbox was opened before")
    parser.add_argument("--only", help="rows whose name has this")
    parser.add_argument("server", nargs="+")
    arguments = parser.parse_args()
    servers = [Server(text, arguments.mail) for text in arguments.server]
    heading = "".join(f"{s.name + ' cpu':>14}{'wall':>10}" for s in servers)
    print(f"{'microseconds a message':42}{heading}{'ratios of cpu, wall':>24}")
    for name, divisor, prepare, work in rows(arguments.count, arguments.only):
        taken = {server.name: [] for server in servers}
        failed = {}
        for _ in range(arguments.rounds):
            for server in servers:
                if server.name in failed:
                    continue
                try:
                    server.fresh()
                    if arguments.warm:
                        server.warm()
                    client = server.login()
                    prepare(client, server)
                    taken[server.name].append(server.measure(lambda: work(client, server)))
                    client.socket.close()
                    time.sleep(0.05)
                except (SystemExit, OSError) as why:
                    failed[server.name] = str(why)
        line = f"{name:42}"
        medians = []
        for server in servers:
            if server.name in failed:
                line += f"{'failed':>14}{'':>10}"
                medians.append(None)
                continue
            cpu = statistics.median(cpu for cpu, _ in taken[server.name]) * 1e6 / divisor
            wall = statistics.median(wall for _, wall in taken[server.name]) * 1e6 / divisor
            medians.append((cpu, wall))
            line += f"{cpu:14.2f}{wall:10.2f}"
        if medians[0]:
            for other in medians[1:]:
                if other:
                    line += f"{other[0] / max(medians[0][0], 1e-9):14.1f}x{other[1] / max(medians[0][1], 1e-9):8.1f}x"
        print(line, flush=True)
        for server, why in failed.items():
            print(f"    {server}: {why[:200]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
