#!/usr/bin/env python3
"""Runs the whole road on real documents and prints a summary: `tools/dev demo`.

Starts `sluice` on a fresh data folder, adds every document of the dataset, waits until all of it is in segments, searches, then changes and
deletes a document and looks again at once. Exits with 0 only if every check held.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

COLLECTION = "debian-packages"
# What is searched for, and a package that must be among the first ten.
SEARCHES = [
    ("image manipulation program to edit and retouch photos", "gimp"),
    ("high performance web server and reverse proxy", "nginx"),
    ("distributed version control system, fast and scalable", "git"),
]


class Failure(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failure(what)


class Sluice:
    """The server as a child process, and sluicectl against it."""

    def __init__(self, bin_folder, data):
        self.bin = bin_folder
        self.process = subprocess.Popen(
            [os.path.join(bin_folder, "sluice"), "--data", data],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "SLUICE_SERVER_GRPC_ADDRESS": "127.0.0.1:0", "SLUICE_SERVER_HTTP_ADDRESS": "127.0.0.1:0",
                 "SLUICE_SERVER_LOG_LEVEL": "warning"})
        line = self.process.stdout.readline()
        expect(line.startswith("ready "), "sluice did not start")
        self.address = dict(part.split("=", 1) for part in line.split()[1:])["grpc"]

    def ctl(self, *arguments, lines=None, show_progress=False):
        done = subprocess.run([os.path.join(self.bin, "sluicectl"), "--server", self.address, "--json", *arguments],
                              input=lines, stdout=subprocess.PIPE, stderr=None if show_progress else subprocess.PIPE, text=True)
        expect(done.returncode == 0, f"sluicectl {' '.join(arguments)} failed:\n{done.stderr or ''}{done.stdout}")
        return json.loads(done.stdout)

    def memory_mib(self):
        """Resident memory: the peak, and how much of it is anonymous now (the rest are mapped segment files)."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            fields = dict(line.split(":", 1) for line in status)
        return int(fields["VmHWM"].split()[0]) / 1024, int(fields["RssAnon"].split()[0]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def folder_mib(path):
    return sum(os.stat(os.path.join(folder, f)).st_blocks * 512 for folder, _, files in os.walk(path) for f in files) / 2**20


def search(sluice, text):
    hits = sluice.ctl("query", COLLECTION, "--text", text, "--limit", "10")["hits"]
    return [hit["id"] for hit in hits]


def run(sluice, dataset, documents, data):
    print(f"\nCollection {COLLECTION}: {documents:,} documents, embedder `hashing`, 384 dimensions, cosine")
    sluice.ctl("collections", "create", COLLECTION, "--embedder", "hashing", "--dimension", "384", "--metric", "cosine")

    written = sluice.ctl("add", COLLECTION, dataset, show_progress=True)
    acknowledged = time.monotonic()
    expect(written["records"] == documents, f"acknowledged {written['records']} of {documents}")
    lag = sluice.ctl("lag", COLLECTION)["collections"][0]
    sluice.ctl("wait", COLLECTION)
    applied_s = time.monotonic() - acknowledged
    count = sluice.ctl("count", COLLECTION)["count"]
    expect(count == documents, f"count is {count}, expected {documents}: documents were lost")

    print("\nSearches (ten nearest):")
    for text, expected in SEARCHES:
        ids = search(sluice, text)
        print(f'  "{text}"\n    {", ".join(ids)}')
        expect(expected in ids, f"{expected} is not among the first ten for: {text}")

    check_read_your_writes(sluice, documents)

    state = sluice.ctl("collections", "describe", COLLECTION)
    peak, anonymous = sluice.memory_mib()
    print("\nSummary")
    rows = [
        ("documents", f"{documents:,}, every one acknowledged, applied and counted"),
        ("acknowledged", f"{written['seconds']:.2f} s, {written['records_per_second']:,.0f} documents/s (safe on disk, with their SeqIds)"),
        ("lag then", f"{lag['lag_records']:,} records, {lag['lag_bytes'] / 2**20:.1f} MiB"),
        ("all applied", f"{applied_s:.2f} s after the last acknowledgement ({documents / (written['seconds'] + applied_s):,.0f} documents/s end to end)"),
        ("segments", f"{len(state['segments'])}"),
        ("on disk", f"{folder_mib(data):.0f} MiB (documents: {os.path.getsize(dataset) / 2**20:.0f} MiB as JSON)"),
        ("peak memory", f"{peak:.0f} MiB resident ({anonymous:.0f} MiB anonymous now)"),
    ]
    for name, value in rows:
        print(f"  {name:<13} {value}")


def check_read_your_writes(sluice, documents):
    """An update and a delete are seen by the very next read."""
    changed, gone = SEARCHES[0][1], SEARCHES[1][1]
    text = "A quixotic zeppelin hangar simulator with marzipan propellers"
    one = {"id": changed, "document": text, "metadata": {"section": "demo"}}
    sluice.ctl("update", COLLECTION, "-", lines=json.dumps(one))
    row = sluice.ctl("get", COLLECTION, changed)["rows"][0]
    expect(row["document"] == text and row["metadata"]["section"] == "demo", "Get does not show the update")

    sluice.ctl("delete", COLLECTION, "--id", gone)
    expect(sluice.ctl("get", COLLECTION, gone)["rows"] == [], "Get still shows a deleted document")
    expect(sluice.ctl("count", COLLECTION)["count"] == documents - 1, "Count still counts a deleted document")
    expect(gone not in search(sluice, SEARCHES[1][0]), "Query still finds a deleted document")
    sluice.ctl("wait", COLLECTION)
    expect(search(sluice, text)[0] == changed, "Query does not find an updated document by its new text")
    print(f"\nUpdated {changed} and deleted {gone}: the next Get, Count and Query show it")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of sluice and sluicectl")
    parser.add_argument("--dataset", required=True, help="JSON lines")
    parser.add_argument("--data", required=True, help="data folder; emptied first")
    args = parser.parse_args()

    with open(args.dataset, encoding="utf-8") as lines:
        documents = sum(1 for _ in lines)
    shutil.rmtree(args.data, ignore_errors=True)
    sluice = Sluice(args.bin, args.data)
    try:
        run(sluice, args.dataset, documents, args.data)
        expect(sluice.stop() == 0, "sluice did not stop in order")
    except Failure as failure:
        print(f"\ndemo: {failure}", file=sys.stderr)
        return 1
    finally:
        if sluice.process.poll() is None:
            sluice.process.kill()
    print(f"\nDone. `tools/dev run` keeps a server up; the demo's data is in {args.data}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
