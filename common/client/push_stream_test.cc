#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <map>
#include <thread>

#include "common/base/mutex.h"
#include "common/client/client.h"
#include "common/client/misbehaving_server.h"

namespace sluice::client {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using End = MisbehavingServer::PushStreamEnd;

v1::PushStreamResponse Refused(const absl::Status& error) {
  v1::PushStreamResponse response;
  *response.mutable_error() = ToMessage(WithOutcome(error, Outcome::kNotIn));
  return response;
}

// A log of ids that takes appends as the real one does.
class SmallLog {
 public:
  v1::PushStreamResponse Take(const v1::PushLogsRequest& request) {
    MutexLock lock(mutex_);
    v1::PushStreamResponse response;
    const auto known = seq_ids_.find(request.request_id());
    if (known != seq_ids_.end()) {
      response.mutable_pushed()->set_first_seq_id(known->second);
      response.mutable_pushed()->set_duplicate(true);
      return response;
    }
    const std::string& predecessor = request.predecessor_request_id();
    if (!predecessor.empty() && seq_ids_.count(predecessor) == 0) {
      return Refused(MakeError(Reason::PREDECESSOR_MISSING, "is not in"));
    }
    records_.push_back(request.records(0).id());
    seq_ids_[request.request_id()] = records_.size();
    response.mutable_pushed()->set_first_seq_id(records_.size());
    return response;
  }
  // Takes and answers until the client ends.
  absl::Status Serve(End* stream) {
    v1::PushLogsRequest request;
    while (stream->Read(&request)) stream->Write(Take(request));
    return absl::OkStatus();
  }
  std::vector<std::string> records() {
    MutexLock lock(mutex_);
    return records_;
  }

 private:
  Mutex mutex_;
  std::vector<std::string> records_ GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> seq_ids_ GUARDED_BY(mutex_);
};

class PushStreamTest : public ::testing::Test {
 protected:
  PushStreamTest() {
    server_.on_push_stream = [this](int, End* stream) { return log_.Serve(stream); };
  }

  void Open(const Options& options = kQuick, const PushWindow& window = {}) {
    stream_ = Log(server_.channel(), options).OpenPushStream(CollectionId(Uuid::Random()), window);
  }
  absl::Status Push(const std::string& id) {
    return stream_->Push(PushOf(id), [this, id](const auto& result) {
      MutexLock lock(mutex_);
      told_.push_back(id + " " + Text(result));
    });
  }
  static std::string Text(const absl::StatusOr<v1::PushLogsResponse>& result) {
    if (result.ok()) return std::to_string(result->first_seq_id());
    const absl::Status& error = result.status();
    const auto reason = ReasonOf(error);
    return absl::StrCat(
        reason ? std::string(ReasonName(*reason)) : absl::StatusCodeToString(error.code()), " ",
        std::string(OutcomeName(OutcomeOf(error))));
  }
  void PushAll(int count) {
    for (int i = 1; i <= count; ++i) ASSERT_TRUE(Push(std::to_string(i)).ok());
  }
  // Each of 1 .. count is in the log once, in order, and was told so in order.
  void ExpectAllIn(int count) {
    const absl::Status flushed = stream_->Flush();
    EXPECT_TRUE(flushed.ok()) << flushed;
    std::vector<std::string> records;
    std::vector<std::string> told;
    for (int i = 1; i <= count; ++i) {
      records.push_back(std::to_string(i));
      told.push_back(absl::StrCat(i, " ", i));
    }
    EXPECT_EQ(log_.records(), records);
    EXPECT_EQ(this->told(), told);
  }
  std::vector<std::string> told() {
    MutexLock lock(mutex_);
    return told_;
  }

