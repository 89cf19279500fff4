#include "services/frontend/view_fetch.h"

#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/client/continuity.h"
#include "common/errors/errors.h"

namespace sluice::frontend {
namespace {

using Done = absl::AnyInvocable<void(absl::StatusOr<FetchedView>)>;

// Owns itself until OnDone.
class Fetch : public grpc::ClientReadReactor<v1::ReadViewResponse> {
 public:
  Fetch(const v1::ReadViewRequest& request, const FetchOptions& options, ByteBudget& budget,
        Done done)
      : request_(request),
        header_only_(options.header_only),
        budget_(budget),
        check_(request),
        fetched_{.delta = {.has_records = !options.header_only, .header = {}, .messages = {}},
                 .share = ByteBudget::Share(budget)},
        done_(std::move(done)) {
    context_.set_deadline(options.deadline);
  }

  void Start(v1::LogService::Stub* stub, std::stop_token cancel) {
    stub->async()->ReadView(&context_, &request_, this);
    next_ = std::make_shared<v1::ReadViewResponse>();
    StartRead(next_.get());
    // The hold keeps this alive until the callback is in place.
    AddHold();
    StartCall();
    cancel_.emplace(std::move(cancel), [this] { context_.TryCancel(); });
    RemoveHold();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    refused_ = Accept(std::move(next_));
    if (!refused_.ok() || header_only_) {
      complete_ = refused_.ok();
      context_.TryCancel();
      return;
    }
    next_ = std::make_shared<v1::ReadViewResponse>();
    StartRead(next_.get());
  }

  void OnDone(const grpc::Status& status) override {
    Done done = std::move(done_);
    absl::StatusOr<FetchedView> result = Result(status);
    // Before `done`: what this stands on may be gone afterwards.
    delete this;
    done(std::move(result));
  }

 private:
  absl::Status Accept(std::shared_ptr<v1::ReadViewResponse> message) {
    SLUICE_RETURN_IF_ERROR(check_.Accept(*message));
    if (message->has_header()) fetched_.delta.header.Swap(message->mutable_header());
    if (header_only_ || message->appends_size() == 0) return absl::OkStatus();
    const uint64_t bytes = Tail::BytesOf(*message);
    if (!fetched_.share.TryGrow(bytes)) return NoRoom(bytes);
    fetched_.delta.messages.push_back(std::move(message));
    return absl::OkStatus();
  }

  absl::Status NoRoom(uint64_t bytes) const {
    if (fetched_.share.bytes() + bytes > budget_.max()) {
      return MakeRetryableError(Reason::BACKLOG,
                                absl::StrCat("more than ", budget_.max(),
                                             " bytes of the collection are not applied yet: read "
                                             "at APPLIED, or wait for compaction"),
                                std::chrono::seconds(5));
    }
    return MakeRetryableError(Reason::OVERLOADED, "too many views are being read at once",
                              std::chrono::milliseconds(500));
  }

  absl::StatusOr<FetchedView> Result(const grpc::Status& status) {
    if (!refused_.ok()) return refused_;
    if (!complete_) {
      if (!status.ok()) return FromGrpc(status, context_);
      SLUICE_RETURN_IF_ERROR(check_.Complete());
    }
    return std::move(fetched_);
  }

  const v1::ReadViewRequest request_;
  const bool header_only_;
  ByteBudget& budget_;
  grpc::ClientContext context_;
  client::ViewCheck check_;
  std::shared_ptr<v1::ReadViewResponse> next_;
  FetchedView fetched_;
  absl::Status refused_;
  // Has all that was asked for, though the call was ended early.
  bool complete_ = false;
  Done done_;
  std::optional<std::stop_callback<std::function<void()>>> cancel_;
};

}  // namespace

void FetchView(v1::LogService::Stub* stub, const v1::ReadViewRequest& request,
               const FetchOptions& options, ByteBudget& budget, Done done) {
  (new Fetch(request, options, budget, std::move(done)))->Start(stub, options.cancel);
}

}  // namespace sluice::frontend
