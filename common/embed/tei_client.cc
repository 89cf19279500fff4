#include "common/embed/tei_client.h"

#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/embed/grpc_calls.h"
#include "tei/v1/tei.grpc.pb.h"

namespace sluice::embed {
namespace {

namespace tei = ::tei::v1;

// What a server queues of one stream (GRPC_MAX_PARALLEL_STREAM_REQUESTS).
constexpr uint32_t kMaxStreamTexts = 1024;

class InfoReactor final : public grpc::ClientUnaryReactor {
 public:
  InfoReactor(RunningCalls& calls, Described done) : calls_(calls), done_(std::move(done)) {}

  void Start(tei::Info::Stub& stub, const tei::InfoRequest* request) {
    stub.async()->Info(&context, request, &response_, this);
    StartCall();
  }
  void OnDone(const grpc::Status& status) override {
    RunningCalls& calls = calls_;
    ServerLimits limits;
    std::optional<Failure> failure;
    if (!status.ok()) {
      failure = FailureOf(status, context);
    } else if (response_.model_type() != tei::MODEL_TYPE_EMBEDDING) {
      failure = MakeFailure(Fault::kMisfit, "the server's model makes no embeddings");
    } else {
      limits.max_texts = kMaxStreamTexts;
      if (response_.max_concurrent_requests() != 0) {
        limits.max_texts = std::min(kMaxStreamTexts, response_.max_concurrent_requests());
      }
      limits.max_tokens = response_.max_batch_tokens();
      on_model(response_.model_id());
    }
    done_(std::move(failure), limits);
    calls.Forget(&context);
    delete this;
    calls.End();
  }

  grpc::ClientContext context;
  std::function<void(const std::string&)> on_model;

 private:
  RunningCalls& calls_;
  const Described done_;
  tei::InfoResponse response_;
};

// Writes and reads go on side by side.
class StreamReactor final : public grpc::ClientBidiReactor<tei::EmbedRequest, tei::EmbedResponse> {
 public:
  StreamReactor(RunningCalls& calls, Call call, bool truncate, Done done)
      : calls_(calls), call_(std::move(call)), done_(std::move(done)) {
    request_.set_truncate(truncate);
  }

  void Start(tei::Embed::Stub& stub) {
    stub.async()->EmbedStream(&context, this);
    WriteNext();
    StartRead(&response_);
    StartCall();
  }

  void OnWriteDone(bool ok) override {
    if (ok && written_ < call_.texts.size()) WriteNext();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    vectors_.emplace_back(response_.embeddings().begin(), response_.embeddings().end());
    // One too many would be read for ever by a server that never stops.
    if (vectors_.size() > call_.texts.size()) {
      context.TryCancel();
      return;
    }
    StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    RunningCalls& calls = calls_;
    done_(AnswerOf(status));
    calls.Forget(&context);
    delete this;
    calls.End();
  }

  grpc::ClientContext context;

 private:
  void WriteNext() {
    request_.set_inputs(call_.texts[written_++]);
    if (written_ == call_.texts.size()) {
      StartWriteLast(&request_, grpc::WriteOptions());
    } else {
      StartWrite(&request_);
    }
  }

  Answer AnswerOf(const grpc::Status& status) {
    if (status.ok() || vectors_.size() >= call_.texts.size())
      return Checked(call_, std::move(vectors_));
    // What came before the error counts, if it is right.
    Call answered{.model = "", .dimension = call_.dimension, .texts = {}};
    answered.texts.resize(vectors_.size());
    Answer answer;
    if (!vectors_.empty()) answer = Checked(answered, std::move(vectors_));
    if (answer.failure) return answer;
    answer.failure = FailureOf(status, context);
    answer.names_the_text = answer.failure->fault == Fault::kRefused;
    return answer;
  }

  RunningCalls& calls_;
  const Call call_;
  const Done done_;
  tei::EmbedRequest request_;
  tei::EmbedResponse response_;
  size_t written_ = 0;
  Vectors vectors_;
};

class TeiClient final : public Client {
 public:
  TeiClient(const std::shared_ptr<grpc::Channel>& channel, const EmbedderSettings& settings)
      : channel_(channel),
        info_(channel),
        embed_(channel),
        token_(settings),
        truncate_(settings.truncate) {}
  ~TeiClient() override { calls_.CancelAndWait(); }

  void Embed(const Call& call, Done done) override {
    if (std::string serves = Model();
        !call.model.empty() && !serves.empty() && serves != call.model) {
      return done(
          {.vectors = {},
           .failure = MakeFailure(Fault::kMisfit, absl::StrCat("the server's model is ", serves,
                                                               ", not ", call.model))});
    }
    auto reactor = std::make_unique<StreamReactor>(calls_, call, truncate_, done);
    std::optional<Failure> failure = Prepare(call.deadline, token_, &reactor->context);
    if (!failure && !calls_.Begin(&reactor->context)) {
      failure = MakeFailure(Fault::kUnreachable, "stopping");
    }
    if (failure) return done({.vectors = {}, .failure = std::move(failure)});
    reactor.release()->Start(embed_);
  }

  void Describe(std::chrono::milliseconds deadline, Described done) override {
    auto reactor = std::make_unique<InfoReactor>(calls_, done);
    reactor->on_model = [this](const std::string& model) {
      const MutexLock lock(mutex_);
      model_ = model;
    };
    std::optional<Failure> failure = Prepare(deadline, token_, &reactor->context);
    if (!failure && !calls_.Begin(&reactor->context)) {
      failure = MakeFailure(Fault::kUnreachable, "stopping");
    }
    if (failure) return done(std::move(failure), {});
    reactor.release()->Start(info_, &info_request_);
  }

 private:
  std::string Model() {
    const MutexLock lock(mutex_);
    return model_;
  }

  const std::shared_ptr<grpc::Channel> channel_;
  tei::Info::Stub info_;
  tei::Embed::Stub embed_;
  const Token token_;
  const bool truncate_;
  const tei::InfoRequest info_request_;
  Mutex mutex_;
  std::string model_ GUARDED_BY(mutex_);
  RunningCalls calls_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> MakeTeiClient(const std::string& endpoint,
                                                      const EmbedderSettings& settings) {
  absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = ConnectTo(endpoint, settings);
  if (!channel.ok()) return std::move(channel).status();
  return std::make_unique<TeiClient>(*channel, settings);
}

}  // namespace sluice::embed
