#include "tools/sluicectl/pipeline.h"

#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "absl/synchronization/notification.h"
#include "common/errors/errors.h"

namespace sluice::ctl {
namespace {

// Takes requests and answers them when the test says so.
class Server {
 public:
  Pipeline::Send sender() {
    return [this](v1::WriteRequest request, client::Callback<v1::WriteResponse> done) {
      MutexLock lock(mutex_);
      waiting_.push_back({std::move(request), std::move(done)});
      ++arrived_;
      changed_.notify_all();
    };
  }
  void AwaitArrived(int n) {
    MutexLock lock(mutex_);
    changed_.wait(mutex_, [&] { return arrived_ >= n; });
  }
  int arrived() {
    MutexLock lock(mutex_);
    return arrived_;
  }
  // Answers the request that has waited longest.
  void Answer(absl::Status error = absl::OkStatus()) {
    Waiting w;
    uint64_t first;
    {
      MutexLock lock(mutex_);
      changed_.wait(mutex_, [&] { return !waiting_.empty(); });
      w = std::move(waiting_.front());
      waiting_.pop_front();
      first = next_;
      if (error.ok()) next_ += static_cast<uint64_t>(w.request.records_size());
    }
    if (!error.ok()) return w.done(std::move(error));
    v1::WriteResponse response;
    response.set_first_seq_id(first);
    response.set_count(static_cast<uint32_t>(w.request.records_size()));
    w.done(response);
  }

 private:
  struct Waiting {
    v1::WriteRequest request;
    client::Callback<v1::WriteResponse> done;
  };
  Mutex mutex_;
  CondVar changed_;
  std::deque<Waiting> waiting_;
  int arrived_ = 0;
  uint64_t next_ = 1;
};

Batch BatchOf(std::initializer_list<const char*> ids, uint64_t first_line) {
  Batch batch;
  for (const char* id : ids) {
    batch.request.add_records()->set_id(id);
    batch.lines.push_back(first_line++);
  }
  return batch;
}

TEST(PipelineTest, RequestsOfDifferentIdsAreUnderWayTogetherUpToALimit) {
  Server server;
  Pipeline pipeline(server.sender(), 2);
  EXPECT_TRUE(pipeline.Push(BatchOf({"a", "b"}, 1)));
  EXPECT_TRUE(pipeline.Push(BatchOf({"c"}, 3)));
  std::jthread third([&] { EXPECT_TRUE(pipeline.Push(BatchOf({"d"}, 4))); });
  EXPECT_EQ(server.arrived(), 2);
  server.Answer();
  server.AwaitArrived(3);
  server.Answer();
  server.Answer();
  EXPECT_EQ(pipeline.Finish(), std::nullopt);
  const Totals totals = pipeline.Now();
  EXPECT_EQ(totals.records, 4u);
  EXPECT_EQ(totals.requests, 3u);
  EXPECT_EQ(totals.first_seq_id, 1u);
  EXPECT_EQ(totals.last_seq_id, 4u);
}

TEST(PipelineTest, ABatchWaitsForTheOneBeforeItThatHasOneOfItsIds) {
  Server server;
  Pipeline pipeline(server.sender(), 8);
  EXPECT_TRUE(pipeline.Push(BatchOf({"a", "b", "a"}, 1)));
  std::jthread second([&] { EXPECT_TRUE(pipeline.Push(BatchOf({"c", "b"}, 4))); });
  EXPECT_EQ(server.arrived(), 1);
  server.Answer();
  server.AwaitArrived(2);
  server.Answer();
  EXPECT_EQ(pipeline.Finish(), std::nullopt);
}

// Invariant 10.
TEST(PipelineTest, AfterAFailureNothingMoreIsSentAndItsLineAndOutcomeAreToldForAll) {
  Server server;
  Pipeline pipeline(server.sender(), 8);
  EXPECT_TRUE(pipeline.Push(BatchOf({"a"}, 1)));
  EXPECT_TRUE(pipeline.Push(BatchOf({"b", "c"}, 2)));
  EXPECT_TRUE(pipeline.Push(BatchOf({"d"}, 4)));
  server.Answer();
  server.Answer(
      WithOutcome(MakeError(Reason::INVALID_RECORD, "bad", {{"record", "1"}}), Outcome::kNotIn));
  EXPECT_FALSE(pipeline.Push(BatchOf({"e"}, 5)));
  server.Answer(absl::UnavailableError("says nothing: may be in"));
  const std::optional<Failure> failure = pipeline.Finish();
  ASSERT_TRUE(failure);
  EXPECT_EQ(ReasonOf(failure->error), Reason::INVALID_RECORD);
  EXPECT_EQ(OutcomeOf(failure->error), Outcome::kUnknown);
  EXPECT_EQ(failure->first_line, 2u);
  EXPECT_EQ(failure->line, 3u);
  EXPECT_EQ(server.arrived(), 3);
}

TEST(PipelineTest, AFailureWakesABatchThatWaitsForItsTurn) {
  Server server;
  Pipeline pipeline(server.sender(), 1);
  EXPECT_TRUE(pipeline.Push(BatchOf({"a"}, 1)));
  std::jthread second([&] { EXPECT_FALSE(pipeline.Push(BatchOf({"b"}, 2))); });
  server.Answer(absl::InternalError("no"));
  second.join();
  EXPECT_EQ(pipeline.Finish()->first_line, 1u);
}

}  // namespace
}  // namespace sluice::ctl
