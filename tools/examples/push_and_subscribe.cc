// Pushes records into a collection's log and follows it: a whole producer and consumer in C++.
//
//   push_and_subscribe [ADDRESS [COLLECTION]]
//
// The client retries with one request_id for each append, so that the log appends it once, and
// resumes the subscription after the last SeqId it returned. A consumer that is to survive its own
// end as well keeps that SeqId and passes it as after_seq_id the next time.
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/client/client.h"
#include "common/errors/errors.h"

namespace {

using namespace sluice;

constexpr int kAppends = 10;
constexpr int kRecordsPerAppend = 100;

absl::StatusOr<std::string> GetOrCreate(client::Catalog& catalog, const std::string& name) {
  v1::CreateCollectionRequest request;
  request.set_name(name);
  request.set_get_or_create(true);
  SLUICE_ASSIGN_OR_RETURN(const v1::CreateCollectionResponse response, catalog.Create(request));
  return response.collection().id();
}

// Returns the last SeqId pushed.
absl::StatusOr<uint64_t> Push(client::Log& log, const std::string& collection_id) {
  uint64_t last = 0;
  for (int a = 0; a < kAppends; ++a) {
    v1::PushLogsRequest request;
    request.set_collection_id(collection_id);
    for (int r = 0; r < kRecordsPerAppend; ++r) {
      v1::OperationRecord* record = request.add_records();
      record->set_id(absl::StrCat("record-", a * kRecordsPerAppend + r));
      record->set_operation(v1::OPERATION_UPSERT);
      record->set_document(absl::StrCat("document ", r, " of append ", a));
    }
    SLUICE_ASSIGN_OR_RETURN(const v1::PushLogsResponse response, log.Push(std::move(request)));
    last = response.first_seq_id() + response.count() - 1;
    std::cout << "pushed " << response.count() << " records, SeqIds " << response.first_seq_id()
              << ".." << last << "\n";
  }
  return last;
}

// Reads the whole log up to `end`; returns how many records came.
absl::StatusOr<int> Follow(client::Log& log, const std::string& collection_id, uint64_t end) {
  v1::SubscribeRequest request;
  request.set_collection_id(collection_id);
  request.set_earliest(true);
  request.set_end_seq_id(end);
  const auto subscription = log.Subscribe(request);
  int records = 0;
  v1::SubscribeResponse message;
  for (;;) {
    SLUICE_ASSIGN_OR_RETURN(const bool more, subscription->Next(&message));
    if (!more) return records;
    for (const v1::Append& append : message.appends()) records += append.records_size();
  }
}

absl::Status Run(const std::string& address, const std::string& collection) {
  const auto channel = client::Connect(address);
  client::Catalog catalog(channel);
  client::Log log(channel);
  SLUICE_ASSIGN_OR_RETURN(const std::string id, GetOrCreate(catalog, collection));
  SLUICE_ASSIGN_OR_RETURN(const uint64_t last, Push(log, id));
  SLUICE_ASSIGN_OR_RETURN(const int records, Follow(log, id, last));
  std::cout << "saw " << records << " records in order, up to SeqId " << last << "\n";
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status =
      Run(argc > 1 ? argv[1] : "127.0.0.1:7700", argc > 2 ? argv[2] : "example");
  if (!status.ok()) std::cerr << status << " (outcome: " << OutcomeName(OutcomeOf(status)) << ")\n";
  return status.ok() ? 0 : 1;
}
