#include "services/log/subscribe.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/base/clock.h"
#include "common/errors/errors.h"
#include "services/log/append_reader.h"
#include "services/log/cursor.h"
#include "services/log/reader.h"
#include "services/log/request_checks.h"
#include "services/log/streams.h"
#include "services/log/wire.h"
#include "sluice/v1/log.pb.h"

namespace sluice::log {
namespace {

constexpr uint32_t kDefaultHeartbeatMs = 5'000;
constexpr uint32_t kMinHeartbeatMs = 100;
constexpr uint32_t kMaxHeartbeatMs = 60'000;

class SubscribeStream final : public Stream {
 public:
  SubscribeStream(grpc::CallbackServerContext* context, ServiceCore& core,
                  const CollectionId& collection, v1::SubscribeRequest request)
      : Stream(context, Parts{core.reads, core.timer, core.watchers, core.streams}),
        core_(core),
        shard_(*core.shard),
        collection_(collection),
        request_(std::move(request)),
        end_(request_.end_seq_id()),
        heartbeat_(request_.heartbeat_ms() ? request_.heartbeat_ms() : kDefaultHeartbeatMs) {}

 private:
  Action Step() override {
    absl::StatusOr<Action> action = Next();
    return action.ok() ? *std::move(action) : Action(Ended{action.status()});
  }

  absl::StatusOr<Action> Next() {
    const uint64_t epoch = core_.watchers.Epoch(collection_);
    const Snapshot snapshot(shard_.store());
    SLUICE_ASSIGN_OR_RETURN(const pb::LogState log, ReadLog(snapshot, collection_));
    if (!located_) {
      SLUICE_ASSIGN_OR_RETURN(last_, Locate(snapshot, log));
      located_ = true;
      return SendHeartbeat(log, /*start=*/last_);
    }
    if (end_.value != 0 && last_ >= end_) return Action(Ended{absl::OkStatus()});
    if (draining()) {
      if (!said_draining_) return SendHeartbeat(log);
      return MakeError(Reason::DRAINING, "the log is stopping");
    }
    SLUICE_RETURN_IF_ERROR(CheckStart(log, last_));
    const SeqId to(end_.value != 0 ? std::min(end_.value, log.tail()) : log.tail());
    if (last_ < to) return SendRecords(snapshot, to);
    if (Timer::Clock::now() >= last_sent_ + heartbeat_) return SendHeartbeat(log);
    waited_ = true;
    return Action(Wait{collection_, epoch, Watchers::What::kTail, last_, last_sent_ + heartbeat_});
  }

  // The SeqId before the first to be sent.
  absl::StatusOr<SeqId> Locate(const Snapshot& snapshot, const pb::LogState& log) const {
    SLUICE_RETURN_IF_ERROR(CheckIncarnation(request_.incarnation(), shard_.incarnation()));
    switch (request_.start_case()) {
      case v1::SubscribeRequest::kAfterSeqId: {
        const SeqId after(request_.after_seq_id());
        SLUICE_RETURN_IF_ERROR(CheckStart(log, after));
        return after;
      }
      case v1::SubscribeRequest::kLatest:
        return SeqId(log.tail());
      case v1::SubscribeRequest::kSinceTimeUs:
        return SeqIdBefore(snapshot, collection_, SeqId(log.trim()), SeqId(log.tail()),
                           request_.since_time_us());
      case v1::SubscribeRequest::kCursor:
        return AfterCursor(snapshot, log, request_.cursor());
      case v1::SubscribeRequest::kEarliest:
      case v1::SubscribeRequest::START_NOT_SET:
        break;
    }
    return SeqId(log.trim());
  }

