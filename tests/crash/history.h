// What many clients of a log tried, when, and what they were told: every call with its outcome,
// for CheckHistory (check_history.h) to judge. Plain values, but for Recorder, which is
// thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/mutex.h"
#include "common/errors/errors.h"
#include "sluice/v1/record.pb.h"

namespace sluice::testing {

// By one steady clock, in microseconds since the history began.
using Moment = int64_t;

// Stands for a record; those of a history are all different, and so are their digests.
using RecordDigest = uint64_t;
RecordDigest DigestOf(const v1::OperationRecord& record);

// What must hold for an append to be made.
struct Conditions {
  // Index of an append in History::appends. In a push stream: the one that was handed over before
  // it, also where the log was not told, since that was in.
  std::optional<size_t> predecessor;
  std::optional<uint64_t> tail;
  struct Unchanged {
    uint64_t since = 0;
    std::vector<std::string> ids;
  };
  std::optional<Unchanged> ids;
};

// The records of one push, however many times it was sent.
struct PushedAppend {
  // For messages.
  std::string name;
  // Collections and subscribers are known by their numbers.
  size_t collection = 0;
  std::vector<RecordDigest> records;
  // Of the records; may be left out where no condition is about ids.
  std::vector<std::string> ids;
  Conditions conditions;
};

// Why a conditional push was refused.
struct Refusal {
  bool no_predecessor = false;
  // The tail had moved there.
  std::optional<uint64_t> tail;
  // An id had changed there.
  std::optional<std::pair<std::string, uint64_t>> changed;
};

// One attempt to push, or, through a push stream, all of them.
struct PushCall {
  // Index of the append in History::appends.
  size_t append = 0;
  Moment called = 0;
  Moment answered = 0;
  Outcome outcome = Outcome::kUnknown;
  // What an attempt that is in was told.
  uint64_t first_seq_id = 0;
  uint64_t tail_seq_id = 0;
  bool duplicate = false;
  // A duplicate may be one of itself.
  bool several_attempts = false;
  // What one was told that a condition kept out.
  std::optional<Refusal> refusal;
};

// A part of a log as some call showed it.
struct ShownAppend {
  uint64_t first_seq_id = 0;
  std::vector<RecordDigest> records;
};

// What one call, or one message of a subscription, showed of a log.
struct Observation {
  size_t collection = 0;
  // Of a subscription: when the stream was opened, since its messages may have been on their way
  // for as long.
  Moment called = 0;
  Moment answered = 0;
  // Set if the tail was told.
  std::optional<uint64_t> tail;
  // Set if it was asked for the records after this one.
  std::optional<uint64_t> after_seq_id;
  std::vector<ShownAppend> appends;
  // Set for a message of a subscription. What one subscriber sees continues what it saw before,
  // over all its streams.
  std::optional<size_t> subscriber;
};

struct History {
  std::vector<PushedAppend> appends;
  // In the order in which they were recorded.
  std::vector<PushCall> pushes;
  std::vector<Observation> observations;
  // By collection: the whole log, as read when everything was over.
  std::vector<std::vector<ShownAppend>> logs;
  // Answers that no client should get, in words.
  std::vector<std::string> unexpected;
};

class Recorder {
 public:
  Moment Now() const;

  // An append that is about to be tried for the first time; its index.
  size_t Begin(PushedAppend append) EXCLUDES(mutex_);
  void Answered(const PushCall& call) EXCLUDES(mutex_);
  void Saw(Observation observation) EXCLUDES(mutex_);
  void Unexpected(std::string what) EXCLUDES(mutex_);

  // Calls answered so far: pushes and reads; not the messages of subscriptions.
  uint64_t operations() const { return operations_; }
  // Wait until there are `more` operations; more pushes that nobody answered. False: not in time.
  bool AwaitOperations(uint64_t more, std::chrono::milliseconds within) EXCLUDES(mutex_);
  bool AwaitUnknown(uint64_t more, std::chrono::milliseconds within) EXCLUDES(mutex_);

  // Everything recorded, but for the logs; once nobody records any more.
  History Take() EXCLUDES(mutex_);

 private:
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  Mutex mutex_;
  CondVar moved_;
  History history_ GUARDED_BY(mutex_);
  std::atomic<uint64_t> operations_ = 0;
  std::atomic<uint64_t> unknown_ = 0;
};

}  // namespace sluice::testing
