#include "common/errors/errors.h"

#include <array>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "sluice/v1/error.pb.h"

namespace sluice {
namespace {

constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";
constexpr char kOutcomeUrl[] = "sluice/outcome";
constexpr char kOutcomeMetadata[] = "outcome";
constexpr char kDomain[] = "sluice";

struct ReasonEntry {
  std::string_view name;
  absl::StatusCode code;
};

constexpr std::array kReasons = {
#define X(name, code, help) ReasonEntry{#name, absl::StatusCode::code},
    SLUICE_REASONS(X)
#undef X
};

absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }

std::optional<google::rpc::ErrorInfo> ErrorInfoOf(const absl::Status& error) {
  const absl::optional<absl::Cord> payload = error.GetPayload(kErrorInfoUrl);
  google::rpc::ErrorInfo info;
  if (!payload || !info.ParseFromString(std::string(*payload))) return std::nullopt;
  if (info.domain() != kDomain) return std::nullopt;
  return info;
}

std::optional<Outcome> StatedOutcome(std::string_view name) {
  for (const Outcome o : {Outcome::kIn, Outcome::kNotIn, Outcome::kUnknown}) {
    if (OutcomeName(o) == name) return o;
  }
  return std::nullopt;
}

// What is alike in google.rpc.Status and sluice.v1.Error: all but the outcome.
template <class Message>
Message ToDetails(const absl::Status& status) {
  Message details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    if (url == kOutcomeUrl) return;
    auto* any = details.add_details();
    any->set_type_url(std::string(url));
    any->set_value(std::string(payload));
  });
  return details;
}

template <class Message>
void SetPayloads(const Message& details, absl::Status* status) {
  for (const auto& any : details.details()) {
    status->SetPayload(any.type_url(), absl::Cord(any.value()));
  }
}

}  // namespace

std::string_view ReasonName(Reason reason) { return kReasons[static_cast<size_t>(reason)].name; }
absl::StatusCode ReasonCode(Reason reason) { return kReasons[static_cast<size_t>(reason)].code; }

absl::Status MakeError(Reason reason, std::string_view message,
                       std::initializer_list<std::pair<std::string_view, std::string>> metadata) {
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(ReasonName(reason)));
  info.set_domain(kDomain);
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[std::string(key)] = value;
  absl::Status error(ReasonCode(reason), ToAbsl(message));
  error.SetPayload(kErrorInfoUrl, absl::Cord(info.SerializeAsString()));
  return error;
}

absl::Status MakeRetryableError(
    Reason reason, std::string_view message, std::chrono::milliseconds retry_after,
    std::initializer_list<std::pair<std::string_view, std::string>> metadata) {
  absl::Status error = MakeError(reason, message, metadata);
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(retry_after.count() / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(retry_after.count() % 1000) *
                                         1'000'000);
  error.SetPayload(kRetryInfoUrl, absl::Cord(retry.SerializeAsString()));
  return error;
}

std::optional<Reason> ReasonOf(const absl::Status& error) {
  const auto info = ErrorInfoOf(error);
  if (!info) return std::nullopt;
  for (size_t i = 0; i < kReasons.size(); ++i) {
    if (kReasons[i].name == info->reason()) return static_cast<Reason>(i);
  }
  return std::nullopt;
}

std::string ErrorMetadata(const absl::Status& error, std::string_view key) {
  const auto info = ErrorInfoOf(error);
  if (!info) return "";
  const auto it = info->metadata().find(std::string(key));
  return it == info->metadata().end() ? "" : it->second;
}

std::optional<std::chrono::milliseconds> RetryAfter(const absl::Status& error) {
  const absl::optional<absl::Cord> payload = error.GetPayload(kRetryInfoUrl);
  google::rpc::RetryInfo retry;
  if (!payload || !retry.ParseFromString(std::string(*payload))) return std::nullopt;
  return std::chrono::milliseconds(retry.retry_delay().seconds() * 1000 +
                                   retry.retry_delay().nanos() / 1'000'000);
}

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kIn:
      return "IN";
    case Outcome::kNotIn:
      return "NOT_IN";
    case Outcome::kUnknown:
      break;
  }
  return "UNKNOWN";
}

Outcome OutcomeOf(const absl::Status& error) {
  if (error.ok()) return Outcome::kIn;
  const absl::optional<absl::Cord> payload = error.GetPayload(kOutcomeUrl);
  if (!payload) return Outcome::kUnknown;
  return StatedOutcome(std::string(*payload)).value_or(Outcome::kUnknown);
}

absl::Status WithOutcome(absl::Status error, Outcome outcome) {
  error.SetPayload(kOutcomeUrl, absl::Cord(ToAbsl(OutcomeName(outcome))));
  return error;
}

absl::Status Annotate(const absl::Status& error, std::string_view prefix) {
  if (error.ok()) return error;
  absl::Status annotated(error.code(), absl::StrCat(ToAbsl(prefix), ": ", error.message()));
  error.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContextBase* context) {
  if (status.ok()) return grpc::Status::OK;
  const absl::optional<absl::Cord> outcome = status.GetPayload(kOutcomeUrl);
  if (context && outcome) context->AddTrailingMetadata(kOutcomeMetadata, std::string(*outcome));
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      ToDetails<google::rpc::Status>(status).SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status error(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) SetPayloads(details, &error);
  return error;
}

absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context) {
  absl::Status error = FromGrpc(status);
  if (error.ok()) return error;
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find(kOutcomeMetadata);
  if (it == trailers.end()) return error;
  const auto outcome = StatedOutcome(std::string_view(it->second.data(), it->second.size()));
  return outcome ? WithOutcome(std::move(error), *outcome) : error;
}

v1::Error ToMessage(const absl::Status& error) {
  auto message = ToDetails<v1::Error>(error);
  switch (OutcomeOf(error)) {
    case Outcome::kIn:
      message.set_outcome(v1::OUTCOME_IN);
      break;
    case Outcome::kNotIn:
      message.set_outcome(v1::OUTCOME_NOT_IN);
      break;
    case Outcome::kUnknown:
      break;
  }
  return message;
}

absl::Status FromMessage(const v1::Error& message) {
  if (message.code() == 0) return absl::InternalError("an error without a code");
  absl::Status error(static_cast<absl::StatusCode>(message.code()), message.message());
  SetPayloads(message, &error);
  if (message.outcome() == v1::OUTCOME_IN) return WithOutcome(std::move(error), Outcome::kIn);
  if (message.outcome() == v1::OUTCOME_NOT_IN) {
    return WithOutcome(std::move(error), Outcome::kNotIn);
  }
  return error;
}

}  // namespace sluice
