// What becomes of the texts that are handed to one embedder: when which of them are sent, and what
// an answer, or none, says about them. Pure: time and chance are given, calls are made by others
// (embed_scheduler.h).
//
//   - Batches are filled across all tickets (text_pool.h), several are under way (in_flight.h). One
//     that is not full waits for more texts while two a server are under way.
//     Results are joined by ticket and place in it.
//   - OVERLOADED blames nobody: fewer calls at once, and a pause. One that is still too much when
//     it is the only call is halved.
//   - A refused batch is halved until the text that is meant is alone: that text is refused.
//   - Unreachable and ill may be the server's fault or a text's. Unless other calls succeed
//     meanwhile, only a *witness* is sent, a word of ours, until it succeeds. If none does within
//     `patience`, the embedder is down: all tickets fail, and new ones do at once until it is time
//     to look again. If one does, the batch is halved and sent again; a text that fails alone again
//     and again, although the server is well each time, is refused as failing.
//   - A misfit fails the tickets of this model and dimension.
//
// One thread at a time. It holds the texts of its tickets; whoever adds them bounds them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/embed/embed_client.h"
#include "common/embed/embedder.h"
#include "services/compactor/in_flight.h"
#include "services/compactor/text_pool.h"

namespace sluice::compactor {

// Why a text has no vector.
struct Refusal {
  enum class Reason {
    // The server does not take it.
    kRefused,
    // Its calls fail while others succeed.
    kFailing,
  };
  Reason reason = Reason::kRefused;
  // The server's.
  std::string words;
};

// Of one text: a vector, or why there is none.
struct Embedded {
  std::vector<float> vector;
  std::optional<Refusal> refusal;
};

// Texts that are handed over together, prefixes in place.
struct EmbedWork {
  std::string model;
  uint32_t dimension = 0;
  std::vector<std::string> texts;
};

// Results in the order of the texts. EMBEDDER_UNAVAILABLE; EMBEDDER_MISFIT.
using EmbedResult = absl::StatusOr<std::vector<Embedded>>;

class EmbedQueue {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Options {
    // In errors.
    std::string embedder;
    // How long no call may succeed until the embedder is down.
    std::chrono::milliseconds patience{10'000};
    // How many there are: a text is not to blame for those that are ill.
    size_t endpoints = 1;
  };
  struct Send {
    uint64_t number = 0;
    embed::Call call;
    // 0: a witness.
    size_t padded_tokens = 0;
  };
  struct Finished {
    Ticket ticket;
    EmbedResult result;
  };

  explicit EmbedQueue(Options options) : options_(std::move(options)) {}

  Ticket Add(EmbedWork work, Time now);
  // Nobody waits for it any more: it is never finished.
  void Forget(Ticket ticket);
  // The next call to make; nullopt: none, until an answer, another ticket or WakeAt.
  std::optional<Send> Next(Time now, const embed::Limits& limits);
  // `share`: random, in [0, 1).
  void Answered(uint64_t number, embed::Answer answer, Time now, double share,
                const embed::Limits& limits);
  std::vector<Finished> TakeFinished() { return std::exchange(finished_, {}); }
  // After `now`; nullopt: time alone changes nothing.
  std::optional<Time> WakeAt(Time now) const;

  // UNAVAILABLE while the embedder is down: a ticket would fail.
  absl::Status Check(Time now) const;
  // How long no call has succeeded, in spite of failures; zero if the last one did.
  std::chrono::milliseconds TroubleFor(Time now) const;
  size_t in_flight() const { return calls_.size(); }
  size_t waiting_texts() const;

 private:
  using LaneName = std::pair<std::string, uint32_t>;
  struct Open {
    LaneName lane;
    std::vector<Embedded> results;
    size_t missing = 0;
  };
  // Texts that failed together.
  struct Retry {
    LaneName lane;
    std::vector<PendingText> texts;
    // Of a single text, alone.
    int failures = 0;
    // Of its last failure: when the call began, and what was said.
    Time since;
    std::string words;
    Time not_before;
  };
  struct Running {
    Retry batch;
    bool is_witness = false;
    Time since;
  };

  // Whether the endpoints have enough to do for now.
  bool IsKeptBusy(Time now) const;
  std::optional<Send> Begin(Retry batch, Time now);
  std::optional<Send> BeginWitness(Time now);
  std::optional<Retry> TakeRetry(Time now);
  // Of those whose texts may go now, the one with the text that has waited longest.
  const LaneName* OldestLane(absl::FunctionRef<bool(const TextPool&)> may_go = [](const TextPool&) {
    return true;
  }) const;
  std::optional<LaneName> AnyLane() const;
  bool HasWork() const;

  void Succeeded(Time now);
  void Complete(const PendingText& text, Embedded result);
  void Failed(Running running, const embed::Failure& failure, bool names_the_text, Time now,
              double share, const embed::Limits& limits);
  void Overloaded(Retry batch, const embed::Failure& failure, Time now, double share,
                  const embed::Limits& limits);
  void RefuseOrHalve(Retry batch, const embed::Failure& failure, bool names_the_text);
  void SuspectOrHalve(Retry batch, const embed::Failure& failure, Time now, double share);
  void Halve(Retry batch);
  // Whether the text, alone, is to blame by now.
  bool IsFailing(const Retry& retry) const;
  void Doubt(Time since, const embed::Failure& failure, Time now, double share);
  void FailAll(const std::string& words, Time now, double share);
  void FailLane(const LaneName& lane, const embed::Failure& failure);
  absl::Status Unavailable(std::string_view words, Time now) const;
  void Finish(std::map<Ticket, Open>::iterator open, EmbedResult result);

  const Options options_;
  Ticket last_ticket_ = 0;
  uint64_t last_order_ = 0;
  uint64_t next_call_ = 1;
  std::map<Ticket, Open> open_;
  std::map<LaneName, TextPool> lanes_;
  // Full batches of other lanes that went before the text that has waited longest.
  int passed_over_ = 0;
  std::deque<Retry> retries_;
  std::map<uint64_t, Running> calls_;
  std::vector<Finished> finished_;

  InFlightLimit limit_;
  // The last time that a call succeeded, and the first failure since.
  std::optional<Time> success_at_;
  std::optional<Time> trouble_since_;
  // Overloaded.
  Time pause_until_;
  int overloads_ = 0;
  // Only witnesses are sent.
  bool doubt_ = false;
  bool witness_under_way_ = false;
  Time witness_at_;
  int witnesses_failed_ = 0;
  // Down.
  Time down_until_;
  int times_down_ = 0;
  std::string down_words_;
};

}  // namespace sluice::compactor