  absl::StatusOr<SeqId> AfterCursor(const Snapshot& snapshot, const pb::LogState& log,
                                    const std::string& name) const {
    if (name == kIndexCursor && !log.schema().log_only()) return SeqId(log.applied());
    SLUICE_ASSIGN_OR_RETURN(const pb::CursorState cursor, ReadCursor(snapshot, collection_, name));
    SLUICE_RETURN_IF_ERROR(CheckUsable(name, cursor, log, shard_.incarnation()));
    return SeqId(cursor.seq_id());
  }

  Action SendHeartbeat(const pb::LogState& log, std::optional<SeqId> start = std::nullopt) {
    v1::SubscribeResponse message;
    if (start) message.set_start_seq_id(start->value);
    v1::Heartbeat& heartbeat = *message.mutable_heartbeat();
    heartbeat.set_tail_seq_id(log.tail());
    heartbeat.set_applied_seq_id(log.applied());
    heartbeat.set_trim_seq_id(log.trim());
    heartbeat.set_incarnation(shard_.incarnation().value);
    said_draining_ = draining();
    heartbeat.set_draining(said_draining_);
    last_sent_ = Timer::Clock::now();
    return Write{ToByteBuffer(message)};
  }

  absl::StatusOr<Action> SendRecords(const Snapshot& snapshot, SeqId to) {
    AppendReader reader(snapshot, collection_, last_, to);
    AppendFiller filler(reader);
    std::string message;
    const FillLimits limits{.message_bytes = core_.streams.MessageBytes()};
    SLUICE_ASSIGN_OR_RETURN(
        const Filled filled,
        filler.Fill(v1::SubscribeResponse::kAppendsFieldNumber, limits, &message));
    last_ = filled.last;
    last_sent_ = Timer::Clock::now();
    core_.metrics.Delivered(filled.records, filled.record_bytes);
    if (std::exchange(waited_, false)) {
      core_.metrics.DeliveredLive(NowMicros() - filled.last_commit_time_us);
    }
    return Action(Write{ToByteBuffer(std::move(message)),
                        /*more=*/last_ < to && core_.streams.MayWorkAhead()});
  }

  ServiceCore& core_;
  const Shard& shard_;
  const CollectionId collection_;
  const v1::SubscribeRequest request_;
  const SeqId end_;
  const std::chrono::milliseconds heartbeat_;

  // Used by one step at a time.
  bool located_ = false;
  // The last SeqId sent, or before the first.
  SeqId last_;
  Timer::Clock::time_point last_sent_;
  bool said_draining_ = false;
  // Whether the step before found nothing to send.
  bool waited_ = false;
};

absl::Status Check(const v1::SubscribeRequest& request) {
  if (request.heartbeat_ms() != 0 &&
      (request.heartbeat_ms() < kMinHeartbeatMs || request.heartbeat_ms() > kMaxHeartbeatMs)) {
    return InvalidField("heartbeat_ms", "not within 100 .. 60000");
  }
  if (request.has_earliest() && !request.earliest()) {
    return InvalidField("earliest", "set, but false");
  }
  if (request.has_cursor()) SLUICE_RETURN_IF_ERROR(CheckCursorName(request.cursor()));
  if (request.has_latest() && !request.latest()) return InvalidField("latest", "set, but false");
  if (request.end_seq_id() != 0 && request.end_seq_id() < request.after_seq_id()) {
    return InvalidField("end_seq_id", "lies before the start");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Stream>> Open(const CoreGate& gate,
                                             grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer& bytes) {
  SLUICE_ASSIGN_OR_RETURN(ServiceCore* const core, gate.ForReading());
  v1::SubscribeRequest request;
  SLUICE_RETURN_IF_ERROR(ParseRequest(bytes, &request));
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection,
                          CheckCollectionId(request.collection_id()));
  SLUICE_RETURN_IF_ERROR(Check(request));
  return std::make_shared<SubscribeStream>(context, *core, collection, std::move(request));
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeSubscribe(const CoreGate& gate,
                                                           grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer& request) {
  return BeginOrRefuse(Open(gate, context, request), context);
}

}  // namespace sluice::log
