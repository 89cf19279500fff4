#include "services/log/read_view.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/append_reader.h"
#include "services/log/reader.h"
#include "services/log/request_checks.h"
#include "services/log/streams.h"
#include "services/log/wire.h"
#include "sluice/v1/log.pb.h"

namespace sluice::log {
namespace {

class ReadViewStream final : public Stream {
 public:
  ReadViewStream(grpc::CallbackServerContext* context, ServiceCore& core,
                 const CollectionId& collection, v1::ReadViewRequest request)
      : Stream(context, Parts{core.reads, core.timer, core.watchers, core.streams}),
        core_(core),
        shard_(*core.shard),
        collection_(collection),
        request_(std::move(request)) {}
  ~ReadViewStream() override {
    if (timer_id_) core_.timer.Cancel(*timer_id_);
  }

 private:
  // What the messages of one view are read from.
  struct View {
    View(std::unique_ptr<Snapshot> taken, const CollectionId& collection, SeqId start, SeqId end)
        : snapshot(std::move(taken)),
          reader(*snapshot, collection, start, end),
          filler(reader),
          last(start),
          tail(end) {}
    std::unique_ptr<Snapshot> snapshot;
    AppendReader reader;
    AppendFiller filler;
    SeqId last;
    SeqId tail;
  };

  Action Step() override {
    const MutexLock lock(view_mutex_);
    if (expired_) {
      return Ended{MakeRetryableError(Reason::OVERLOADED,
                                      "the view was not read in time: take a new one",
                                      std::chrono::seconds(1))};
    }
    absl::StatusOr<Action> action = view_ ? SendRecords("") : Open();
    return action.ok() ? *std::move(action) : Action(Ended{action.status()});
  }

  void Expire() {
    const MutexLock lock(view_mutex_);
    expired_ = true;
    view_.reset();
  }

  void SetTimer() {
    timer_id_ = core_.timer.At(Timer::Clock::now() + core_.view_time, [weak = weak_from_this()] {
      const auto stream = std::static_pointer_cast<ReadViewStream>(weak.lock());
      // Giving back a snapshot may remove files: not on the timer's thread.
      if (stream) (void)stream->core_.reads.Run([stream] { stream->Expire(); });
    });
  }

  absl::StatusOr<Action> Open() REQUIRES(view_mutex_) {
    if (draining()) return MakeError(Reason::DRAINING, "the log is stopping");
    const uint64_t epoch = core_.watchers.Epoch(collection_);
    auto snapshot = std::make_unique<Snapshot>(shard_.store());
    SLUICE_ASSIGN_OR_RETURN(const pb::LogState log, ReadLog(*snapshot, collection_));
    if (log.schema().log_only()) {
      return MakeError(Reason::LOG_ONLY,
                       absl::StrCat("collection ", collection_.ToString(),
                                    " is a log and nothing else: there is nothing to query"));
    }
    if (log.applied() < request_.wait_applied_seq_id()) {
      return Action(Wait{collection_, epoch, Watchers::What::kApplied,
                         SeqId(request_.wait_applied_seq_id() - 1), std::nullopt});
    }
    const bool known = request_.incarnation() == shard_.incarnation().value;
    const uint64_t after = known ? request_.after_seq_id() : 0;
    if (after > log.tail()) return CheckStart(log, SeqId(after));

    v1::ReadViewHeader header;
    header.set_incarnation(shard_.incarnation().value);
    header.set_segments_version(log.segments_version());
    header.set_tail_seq_id(log.tail());
    header.set_trim_seq_id(log.trim());
    header.set_applied_seq_id(log.applied());
    header.set_live_count(log.live_count());
    *header.mutable_schema() = log.schema();
    header.set_id_hash_key(log.id_hash_key());
    header.set_dimension(log.dimension());
    const bool same_segments = known && request_.segments_version() == log.segments_version();
    header.set_segments_included(!same_segments);
    if (!same_segments) {
      SLUICE_ASSIGN_OR_RETURN(const auto segments, ReadSegments(*snapshot, collection_));
      header.mutable_segments()->Assign(segments.begin(), segments.end());
    }
    std::string message;
    PutMessage(&message, v1::ReadViewResponse::kHeaderFieldNumber, header);
    const SeqId start(std::max(after, log.applied()));
    if (start.value == log.tail()) return Action(LastOf(std::move(message)));
    view_.emplace(std::move(snapshot), collection_, start, SeqId(log.tail()));
    SetTimer();
    return SendRecords(std::move(message));
  }

  static Write LastOf(std::string message) {
    return {.message = ToByteBuffer(std::move(message)), .last = true};
  }

  // What has been put into `message`, and the records that fit.
  absl::StatusOr<Action> SendRecords(std::string message) REQUIRES(view_mutex_) {
    SLUICE_ASSIGN_OR_RETURN(
        const Filled filled,
        view_->filler.Fill(v1::ReadViewResponse::kAppendsFieldNumber, FillLimits(), &message));
    view_->last = filled.last;
    if (view_->last < view_->tail) {
      return Action(Write{.message = ToByteBuffer(std::move(message))});
    }
    view_.reset();
    return Action(LastOf(std::move(message)));
  }

  ServiceCore& core_;
  const Shard& shard_;
  const CollectionId collection_;
  const v1::ReadViewRequest request_;
  // Of the thread that takes the step.
  std::optional<Timer::Id> timer_id_;

  Mutex view_mutex_;
  std::optional<View> view_ GUARDED_BY(view_mutex_);
  bool expired_ GUARDED_BY(view_mutex_) = false;
};

absl::StatusOr<std::shared_ptr<Stream>> Open(const CoreGate& gate,
                                             grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer& bytes) {
  SLUICE_ASSIGN_OR_RETURN(ServiceCore* const core, gate.ForReading());
  v1::ReadViewRequest request;
  SLUICE_RETURN_IF_ERROR(ParseRequest(bytes, &request));
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                          CheckCollectionId(request.collection_id()));
  return std::make_shared<ReadViewStream>(context, *core, collection, std::move(request));
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeReadView(const CoreGate& gate,
                                                          grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer& request) {
  return BeginOrRefuse(Open(gate, context, request), context);
}

}  // namespace sluice::log
