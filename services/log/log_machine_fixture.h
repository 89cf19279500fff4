// What the tests of the logs' state machine share: one open log in a machine on a temporary folder,
// and short forms of the commands on it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/errors/errors.h"
#include "services/log/machine_harness.h"
#include "services/log/reader.h"
#include "services/log/test_support.h"

namespace sluice::log {

inline constexpr int64_t kMs = 1000;
inline constexpr int64_t kSecond = 1'000'000;

class LogMachineTest : public testing::Test {
 protected:
  LogMachineTest() {
    machine_.Configure();
    EXPECT_TRUE(machine_.Apply(OpenLogOf(id_)).ok());
  }

  Result Push(const std::vector<v1::OperationRecord>& records, const RequestId& request_id = {},
              Incarnation incarnation = Incarnation(0),
              const v1::PushLogsRequest& conditions = {}) {
    return machine_.Apply(PushOf(id_, request_id, records, incarnation, conditions));
  }
  // Of the machine's time; Uuid::TimeOrdered would never go back behind what other tests asked for.
  RequestId NewRequestId(int64_t ahead_ms = 0) {
    const int64_t ms = machine_.time_us / kMs + ahead_ms;
    RequestId id(Uuid::Random());
    for (int i = 0; i < 6; ++i) id.bytes[i] = static_cast<uint8_t>(ms >> (40 - 8 * i));
    id.bytes[6] = static_cast<uint8_t>(0x70 | (id.bytes[6] & 0xf));
    return id;
  }
  pb::LogState State() { return *ReadLog(Snapshot(machine_.store()), id_); }

  ClaimAnswer Claim(v1::LeaseKind kind = v1::LEASE_KIND_COMPACTION, uint32_t lease_ms = 30'000) {
    pb::Command command;
    auto& claim = *command.mutable_claim();
    claim.set_collection_id(std::string(id_.view()));
    claim.set_kind(kind);
    claim.set_worker("worker");
    claim.set_lease_ms(lease_ms);
    return std::get<ClaimAnswer>(*machine_.Apply(Command(command)));
  }
  v1::Lease LeaseOf(const ClaimAnswer& claim, v1::LeaseKind kind = v1::LEASE_KIND_COMPACTION) {
    v1::Lease lease;
    lease.set_collection_id(id_.ToString());
    lease.set_kind(kind);
    lease.set_token(claim.token.value);
    lease.set_incarnation(claim.incarnation.value);
    return lease;
  }
  Result Commit(const v1::CommitRequest& request) {
    pb::Command command;
    command.mutable_commit()->set_collection_id(std::string(id_.view()));
    *command.mutable_commit()->mutable_request() = request;
    return machine_.Apply(Command(command));
  }
  // With a segment of `entries` entries, or none if that is 0.
  v1::CommitRequest CompactionOf(const ClaimAnswer& claim, uint64_t number, uint64_t from,
                                 uint64_t to, uint64_t entries = 1) {
    v1::CommitRequest request;
    *request.mutable_lease() = LeaseOf(claim);
    request.set_number(number);
    auto& work = *request.mutable_compaction();
    work.set_from_seq_id(from);
    work.set_to_seq_id(to);
    work.set_live_delta(static_cast<int64_t>(entries));
    if (entries > 0) *work.mutable_segment() = SegmentOf(claim, number, from, to, entries);
    return request;
  }
  static v1::SegmentInfo SegmentOf(const ClaimAnswer& claim, uint64_t number, uint64_t after,
                                   uint64_t up_to, uint64_t entries) {
    v1::SegmentInfo segment;
    segment.set_token(claim.token.value);
    segment.set_number(number);
    segment.set_after_seq_id(after);
    segment.set_up_to_seq_id(up_to);
    segment.set_entries(entries);
    segment.set_rows(entries);
    return segment;
  }
  Result Release(const v1::Lease& lease, v1::ReleaseReason reason = v1::RELEASE_REASON_DONE,
                 uint32_t retry_after_ms = 0) {
    pb::Command command;
    command.mutable_release()->set_collection_id(std::string(id_.view()));
    auto& request = *command.mutable_release()->mutable_request();
    *request.mutable_lease() = lease;
    request.set_reason(reason);
    request.set_retry_after_ms(retry_after_ms);
    request.set_message("why");
    return machine_.Apply(Command(command));
  }
  Result Trim(uint64_t up_to) {
    pb::Command command;
    command.mutable_trim()->set_collection_id(std::string(id_.view()));
    command.mutable_trim()->set_up_to_seq_id(up_to);
    return machine_.Apply(Command(command));
  }
  Result Retain() {
    pb::Command command;
    command.mutable_retain()->set_collection_id(std::string(id_.view()));
    return machine_.Apply(Command(command));
  }
  Result Delete() {
    pb::Command command;
    command.mutable_delete_log()->set_collection_id(std::string(id_.view()));
    return machine_.Apply(Command(command));
  }
  std::vector<v1::GarbageEntry> Garbage(int64_t in_us = INT64_MAX / 2) {
    return *ReadGarbage(Snapshot(machine_.store()), machine_.time_us + in_us, 1000);
  }
  void Collect(const std::vector<v1::GarbageEntry>& entries) {
    pb::Command command;
    for (const auto& entry : entries) command.mutable_collect_garbage()->add_keys(entry.key());
    ASSERT_TRUE(machine_.Apply(Command(command)).ok());
  }
  std::vector<DueKey> Due(DueKind kind) {
    return *ReadDue(Snapshot(machine_.store()), kind, INT64_MAX, 10);
  }
  // Pushes one record and lets the collection come due.
  void PushAndWait() {
    ASSERT_TRUE(Push({Record("a")}).ok());
    machine_.time_us += 11 * kSecond;
  }

  static Reason ReasonIn(const Result& result) {
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(OutcomeOf(result.status()), Outcome::kNotIn);
    const auto reason = ReasonOf(result.status());
    EXPECT_TRUE(reason) << result.status();
    return reason.value_or(Reason::INVALID_REQUEST);
  }

  const CollectionId id_ = NewCollectionId();
  MachineHarness machine_;
};

}  // namespace sluice::log
