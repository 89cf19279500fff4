#!/usr/bin/python3
"""Pushes records into a collection's log and follows it: a whole producer and consumer in Python.

    PYTHONPATH=build/python tools/examples/push_and_subscribe.py --server 127.0.0.1:7700 --records 1000

The producer gives each append a request_id of its own and repeats it, with the same id, until it is answered: the log appends it once. The
consumer keeps the last SeqId that it has dealt with and goes on there, whether the stream broke or this program was started again.
"""

import argparse
import os
import random
import secrets
import sys
import threading
import time
import uuid

import grpc
from sluice.v1 import catalog_pb2, catalog_pb2_grpc, log_pb2, log_pb2_grpc, record_pb2

# What may pass by itself. Anything else is an answer: the trailing metadata `outcome` says whether the attempt is in.
RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED,
             grpc.StatusCode.CANCELLED)
CHANNEL_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]


def uuid7():
    """48 bits of Unix milliseconds, then random bits: the log forgets old ids by their own time."""
    value = int(time.time() * 1000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


class Backoff:
    """Waits 20 ms, 40 ms, ... 2 s, each time a random share of 50 to 100 %."""

    def __init__(self):
        self.failures = 0

    def wait(self):
        time.sleep(min(2.0, 0.02 * 2**self.failures) * random.uniform(0.5, 1))
        self.failures = min(self.failures + 1, 10)


def call(method, request, total_s=60):
    """Repeats one and the same request until it is answered, or `total_s` have passed."""
    backoff, give_up = Backoff(), time.monotonic() + total_s
    while True:
        try:
            return method(request, timeout=10, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() not in RETRYABLE or time.monotonic() > give_up:
                raise
            backoff.wait()


def produce(log, collection_id, records, per_append):
    for first in range(0, records, per_append):
        request = log_pb2.PushLogsRequest(collection_id=collection_id, request_id=uuid7())
        for i in range(first, min(first + per_append, records)):
            request.records.add(id=f"record-{i}", operation=record_pb2.OPERATION_UPSERT, document=f"document number {i}")
        call(log.PushLogs, request)


def consume(log, collection_id, position):
    """Yields every (seq_id, record) after `position`, once, in order, across broken streams."""
    backoff = Backoff()
    while True:
        stream = log.Subscribe(log_pb2.SubscribeRequest(collection_id=collection_id, after_seq_id=position), wait_for_ready=True)
        try:
            for message in stream:
                for append in message.appends:
                    if append.first_seq_id != position + 1:
                        raise RuntimeError(f"SeqId {append.first_seq_id} came where {position + 1} was due")
                    for record in append.records:
                        position += 1
                        yield position, record
                    backoff = Backoff()
        except grpc.RpcError as error:
            if error.code() not in (*RETRYABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL):
                raise  # For example OUT_OF_RANGE: what follows was trimmed.
        finally:
            stream.cancel()
        backoff.wait()


def read_position(path):
    if not os.path.exists(path):
        return 0
    with open(path, encoding="ascii") as file:
        return int(file.read())


def write_position(path, position):
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(str(position))
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:7700")
    parser.add_argument("--collection", default="example")
    parser.add_argument("--records", type=int, default=1000, help="how many to push, and to wait for")
    parser.add_argument("--per-append", type=int, default=100)
    parser.add_argument("--position", default="", help="file that keeps the last SeqId dealt with")
    args = parser.parse_args()

    channel = grpc.insecure_channel(args.server, CHANNEL_OPTIONS)
    catalog, log = catalog_pb2_grpc.CatalogServiceStub(channel), log_pb2_grpc.LogServiceStub(channel)
    collection_id = call(catalog.CreateCollection,
                         catalog_pb2.CreateCollectionRequest(name=args.collection, get_or_create=True)).collection.id

    producer = threading.Thread(target=produce, args=(log, collection_id, args.records, args.per_append), daemon=True)
    producer.start()
    position = read_position(args.position) if args.position else 0
    seen = 0
    for position, record in consume(log, collection_id, position):
        seen += 1
        if seen % args.per_append == 0 or seen == args.records:
            print(f"SeqId {position}: {record.id}", flush=True)
            if args.position:
                write_position(args.position, position)
        if seen == args.records:
            break
    producer.join()
    print(f"pushed {args.records} records and saw {seen} in order, up to SeqId {position}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
