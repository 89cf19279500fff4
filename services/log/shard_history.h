// For tests: random pushes on one collection of a shard, and moves of a cursor, what each was
// answered, and whether the log holds what those answers promise. Survives the shard: give it the
// next one.
//
// One thread calls; answers may come on any.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/errors/errors.h"
#include "services/log/append_reader.h"
#include "services/log/reader.h"
#include "services/log/shard.h"
#include "services/log/test_support.h"

namespace sluice::log {

class ShardHistory {
 public:
  explicit ShardHistory(uint64_t seed) : random_(seed) {}

  // Makes the collection; false: the shard did not take it.
  bool Open(Shard& shard, const std::function<bool()>& go_on) {
    v1::CollectionSettings settings;
    settings.mutable_compaction()->set_max_age_ms(1);
    return Await(shard, OpenLogOf(collection_, settings), go_on).ok();
  }

  // Proposes `count` pushes, eight in flight, until `go_on` says no. Answers may be outstanding
  // when it returns.
  void Push(Shard& shard, int count, const std::function<bool()>& go_on) {
    for (int i = 0; i < count && go_on(); ++i) {
      {
        std::unique_lock lock(mutex_);
        while (in_flight_ >= 8 && go_on()) {
          answered_.wait_for(lock, std::chrono::milliseconds(1));
        }
        if (in_flight_ >= 8) return;
      }
      const size_t number = pushes_.size();
      {
        const std::lock_guard lock(mutex_);
        pushes_.push_back({.request_id = NewRequestId(), .records = 1 + Below(3), .state = kOpen});
      }
      Propose(shard, number);
    }
  }
  // Until every answer came, or `go_on` says no.
  void AwaitAnswers(const std::function<bool()>& go_on) {
    std::unique_lock lock(mutex_);
    while (in_flight_ > 0 && go_on()) answered_.wait_for(lock, std::chrono::milliseconds(1));
  }
  // Repeats, with their ids, the pushes of which nobody knows whether they are in.
  void RetryUnknown(Shard& shard, const std::function<bool()>& go_on) {
    for (size_t i = 0; i < pushes_.size() && go_on(); ++i) {
      {
        const std::lock_guard lock(mutex_);
        if (pushes_[i].state != kUnknown) continue;
      }
      Propose(shard, i);
      AwaitAnswers(go_on);
    }
  }
  // Moves `applied` to the tail, a cursor after it, and trims some of what they have passed. What
  // fails is left undone.
  void ApplyAndTrim(Shard& shard, const std::function<bool()>& go_on) {
    pb::Command claim;
    claim.mutable_claim()->set_collection_id(std::string(collection_.view()));
    claim.mutable_claim()->set_kind(v1::LEASE_KIND_COMPACTION);
    claim.mutable_claim()->set_lease_ms(1);
    const Result claimed = Await(shard, Command(claim), go_on);
    if (!claimed.ok() || !std::get<ClaimAnswer>(*claimed).granted) return;
    const auto state = ReadLog(Snapshot(shard.store()), collection_);
    if (!state.ok() || state->tail() == state->applied()) return;
    pb::Command commit;
    commit.mutable_commit()->set_collection_id(std::string(collection_.view()));
    auto& request = *commit.mutable_commit()->mutable_request();
    request.mutable_lease()->set_kind(v1::LEASE_KIND_COMPACTION);
    request.mutable_lease()->set_token(std::get<ClaimAnswer>(*claimed).token.value);
    request.set_number(1);
    request.mutable_compaction()->set_from_seq_id(state->applied());
    request.mutable_compaction()->set_to_seq_id(state->tail());
    if (!Await(shard, Command(commit), go_on).ok()) return;
    MoveCursor(shard, state->tail(), go_on);
    pb::Command trim;
    trim.mutable_trim()->set_collection_id(std::string(collection_.view()));
    // Now and then beyond the cursor: refused.
    const uint64_t most = Below(8) == 0 ? state->tail() : std::max(cursor_, state->trim());
    trim.mutable_trim()->set_up_to_seq_id(state->trim() +
                                          Below(static_cast<uint32_t>(most - state->trim()) + 1));
    const Result trimmed = Await(shard, Command(trim), go_on);
    if (trimmed.ok()) trimmed_ = std::max(trimmed_, std::get<TrimAnswer>(*trimmed).trim.value);
  }

