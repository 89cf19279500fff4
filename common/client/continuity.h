// Whether what a log sends continues what came before, and where a broken stream is to be resumed.
// Pure: no clock, no thread, no RPC. Used by one thread at a time.
//
// All errors mean that the message must not be passed on. A gap, a repeat or an empty append is
// DATA_LOSS (LOG_CORRUPT): the server's fault, and nothing that asking again would heal.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "sluice/v1/log.pb.h"

namespace sluice::client {

// Checks that `append` continues a log after `*last` (nullopt: anywhere), and moves `*last` to its
// end.
absl::Status Continue(const v1::Append& append, std::optional<SeqId>* last);

// A subscription over all its streams.
class Resume {
 public:
  explicit Resume(v1::SubscribeRequest request);

  // The request that continues after what was accepted, on the incarnation that was seen.
  v1::SubscribeRequest Request() const;
  // Takes note of a message before it is passed on.
  absl::Status Accept(const v1::SubscribeResponse& message);
  // Whether the range asked for has been accepted whole. Not before the server has said anything:
  // whether the range makes sense is for it to say.
  bool complete() const;
  // nullopt: not known yet (`latest`, `earliest`, a time or a cursor before the first message).
  std::optional<SeqId> last() const { return last_; }

 private:
  absl::Status AcceptHeartbeat(const v1::Heartbeat& heartbeat);

  v1::SubscribeRequest request_;
  std::optional<SeqId> last_;
  bool begun_ = false;
};

// One stream of ReadView: a header, then the records after max(after_seq_id, applied), up to the
// tail.
class ViewCheck {
 public:
  explicit ViewCheck(const v1::ReadViewRequest& request);

  absl::Status Accept(const v1::ReadViewResponse& message);
  // To be called when the stream ended with OK.
  absl::Status Complete() const;
  bool begun() const { return last_.has_value(); }

 private:
  const uint64_t after_seq_id_;
  const uint64_t incarnation_;
  uint64_t tail_ = 0;
  std::optional<SeqId> last_;
};

}  // namespace sluice::client
