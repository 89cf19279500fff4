#include "tools/sluicectl/session.h"

#include <chrono>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::ctl {
namespace {

absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }

}  // namespace

uint64_t UnappliedRecords(const v1::Collection& collection, const v1::DescribeLogResponse& log) {
  return collection.schema().log_only() ? 0 : log.tail_seq_id() - log.applied_seq_id();
}

client::Options OptionsFor(double patience_s) {
  client::Options options;
  options.total_deadline = std::chrono::milliseconds(static_cast<int64_t>(patience_s * 1000));
  return options;
}

Session::Session(const Flags& f)
    : flags(f),
      options_(f.timeout_s ? OptionsFor(*f.timeout_s) : client::Options()),
      channel_(client::Connect(f.server)),
      log_channel_(f.log.empty() ? channel_ : client::Connect(f.log)),
      frontend(channel_, options_),
      catalog(channel_, options_),
      log(log_channel_, options_),
      admin(log_channel_, options_),
      compaction(log_channel_, options_) {}

v1::CollectionRef Session::Ref(const std::string& collection) const {
  v1::CollectionRef ref;
  if (Uuid::Parse(collection).ok()) {
    ref.set_id(collection);
  } else {
    ref.set_tenant(flags.tenant);
    ref.set_database(flags.database);
    ref.set_name(collection);
  }
  return ref;
}

absl::StatusOr<v1::Collection> Session::Find(const std::string& collection) {
  absl::StatusOr<v1::Collection> found = catalog.Get(Ref(collection));
  // Whatever the command is, it has not begun.
  if (!found.ok()) return WithOutcome(found.status(), Outcome::kNotIn);
  return found;
}

absl::StatusOr<v1::DescribeLogResponse> Session::Describe(const v1::Collection& collection) {
  SLUICE_ASSIGN_OR_RETURN(const CollectionId id, ParseCollectionId(collection.id()));
  return log.Describe(id);
}

client::Log Session::LogWith(const client::Options& options) const {
  return client::Log(log_channel_, options);
}

void Session::SetDeadline(grpc::ClientContext& context) const {
  const double seconds = flags.timeout_s.value_or(60);
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)));
}

int ExitStatus(const absl::Status& status, bool write) {
  if (status.ok()) return 0;
  if (write && OutcomeOf(status) != Outcome::kNotIn) return 3;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return 2;
    case absl::StatusCode::kNotFound:
      return 4;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kResourceExhausted:
      return 5;
    case absl::StatusCode::kDataLoss:
      return 6;
    default:
      return 1;
  }
}

absl::Status FlushOutput() {
  if (std::cout.flush()) return absl::OkStatus();
  return absl::AbortedError("cannot write to standard output");
}

std::string ErrorLine(const absl::Status& error, bool write) {
  std::string line = absl::StatusCodeToString(error.code());
  if (const std::optional<Reason> reason = ReasonOf(error)) {
    absl::StrAppend(&line, " ", ToAbsl(ReasonName(*reason)));
  }
  const bool silent = error.code() == absl::StatusCode::kUnimplemented && error.message().empty();
  absl::StrAppend(
      &line, ": ",
      silent ? "the server at this address does not have the service" : error.message());
  if (write) absl::StrAppend(&line, " (outcome: ", ToAbsl(OutcomeName(OutcomeOf(error))), ")");
  return line;
}

}  // namespace sluice::ctl
