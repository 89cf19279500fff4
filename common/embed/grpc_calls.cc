#include "common/embed/grpc_calls.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::embed {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;

Fault FaultOf(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Fault::kOverloaded;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
      return Fault::kRefused;
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::NOT_FOUND:
      return Fault::kMisfit;
    case grpc::StatusCode::UNAVAILABLE:
      // Triton's full queue; as a word of gRPC's own it does not occur.
      return absl::StrContains(status.error_message(), "queue size") ? Fault::kOverloaded
                                                                     : Fault::kUnreachable;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return Fault::kUnreachable;
    default:
      // FAILED_PRECONDITION is text-embeddings-inference's word for a backend that failed.
      return Fault::kIll;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectTo(const std::string& endpoint,
                                                         const EmbedderSettings& settings) {
  grpc::ChannelArguments args;
  args.SetLoadBalancingPolicyName("round_robin");
  args.SetMaxReceiveMessageSize(kMaxMessageBytes);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // gRPC itself repeats a call only if it never left; the rest is decided above.
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Channels of the same target would otherwise share a connection, and endpoints an illness.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (settings.tls) {
    grpc::SslCredentialsOptions options;
    if (!settings.ca_file.empty()) {
      std::ifstream file(settings.ca_file);
      options.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
      if (!file || options.pem_root_certs.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("ca_file: ", settings.ca_file, " cannot be read"));
      }
    }
    credentials = grpc::SslCredentials(options);
  }
  return grpc::CreateCustomChannel(endpoint, credentials, args);
}

Failure FailureOf(const grpc::Status& status, const grpc::ClientContext& context) {
  const std::optional<std::chrono::milliseconds> retry_after =
      RetryAfter(FromGrpc(status, context));
  return MakeFailure(FaultOf(status), status.error_message(), retry_after);
}

std::optional<Failure> Prepare(std::chrono::milliseconds deadline, const Token& token,
                               grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + deadline);
  const absl::StatusOr<std::string> header = token.Header();
  if (!header.ok()) {
    const absl::string_view words = header.status().message();
    return MakeFailure(Fault::kUnreachable, {words.data(), words.size()});
  }
  if (!header->empty()) context->AddMetadata("authorization", *header);
  return std::nullopt;
}

bool RunningCalls::Begin(grpc::ClientContext* context) {
  const MutexLock lock(mutex_);
  if (closed_) return false;
  contexts_.insert(context);
  ++running_;
  return true;
}

void RunningCalls::Forget(grpc::ClientContext* context) {
  const MutexLock lock(mutex_);
  contexts_.erase(context);
}

void RunningCalls::End() {
  const MutexLock lock(mutex_);
  --running_;
  ended_.notify_all();
}

void RunningCalls::CancelAndWait() {
  MutexLock lock(mutex_);
  closed_ = true;
  for (grpc::ClientContext* const context : contexts_) context->TryCancel();
  while (running_ != 0) ended_.wait(mutex_);
}

}  // namespace sluice::embed
