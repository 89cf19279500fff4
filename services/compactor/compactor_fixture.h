// For tests: a compactor against a scripted log.
#pragma once

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <optional>
#include <string>
#include <vector>

#include "services/compactor/compactor.h"
#include "services/compactor/fake_log.h"
#include "tests/support/temp_folder.h"

namespace sluice::compactor {

using testing::FakeLog;

inline constexpr Incarnation kIncarnation(77);

inline v1::OperationRecord Record(v1::Operation operation, const std::string& id) {
  v1::OperationRecord record;
  record.set_id(id);
  record.set_operation(operation);
  return record;
}

class CompactorTest : public ::testing::Test {
 protected:
  CompactorTest() {
    settings_.Declare(declared_, "");
    settings_.objects = folder_.path();
    settings_.vector_cache = vectors_.path() / "vectors";
    settings_.workers = 1;
    settings_.lease_ms = 30'000;
    settings_.claim_wait_ms = 50;
    settings_.garbage_interval_ms = 20;
  }

  void Start() {
    compactor_.emplace(settings_, registry_);
    const absl::Status started = compactor_->Start(log_.Channel());
    ASSERT_TRUE(started.ok()) << started;
  }

  v1::ClaimResponse Claim(v1::LeaseKind kind = v1::LEASE_KIND_COMPACTION) const {
    v1::ClaimResponse claim;
    claim.mutable_lease()->set_collection_id(collection_.ToString());
    claim.mutable_lease()->set_kind(kind);
    claim.mutable_lease()->set_token(5);
    claim.mutable_lease()->set_incarnation(kIncarnation.value);
    claim.mutable_schema()->mutable_embedder()->set_kind("hashing");
    claim.set_dimension(16);
    claim.set_id_hash_key("0123456789abcdef");
    return claim;
  }

  // One append of one record for each id.
  void Push(const std::vector<std::string>& ids) {
    for (const std::string& id : ids) {
      v1::Append append;
      append.set_first_seq_id(log_.appends.size() + 1);
      *append.add_records() = Record(v1::OPERATION_ADD, id);
      append.mutable_records(0)->set_document("text of " + id);
      log_.appends.push_back(append);
    }
  }

  bool AwaitRelease() {
    return log_.Await([](const FakeLog& log) { return !log.releases.empty(); });
  }

  sluice::testing::TempFolder folder_;
  sluice::testing::TempFolder vectors_;
  FakeLog log_;
  server::Settings declared_;
  CompactorSettings settings_;
  prometheus::Registry registry_;
  const CollectionId collection_{Uuid::Random()};
  std::optional<Compactor> compactor_;
};

}  // namespace sluice::compactor
