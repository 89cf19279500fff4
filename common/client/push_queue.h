// The appends of a push stream that are not answered yet: which is sent next, under which
// predecessor, and what each is told in the end. Pure: no clock, no thread, no RPC. Used by one
// thread at a time.
//
// Appends are sent in their order, on one stream at a time, and answered in that order; the first
// `sent` of them are under way on it. A stream that ends leaves them all to be sent again.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/errors/errors.h"
#include "sluice/v1/log.pb.h"

namespace sluice::client {

class PushQueue {
 public:
  using Done = std::function<void(absl::StatusOr<v1::PushLogsResponse>)>;
  using Request = std::shared_ptr<const v1::PushLogsRequest>;
  // An append that is done with, and what to tell its caller.
  struct Answer {
    Done done;
    absl::StatusOr<v1::PushLogsResponse> result;
  };

  // `request` has its request_id.
  void Add(v1::PushLogsRequest request, Done done);
  bool empty() const { return appends_.empty(); }
  size_t size() const { return appends_.size(); }
  size_t bytes() const { return bytes_; }

  size_t sent() const { return sent_; }
  bool has_next() const { return sent_ < appends_.size(); }
  // Takes the next one for the stream. It names the one before it, if that is not answered: an
  // older one is in, and the log may have forgotten it.
  Request Next();
  // Whether the oldest, as it was sent last, named a predecessor.
  bool oldest_named_one() const;

  // The oldest is in.
  Answer Accept(v1::PushLogsResponse response);
  // The stream is over. What the attempts on it came to: that of the oldest, and those of the
  // others.
  void Rewind(Outcome oldest, Outcome others);
  // Gives all of them up, after Rewind: the oldest is told `error`, the others `for_others`, each
  // with the outcome over its attempts. If the oldest is not in, none is: they named it.
  std::vector<Answer> GiveUp(const absl::Status& error, const absl::Status& for_others);

 private:
  struct Append {
    std::shared_ptr<v1::PushLogsRequest> request;
    Done done;
    size_t bytes = 0;
    // Over the attempts that are over.
    Outcome outcome = Outcome::kNotIn;
  };

  std::deque<Append> appends_;
  size_t bytes_ = 0;
  size_t sent_ = 0;
};

}  // namespace sluice::client
