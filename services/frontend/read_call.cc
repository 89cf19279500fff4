#include "services/frontend/read_call.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "common/errors/errors.h"
#include "services/frontend/query_text.h"
#include "services/frontend/resolve.h"

namespace sluice::frontend {
namespace {

// Of one read, whose segments are gone by the time they are read.
constexpr int kMaxViews = 4;

}  // namespace

ReadCall::ReadCall(const char* name, Backend& backend, const Exchange& exchange)
    : Call(name, Kind::kRead, backend, exchange), deadline_(backend.DeadlineOf(*exchange.context)) {
  ++backend.pending_reads;
}

ReadCall::~ReadCall() { --backend().pending_reads; }

void ReadCall::Run() {
  if (backend().pending_reads > backend().options.max_pending_reads) {
    return Fail(MakeRetryableError(Reason::OVERLOADED, "too many reads are pending",
                                   std::chrono::milliseconds(100)));
  }
  if (absl::Status prepared = Prepare(*exchange().request); !prepared.ok()) return Fail(prepared);
  Resolve(backend(), *exchange().context, collection(), [this](absl::StatusOr<CollectionId> id) {
    if (!id.ok()) return Fail(id.status());
    collection_id_ = *id;
    if (TakesLong()) BeginAhead();
    TakeView();
  });
}

ViewCache::Wanted ReadCall::wanted() const {
  return {.collection = collection_id_,
          .level = level(),
          .deadline = deadline_,
          .given_up = given_up()};
}

void ReadCall::BeginAhead() {
  const ViewCache::ViewPtr view = backend().views.Guess(wanted());
  if (view == nullptr || !view->segments()->is_local()) return;
  ahead_ = std::make_unique<Ahead>(view);
  const bool begun = backend().executor.Offer([this, view] {
    Make(view, [this](const absl::StatusOr<grpc::ByteBuffer>& answer) {
      ahead_->answer = answer;
      ConcludeAhead();
    });
  });
  if (!begun) ahead_ = nullptr;
}

void ReadCall::ConcludeAhead() {
  if (--ahead_->missing > 0) return;
  const std::unique_ptr<Ahead> ahead = std::move(ahead_);
  const bool still_holds = ahead->taken.ok() && *ahead->taken == ahead->view;
  (still_holds ? backend().metrics.ahead_used : backend().metrics.ahead_discarded).Increment();
  if (still_holds) return Answer(ahead->view, ahead->answer);
  GoOnWith(std::move(ahead->taken));
}

void ReadCall::TakeView() {
  ++views_taken_;
  backend().views.Take(wanted(), [this](absl::StatusOr<ViewCache::ViewPtr> view) {
    if (ahead_ == nullptr) return GoOnWith(std::move(view));
    ahead_->taken = std::move(view);
    ConcludeAhead();
  });
}

void ReadCall::GoOnWith(absl::StatusOr<ViewCache::ViewPtr> view) {
  if (!view.ok()) return Fail(view.status());
  if (given_up().stop_requested()) return Fail(absl::CancelledError("the caller gave up"));
  backend().executor.Post([this, view = *std::move(view)] { AnswerFromWhatIsReady(view); });
}

Patience ReadCall::patience() const {
  return {
      .deadline = std::chrono::steady_clock::now() + (deadline_ - std::chrono::system_clock::now()),
      .given_up = given_up()};
}

void ReadCall::AnswerFromWhatIsReady(const ViewCache::ViewPtr& view) {
  is_local_ = view->segments()->is_local();
  if (is_local_) return AnswerFrom(view);
  if (absl::Status checked = CheckWith(*view); !checked.ok()) return Fail(checked);
  const bool all = needs_local_ || TakesManyRemoteRowsOf(*view);
  if (!all && !LacksVectors(*view)) {
    backend().segments.Load(*view);
    return AnswerFrom(view);
  }
  const auto loaded = [this, view](absl::Status result) {
    backend().executor.Post([this, view, result = std::move(result)] {
      if (!result.ok() && (needs_local_ || LacksVectors(*view))) return FailFrom(view, result);
      is_local_ = view->segments()->is_local();
      AnswerFrom(view);
    });
  };
  using Awaited = SegmentLoader::Awaited;
  backend().segments.AwaitLocal(*view, all ? Awaited::kAll : Awaited::kVectors, patience(), loaded);
}

bool ReadCall::LacksVectors(const View& view) const {
  return needs_vectors() && !view.segments()->has_vectors_at_hand();
}

void ReadCall::AnswerFrom(const ViewCache::ViewPtr& view) {
  Make(view,
       [this, view](const absl::StatusOr<grpc::ByteBuffer>& answer) { Answer(view, answer); });
}

void ReadCall::Answer(const ViewCache::ViewPtr& view,
                      const absl::StatusOr<grpc::ByteBuffer>& answer) {
  if (!answer.ok()) return FailFrom(view, answer.status());
  Succeed(*answer);
}

void ReadCall::FailFrom(const ViewCache::ViewPtr& view, const absl::Status& error) {
  if (is_local_ || views_taken_ == kMaxViews) return Fail(error);
  // Merged, and its object deleted: the next view has what took its place.
  if (ReasonOf(error) == Reason::SEGMENT_MISSING) return TakeView();
  const bool is_of_reading =
      absl::IsUnavailable(error) || ReasonOf(error) == Reason::SEGMENT_CORRUPT;
  if (!is_of_reading || needs_local_) return Fail(error);
  needs_local_ = true;
  AnswerFromWhatIsReady(view);
}

template <>
bool ReadCallOf<v1::GetRequest>::TakesManyRemoteRowsOf(const View& view) const {
  return TakesManyRemoteRows(view, request_);
}

template <>
void ReadCallOf<v1::GetRequest>::Make(const ViewCache::ViewPtr& view, Made made) {
  made(Encoded(frontend::Answer(*view, request_, patience(), &backend().row_readers)));
}

template <>
absl::Status ReadCallOf<v1::QueryRequest>::CheckWith(const View& view) const {
  return NeedsEmbedder(view, request_) ? absl::OkStatus() : Check(view, request_);
}

template <>
bool ReadCallOf<v1::QueryRequest>::TakesManyRemoteRowsOf(const View& view) const {
  return TakesManyRemoteRows(view, request_);
}

template <>
bool ReadCallOf<v1::QueryRequest>::TakesLong() const {
  return true;
}

template <>
void ReadCallOf<v1::QueryRequest>::Make(const ViewCache::ViewPtr& view, Made made) {
  if (!NeedsEmbedder(*view, request_)) {
    return made(Encoded(frontend::Answer(*view, request_, &backend().executor)));
  }
  const auto since = std::chrono::steady_clock::now();
  const auto left = std::max(
      std::chrono::milliseconds(1),
      std::chrono::ceil<std::chrono::milliseconds>(deadline() - std::chrono::system_clock::now()));
  EmbedText(backend().embedders, *view, request_.text(), left,
            [this, view, since, made = std::make_shared<Made>(std::move(made))](
                absl::StatusOr<std::vector<float>> vector) {
              backend().metrics.embed_seconds.Observe(
                  std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count());
              if (!vector.ok()) return (*made)(vector.status());
              backend().executor.Post([this, view, made, vector = *std::move(vector)] {
                (*made)(Encoded(frontend::Answer(*view, request_, vector, &backend().executor)));
              });
            });
}

}  // namespace sluice::frontend
