#include "common/client/push_queue.h"

#include <utility>

#include "common/base/check.h"
#include "common/client/retry.h"

namespace sluice::client {

void PushQueue::Add(v1::PushLogsRequest request, Done done) {
  Append& append = appends_.emplace_back();
  append.bytes = request.ByteSizeLong();
  append.request = std::make_shared<v1::PushLogsRequest>(std::move(request));
  append.done = std::move(done);
  bytes_ += append.bytes;
}

PushQueue::Request PushQueue::Next() {
  SLUICE_CHECK(has_next());
  v1::PushLogsRequest& request = *appends_[sent_].request;
  if (sent_ == 0) {
    request.clear_predecessor_request_id();
  } else {
    request.set_predecessor_request_id(appends_[sent_ - 1].request->request_id());
  }
  return appends_[sent_++].request;
}

bool PushQueue::oldest_named_one() const {
  return !empty() && !appends_.front().request->predecessor_request_id().empty();
}

PushQueue::Answer PushQueue::Accept(v1::PushLogsResponse response) {
  SLUICE_CHECK(sent_ > 0);
  Answer answer{std::move(appends_.front().done), std::move(response)};
  bytes_ -= appends_.front().bytes;
  appends_.pop_front();
  --sent_;
  return answer;
}

void PushQueue::Rewind(Outcome oldest, Outcome others) {
  for (size_t i = 0; i < sent_; ++i) {
    appends_[i].outcome = OverBoth(appends_[i].outcome, i == 0 ? oldest : others);
  }
  sent_ = 0;
}

std::vector<PushQueue::Answer> PushQueue::GiveUp(const absl::Status& error,
                                                 const absl::Status& for_others) {
  SLUICE_CHECK(sent_ == 0);
  std::vector<Answer> answers;
  const bool none_is_in = empty() || appends_.front().outcome == Outcome::kNotIn;
  for (Append& append : appends_) {
    const absl::Status& told = answers.empty() ? error : for_others;
    answers.push_back(
        {std::move(append.done), WithOutcome(told, none_is_in ? Outcome::kNotIn : append.outcome)});
  }
  appends_.clear();
  bytes_ = 0;
  return answers;
}

}  // namespace sluice::client