  SmallLog log_;
  MisbehavingServer server_;
  Mutex mutex_;
  std::vector<std::string> told_ GUARDED_BY(mutex_);
  // Ends before those whom it calls.
  std::unique_ptr<PushStream> stream_;
};

TEST_F(PushStreamTest, AppendsComeInAndAreToldInTheOrderInWhichTheyWereHandedOver) {
  Open();
  PushAll(1000);
  ExpectAllIn(1000);
}

// Invariants 2 and 3.
TEST_F(PushStreamTest, WhatIsLostWithAStreamIsSentAgainInOrderAndComesInOnce) {
  server_.on_push_stream = [this](int n, End* stream) -> absl::Status {
    v1::PushLogsRequest request;
    // The first streams break, each after a few more answers; of what they took without an answer
    // the client does not know.
    if (n > 8) return log_.Serve(stream);
    for (int taken = 0; taken < 2 * n && stream->Read(&request); ++taken) {
      const v1::PushStreamResponse response = log_.Take(request);
      if (taken < n) stream->Write(response);
    }
    return absl::UnavailableError("broken");
  };
  Open();
  PushAll(200);
  ExpectAllIn(200);
}

// Invariant 2.
TEST_F(PushStreamTest, WhatStandsBehindAnAppendThatIsRefusedForAWhileComesAfterIt) {
  std::atomic<int> refusals = 0;
  server_.on_push_stream = [&](int, End* stream) {
    v1::PushLogsRequest request;
    for (int taken = 1; stream->Read(&request); ++taken) {
      if (taken == 7 && refusals < 5) {
        ++refusals;
        stream->Write(Refused(MakeRetryableError(Reason::OVERLOADED, "busy", milliseconds(1))));
      } else {
        stream->Write(log_.Take(request));
      }
    }
    return absl::OkStatus();
  };
  Open();
  PushAll(100);
  ExpectAllIn(100);
  EXPECT_EQ(refusals, 5);
}

// Invariant 10.
TEST_F(PushStreamTest, AnAppendThatCannotComeInFailsWithAllThatStandBehindItUntilTheCallerGoesOn) {
  std::latch all_sent(1);
  server_.on_push_stream = [&](int, End* stream) {
    all_sent.wait();
    v1::PushLogsRequest request;
    while (stream->Read(&request)) {
      stream->Write(request.records(0).id() == "bad"
                        ? Refused(MakeError(Reason::INVALID_RECORD, "no good"))
                        : log_.Take(request));
    }
    return absl::OkStatus();
  };
  Open();
  for (const char* id : {"a", "bad", "b", "c"}) ASSERT_TRUE(Push(id).ok());
  all_sent.count_down();
  EXPECT_EQ(ReasonOf(stream_->Flush()), Reason::INVALID_RECORD);
  EXPECT_THAT(told(), ElementsAre("a 1", "bad INVALID_RECORD NOT_IN",
                                  "b PREDECESSOR_MISSING NOT_IN", "c PREDECESSOR_MISSING NOT_IN"));
  const absl::Status refused = Push("d");
  EXPECT_EQ(ReasonOf(refused), Reason::INVALID_RECORD);
  EXPECT_EQ(OutcomeOf(refused), Outcome::kNotIn);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("stands still"));

  stream_->Resume();
  EXPECT_TRUE(stream_->status().ok());
  ASSERT_TRUE(Push("d").ok());
  EXPECT_TRUE(stream_->Flush().ok());
  EXPECT_THAT(log_.records(), ElementsAre("a", "d"));
  EXPECT_EQ(told().back(), "d 2");
}

TEST_F(PushStreamTest, APredecessorThatWasForgottenSinceItsAnswerIsNotNamedAgain) {
  std::atomic<int> missed = 0;
  server_.on_push_stream = [&](int, End* stream) {
    v1::PushLogsRequest request;
    while (stream->Read(&request)) {
      const bool names = !request.predecessor_request_id().empty();
      if (names) ++missed;
      stream->Write(names ? Refused(MakeError(Reason::PREDECESSOR_MISSING, "is too old"))
                          : log_.Take(request));
    }
    return absl::OkStatus();
  };
  Open();
  PushAll(20);
  ExpectAllIn(20);
}

TEST_F(PushStreamTest, AServerThatFallsSilentIsLeft) {
  server_.on_push_stream = [this](int n, End* stream) {
    return n == 1 ? server_.Hang() : log_.Serve(stream);
  };
  Options options = kQuick;
  options.attempt_deadline = milliseconds(50);
  Open(options);
  PushAll(10);
  ExpectAllIn(10);
}

