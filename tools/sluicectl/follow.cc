#include <chrono>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/errors/errors.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/text.h"

namespace sluice::ctl {
namespace {

absl::Status SetStart(const std::string& from, v1::SubscribeRequest* request) {
  uint64_t seq_id = 0;
  if (from == "earliest") {
    request->set_earliest(true);
  } else if (from == "latest") {
    request->set_latest(true);
  } else if (absl::SimpleAtoi(from, &seq_id)) {
    request->set_after_seq_id(seq_id);
  } else {
    return absl::InvalidArgumentError("--from: expected earliest, latest or a SeqId");
  }
  return absl::OkStatus();
}

void PrintRecords(const v1::SubscribeResponse& message) {
  for (const v1::Append& append : message.appends()) {
    uint64_t seq_id = append.first_seq_id();
    for (const v1::OperationRecord& record : append.records()) {
      std::cout << Dump(RecordJson(SeqId(seq_id++), append.commit_time_us(), record)) << '\n';
    }
  }
}

// A cursor that follows what is printed. Where it is not there, it is made by the first message, so
// that what is to be read stays.
class PrintedCursor {
 public:
  PrintedCursor(Session& session, const v1::Collection& collection, std::string name)
      : session_(session) {
    commit_.set_collection_id(collection.id());
    commit_.set_name(std::move(name));
  }

  // Where to begin: at the cursor, or, if there is none, where `request` says already.
  absl::Status Begin(v1::SubscribeRequest* request) {
    SLUICE_ASSIGN_OR_RETURN(const CollectionId id, ParseCollectionId(commit_.collection_id()));
    const auto got = session_.log.GetCursor(id, commit_.name());
    if (ReasonOf(got.status()) == Reason::CURSOR_NOT_FOUND) return absl::OkStatus();
    if (!got.ok()) return got.status();
    request->set_cursor(commit_.name());
    at_ = got->cursor().seq_id();
    return absl::OkStatus();
  }

  // After the message was printed.
  absl::Status Printed(const v1::SubscribeResponse& message, SeqId last) {
    if (message.has_heartbeat()) commit_.set_incarnation(message.heartbeat().incarnation());
    if (at_ == last.value) return absl::OkStatus();
    commit_.set_seq_id(last.value);
    commit_.set_expected_seq_id(at_.value_or(0));
    SLUICE_RETURN_IF_ERROR(session_.log.CommitCursor(commit_).status());
    at_ = last.value;
    return absl::OkStatus();
  }

 private:
  Session& session_;
  v1::CommitCursorRequest commit_;
  // nullopt: it is not there yet.
  std::optional<uint64_t> at_;
};

struct LagRow {
  uint64_t records;
  uint64_t bytes;
  double seconds;
};

LagRow LagOf(const v1::Collection& collection, const v1::DescribeLogResponse& log) {
  const int64_t oldest = log.oldest_unapplied_time_us();
  const double seconds = oldest == 0 ? 0 : static_cast<double>(NowMicros() - oldest) / 1e6;
  return {UnappliedRecords(collection, log), log.unapplied_bytes(), std::max(0.0, seconds)};
}

absl::StatusOr<std::vector<v1::Collection>> Named(Session& session,
                                                  const std::vector<std::string>& names) {
  std::vector<v1::Collection> collections;
  for (const std::string& name : names) {
    SLUICE_ASSIGN_OR_RETURN(v1::Collection collection, session.Find(name));
    collections.push_back(std::move(collection));
  }
  if (!names.empty()) return collections;
  v1::ListCollectionsRequest request;
  request.set_tenant(session.flags.tenant);
  request.set_database(session.flags.database);
  request.set_page_size(1'000);
  do {
    SLUICE_ASSIGN_OR_RETURN(v1::ListCollectionsResponse page, session.catalog.List(request));
    for (v1::Collection& c : *page.mutable_collections()) collections.push_back(std::move(c));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return collections;
}

}  // namespace

absl::Status Tail(Session& session, const TailArguments& arguments) {
  v1::SubscribeRequest request;
  SLUICE_RETURN_IF_ERROR(SetStart(arguments.from, &request));
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(arguments.collection));
  request.set_collection_id(collection.id());
  std::optional<PrintedCursor> cursor;
  if (!arguments.cursor.empty()) {
    cursor.emplace(session, collection, arguments.cursor);
    SLUICE_RETURN_IF_ERROR(cursor->Begin(&request));
  }
  if (!arguments.follow) {
    SLUICE_ASSIGN_OR_RETURN(const v1::DescribeLogResponse log, session.Describe(collection));
    const uint64_t end = std::max(log.tail_seq_id(), request.after_seq_id());
    if (end == 0 || request.has_latest()) return absl::OkStatus();
    request.set_end_seq_id(end);
  }
  const auto subscription = session.log.Subscribe(std::move(request));
  v1::SubscribeResponse message;
  for (;;) {
    SLUICE_ASSIGN_OR_RETURN(const bool more, subscription->Next(&message));
    if (!more) return absl::OkStatus();
    PrintRecords(message);
    SLUICE_RETURN_IF_ERROR(FlushOutput());
    if (cursor) SLUICE_RETURN_IF_ERROR(cursor->Printed(message, subscription->last()));
  }
}

absl::Status Wait(Session& session, const std::string& name, std::optional<uint64_t> seq_id) {
  const auto begin = std::chrono::steady_clock::now();
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(name));
  if (!seq_id) {
    SLUICE_ASSIGN_OR_RETURN(const v1::DescribeLogResponse log, session.Describe(collection));
    seq_id = log.tail_seq_id();
  }
  v1::CountRequest request;
  request.mutable_collection()->set_id(collection.id());
  request.mutable_level()->set_kind(v1::ReadLevel::KIND_AT_LEAST);
  request.mutable_level()->set_seq_id(*seq_id);
  SLUICE_RETURN_IF_ERROR(session.frontend.Count(request).status());
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  session.Print({{"applied_seq_id", *seq_id}, {"seconds", elapsed.count()}}, [&] {
    return absl::StrFormat("applied up to SeqId %s after %.2f s\n", Grouped(*seq_id),
                           elapsed.count());
  });
  return absl::OkStatus();
}

absl::Status Lag(Session& session, const std::vector<std::string>& names) {
  SLUICE_ASSIGN_OR_RETURN(const std::vector<v1::Collection> collections, Named(session, names));
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const v1::Collection& c : collections) {
    SLUICE_ASSIGN_OR_RETURN(const v1::DescribeLogResponse log, session.Describe(c));
    const LagRow lag = LagOf(c, log);
    json.push_back({{"id", c.id()},
                    {"name", c.name()},
                    {"tail_seq_id", log.tail_seq_id()},
                    {"applied_seq_id", log.applied_seq_id()},
                    {"lag_records", lag.records},
                    {"lag_bytes", lag.bytes},
                    {"lag_seconds", lag.seconds},
                    {"failures", log.failures()}});
    rows.push_back({c.name(), Grouped(log.tail_seq_id()), Grouped(log.applied_seq_id()),
                    Grouped(lag.records), Bytes(lag.bytes), absl::StrFormat("%.1f", lag.seconds),
                    absl::StrCat(log.failures())});
  }
  session.Print({{"collections", json}}, [&] {
    return Table({{"NAME"},
                  {"TAIL", true},
                  {"APPLIED", true},
                  {"LAG", true},
                  {"BYTES", true},
                  {"SECONDS", true},
                  {"FAILURES", true}},
                 rows);
  });
  return absl::OkStatus();
}

}  // namespace sluice::ctl
