#include "common/client/continuity.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::client {
namespace {

absl::Status OutOfOrder(const std::string& message, uint64_t seq_id) {
  return MakeError(Reason::LOG_CORRUPT, message, {{"seq_id", absl::StrCat(seq_id)}});
}

}  // namespace

absl::Status Continue(const v1::Append& append, std::optional<SeqId>* last) {
  const uint64_t first = append.first_seq_id();
  if (append.records().empty() || first == 0) {
    return OutOfOrder(absl::StrCat("the server sent an empty append at SeqId ", first), first);
  }
  if (*last && first != (*last)->value + 1) {
    return OutOfOrder(
        absl::StrCat("the server sent SeqId ", first, " where ", (*last)->value + 1, " was due"),
        (*last)->value + 1);
  }
  *last = SeqId(first + static_cast<uint64_t>(append.records_size()) - 1);
  return absl::OkStatus();
}

// Resume

Resume::Resume(v1::SubscribeRequest request) : request_(std::move(request)) {
  if (request_.start_case() == v1::SubscribeRequest::kAfterSeqId) {
    last_ = SeqId(request_.after_seq_id());
  }
}

v1::SubscribeRequest Resume::Request() const {
  v1::SubscribeRequest request = request_;
  if (last_) request.set_after_seq_id(last_->value);
  return request;
}

absl::Status Resume::Accept(const v1::SubscribeResponse& message) {
  if (message.has_heartbeat()) SLUICE_RETURN_IF_ERROR(AcceptHeartbeat(message.heartbeat()));
  std::optional<SeqId> last = last_;
  if (!last && message.has_start_seq_id()) last = SeqId(message.start_seq_id());
  for (const v1::Append& append : message.appends()) {
    SLUICE_RETURN_IF_ERROR(Continue(append, &last));
    if (request_.end_seq_id() != 0 && last->value > request_.end_seq_id()) {
      return OutOfOrder(absl::StrCat("the server sent SeqId ", last->value,
                                     ", beyond the end asked for, ", request_.end_seq_id()),
                        last->value);
    }
  }
  last_ = last;
  begun_ = true;
  return absl::OkStatus();
}

absl::Status Resume::AcceptHeartbeat(const v1::Heartbeat& heartbeat) {
  if (request_.incarnation() != 0 && heartbeat.incarnation() != request_.incarnation()) {
    return MakeError(Reason::INCARNATION_CHANGED,
                     "the log was restored from a backup while it was read",
                     {{"incarnation", absl::StrCat(heartbeat.incarnation())}});
  }
  request_.set_incarnation(heartbeat.incarnation());
  if (last_) return absl::OkStatus();
  switch (request_.start_case()) {
    case v1::SubscribeRequest::kLatest:
      last_ = SeqId(heartbeat.tail_seq_id());
      break;
    case v1::SubscribeRequest::kSinceTimeUs:
    case v1::SubscribeRequest::kCursor:
      // The message says itself. Where it does not, asking in the same way again loses nothing.
      break;
    default:
      last_ = SeqId(heartbeat.trim_seq_id());
      break;
  }
  return absl::OkStatus();
}

bool Resume::complete() const {
  return begun_ && request_.end_seq_id() != 0 && last_ && last_->value >= request_.end_seq_id();
}

// ViewCheck

ViewCheck::ViewCheck(const v1::ReadViewRequest& request)
    : after_seq_id_(request.after_seq_id()), incarnation_(request.incarnation()) {}

absl::Status ViewCheck::Accept(const v1::ReadViewResponse& message) {
  if (begun() == message.has_header()) {
    return OutOfOrder("the server sent a view whose header does not come first, once", 0);
  }
  if (message.has_header()) {
    const v1::ReadViewHeader& header = message.header();
    const bool continues = header.incarnation() == incarnation_;
    last_ = SeqId(std::max(header.applied_seq_id(), continues ? after_seq_id_ : 0));
    tail_ = header.tail_seq_id();
  }
  for (const v1::Append& append : message.appends()) {
    SLUICE_RETURN_IF_ERROR(Continue(append, &last_));
  }
  return absl::OkStatus();
}

absl::Status ViewCheck::Complete() const {
  if (!begun()) return OutOfOrder("the server sent a view without a header", 0);
  if (last_->value != tail_) {
    return OutOfOrder(absl::StrCat("the server sent a view up to SeqId ", last_->value,
                                   " of a log whose tail is ", tail_),
                      last_->value);
  }
  return absl::OkStatus();
}

}  // namespace sluice::client