TEST_F(PushStreamTest, AStreamThatEndsWhileThereIsNothingToDoIsNoFailure) {
  std::latch ended(1);
  server_.on_push_stream = [&](int n, End* stream) {
    v1::PushLogsRequest request;
    if (n > 1) return log_.Serve(stream);
    EXPECT_TRUE(stream->Read(&request));
    stream->Write(log_.Take(request));
    ended.count_down();
    return MakeError(Reason::DRAINING, "stopping");
  };
  Open();
  ASSERT_TRUE(Push("1").ok());
  ASSERT_TRUE(stream_->Flush().ok());
  ended.wait();
  ASSERT_TRUE(Push("2").ok());
  ExpectAllIn(2);
}

// Invariant 10.
TEST_F(PushStreamTest, WhereNothingComesInForTheTotalDeadlineTheOutcomeIsStatedOverAllAttempts) {
  server_.on_push_stream = [](int n, End* stream) {
    v1::PushLogsRequest request;
    stream->Read(&request);
    if (n == 1) return absl::UnavailableError("says nothing: may be in");
    return WithOutcome(MakeError(Reason::DRAINING, "not today"), Outcome::kNotIn);
  };
  Options options = kQuick;
  options.total_deadline = milliseconds(500);
  Open(options);
  ASSERT_TRUE(Push("a").ok());
  EXPECT_EQ(ReasonOf(stream_->Flush()), Reason::DRAINING);
  EXPECT_THAT(std::string(stream_->status().message()), HasSubstr("attempts"));
  EXPECT_THAT(told(), ElementsAre("a DRAINING UNKNOWN"));
}

// Invariant 9.
TEST_F(PushStreamTest, NoMoreIsUnderWayThanTheWindowHolds) {
  std::latch full(1);
  std::latch go_on(1);
  server_.on_push_stream = [&](int, End* stream) {
    std::vector<v1::PushLogsRequest> taken(3);
    for (auto& one : taken) stream->Read(&one);
    full.count_down();
    go_on.wait();
    for (const auto& one : taken) stream->Write(log_.Take(one));
    return log_.Serve(stream);
  };
  Open(kQuick, {.appends = 3});
  std::atomic<int> handed_over = 0;
  std::jthread pusher([&] {
    for (int i = 1; i <= 10; ++i) {
      ASSERT_TRUE(Push(std::to_string(i)).ok());
      ++handed_over;
    }
  });
  full.wait();
  EXPECT_LE(handed_over, 3);
  go_on.count_down();
  pusher.join();
  ExpectAllIn(10);
}

TEST_F(PushStreamTest, AnAppendLargerThanTheWindowGoesAlone) {
  Open(kQuick, {.bytes = 10});
  PushAll(5);
  ExpectAllIn(5);
}

TEST_F(PushStreamTest, WhatIsNotAnsweredWhenTheStreamGoesSaysWhetherItMayBeIn) {
  std::latch taken(1);
  server_.on_push_stream = [&](int, End* stream) {
    v1::PushLogsRequest request;
    stream->Read(&request);
    taken.count_down();
    return server_.Hang();
  };
  Open();
  ASSERT_TRUE(Push("a").ok());
  taken.wait();
  stream_.reset();
  EXPECT_THAT(told(), ElementsAre("a CANCELLED UNKNOWN"));
}

TEST_F(PushStreamTest, ARequestLargerThanServersReadIsNotTaken) {
  Open();
  v1::PushLogsRequest request;
  request.add_records()->set_document(std::string(kMaxMessageBytes, 'x'));
  const absl::Status refused = stream_->Push(std::move(request), [](const auto&) { FAIL(); });
  EXPECT_EQ(ReasonOf(refused), Reason::TOO_LARGE);
  EXPECT_EQ(OutcomeOf(refused), Outcome::kNotIn);
  ASSERT_TRUE(Push("1").ok()) << "and the stream goes on";
  ExpectAllIn(1);
}

}  // namespace
}  // namespace sluice::client