  // Invariants 1 to 3: what was acknowledged is there once and where it was said to be, dense; what
  // was refused is not; nothing is there in part.
  // Errors of reading count as long as `go_on` says yes.
  void Verify(
      const Shard& shard, const std::function<bool()>& go_on = [] { return true; }) {
    const std::lock_guard lock(mutex_);
    const Snapshot snapshot(shard.store());
    const auto state = ReadLog(snapshot, collection_);
    if (absl::IsNotFound(state.status())) {
      EXPECT_EQ(acknowledged_, 0);
      return;
    }
    if (!state.ok() && !go_on()) return;
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_GE(state->trim(), trimmed_) << "an acknowledged trim was undone";
    if (cursor_ != 0) {
      const auto cursor = ReadCursor(snapshot, collection_, "c");
      if (!cursor.ok() && !go_on()) return;
      ASSERT_TRUE(cursor.ok()) << cursor.status();
      EXPECT_GE(cursor->seq_id(), cursor_) << "an acknowledged commit of a cursor was undone";
      EXPECT_LE(state->trim(), cursor->seq_id());
    }
    AppendReader reader(snapshot, collection_, SeqId(state->trim()), SeqId(state->tail()));
    std::vector<uint64_t> at(pushes_.size(), 0);
    uint64_t next = state->trim() + 1;
    bool first_slice = true;
    for (AppendSlice slice;;) {
      const auto more = reader.Next(&slice);
      if (!more.ok() && !go_on()) return;
      ASSERT_TRUE(more.ok()) << more.status();
      if (!*more) break;
      EXPECT_EQ(slice.first.value, next);
      next = slice.last().value + 1;
      v1::Append append;
      ASSERT_TRUE(
          append.ParseFromArray(slice.records.data(), static_cast<int>(slice.records.size())));
      const size_t number = std::stoull(append.records(0).id());
      ASSERT_LT(number, pushes_.size());
      const OnePush& push = pushes_[number];
      if (!first_slice || slice.index == 0) {
        EXPECT_EQ(append.records_size(), push.records);
        for (const auto& record : append.records()) {
          EXPECT_EQ(record.document(), Document(number)) << "push " << number;
        }
      }
      first_slice = false;
      EXPECT_EQ(at[number], 0) << "push " << number << " is there twice";
      EXPECT_NE(push.state, kNotIn) << "push " << number << " was refused and is there";
      at[number] = slice.append.first.value;
    }
    EXPECT_EQ(next, state->tail() + 1);
    for (size_t i = 0; i < pushes_.size(); ++i) {
      if (pushes_[i].state != kIn) continue;
      if (pushes_[i].first + pushes_[i].records <= state->trim() + 1) continue;
      EXPECT_EQ(at[i], pushes_[i].first) << "push " << i << " was acknowledged";
    }
  }

  size_t acknowledged() const {
    const std::lock_guard lock(mutex_);
    return acknowledged_;
  }
  const CollectionId& collection() const { return collection_; }
  // The last refusal that came.
  absl::Status refusal() const {
    const std::lock_guard lock(mutex_);
    return refusal_;
  }
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

 private:
  enum State { kOpen, kIn, kNotIn, kUnknown };
  struct OnePush {
    RequestId request_id;
    uint32_t records = 0;
    State state = kOpen;
    uint64_t first = 0;
  };

  void MoveCursor(Shard& shard, uint64_t tail, const std::function<bool()>& go_on) {
    if (tail <= cursor_) return;
    pb::Command command;
    pb::CommitCursor& commit = *command.mutable_commit_cursor();
    commit.set_collection_id(std::string(collection_.view()));
    commit.set_name("c");
    commit.set_seq_id(cursor_ + 1 + Below(static_cast<uint32_t>(tail - cursor_)));
    const Result committed = Await(shard, Command(command), go_on);
    if (committed.ok()) cursor_ = commit.seq_id();
    // Of a commit before, of which nobody knew whether it was in.
    if (ReasonOf(committed.status()) == Reason::CURSOR_MOVED) {
      cursor_ = std::stoull(ErrorMetadata(committed.status(), "seq_id"));
    }
  }

  static RequestId NewRequestId() { return RequestId(Uuid::TimeOrdered(NowMicros() / 1000)); }
  // Some in tables, some in blob files, some of several sectors.
  static std::string Document(size_t number) {
    static constexpr size_t kSizes[] = {0, 30, 700, 2500, 6000};
    return std::to_string(number) + std::string(kSizes[number * 7 % std::size(kSizes)], 'x');
  }

  // As ProposeAndWait, but only until `go_on` says no: a shard that cannot apply answers when it
  // stops.
  static Result Await(Shard& shard, Command command, const std::function<bool()>& go_on) {
    const auto answer = std::make_shared<std::promise<Result>>();
    std::future<Result> answered = answer->get_future();
    shard.Propose(std::move(command),
                  [answer](Result result) { answer->set_value(std::move(result)); });
    while (answered.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
      if (!go_on()) return absl::UnavailableError("given up");
    }
    return answered.get();
  }
  void Propose(Shard& shard, size_t number) {
    std::vector<v1::OperationRecord> records;
    RequestId id;
    {
      const std::lock_guard lock(mutex_);
      const OnePush& push = pushes_[number];
      id = push.request_id;
      for (uint32_t i = 0; i < push.records; ++i) {
        records.push_back(Record(std::to_string(number), Document(number)));
      }
      ++in_flight_;
    }
    shard.Propose(PushOf(collection_, id, records), [this, number](const Result& result) {
      const std::lock_guard lock(mutex_);
      Answered(pushes_[number], result);
      --in_flight_;
      answered_.notify_all();
    });
  }
  void Answered(OnePush& push, const Result& result) {
    if (result.ok()) {
      push.state = kIn;
      push.first = std::get<PushAnswer>(*result).first.value;
      ++acknowledged_;
      return;
    }
    refusal_ = result.status();
    // A retry that is not in says nothing about the attempt before.
    if (push.state == kUnknown) return;
    push.state = OutcomeOf(result.status()) == Outcome::kNotIn ? kNotIn : kUnknown;
  }

  const CollectionId collection_ = NewCollectionId();
  std::mt19937_64 random_;
  uint64_t trimmed_ = 0;
  // Where the cursor stands, as far as was said.
  uint64_t cursor_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable answered_;
  std::vector<OnePush> pushes_;
  size_t in_flight_ = 0;
  size_t acknowledged_ = 0;
  absl::Status refusal_;
};

}  // namespace sluice::log
