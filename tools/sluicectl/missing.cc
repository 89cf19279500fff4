#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/text.h"

namespace sluice::ctl {
namespace {

constexpr uint32_t kPage = 1'000;

std::string ReasonText(v1::MissingReason reason) {
  return absl::AsciiStrToLower(
      v1::MissingReason_Name(reason).substr(std::string_view("MISSING_REASON_").size()));
}

absl::Status Act(Session& session, const MissingArguments& arguments,
                 const std::string& collection_id, const v1::ListMissingVectorsResponse& page) {
  if (page.missing().empty()) return absl::OkStatus();
  v1::RetryMissingVectorsRequest retry;
  retry.set_collection_id(collection_id);
  v1::DropMissingVectorsRequest drop;
  drop.set_collection_id(collection_id);
  for (const v1::MissingVector& missing : page.missing()) {
    retry.add_ids(missing.id());
    drop.add_ids(missing.id());
  }
  if (arguments.retry) return session.compaction.RetryMissingVectors(retry);
  if (arguments.drop) return session.compaction.DropMissingVectors(drop);
  return absl::OkStatus();
}

}  // namespace

absl::Status Missing(Session& session, const MissingArguments& arguments) {
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(arguments.collection));
  v1::ListMissingVectorsRequest request;
  request.set_collection_id(collection.id());
  request.set_limit(kPage);
  v1::MissingReason reason = v1::MISSING_REASON_UNSPECIFIED;
  v1::MissingReason_Parse(absl::StrCat("MISSING_REASON_", absl::AsciiStrToUpper(arguments.reason)),
                          &reason);
  request.set_reason(reason);
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows;
  do {
    SLUICE_ASSIGN_OR_RETURN(const v1::ListMissingVectorsResponse page,
                            session.compaction.ListMissingVectors(request));
    SLUICE_RETURN_IF_ERROR(Act(session, arguments, collection.id(), page));
    for (const v1::MissingVector& missing : page.missing()) {
      json.push_back({{"id", missing.id()},
                      {"seq_id", missing.seq_id()},
                      {"reason", ReasonText(missing.reason())},
                      {"since_time_us", missing.since_time_us()},
                      {"words", missing.words()}});
      rows.push_back({missing.id(), Grouped(missing.seq_id()), ReasonText(missing.reason()),
                      Time(missing.since_time_us()), missing.words()});
    }
    request.set_after(page.next());
  } while (!request.after().empty());
  session.Print({{"missing", json}}, [&] {
    const std::string table =
        Table({{"ID"}, {"SEQID", true}, {"REASON"}, {"SINCE"}, {"WORDS"}}, rows);
    if (arguments.retry) return absl::StrCat(table, "to be tried again: ", rows.size(), "\n");
    if (arguments.drop) return absl::StrCat(table, "given up: ", rows.size(), "\n");
    return table;
  });
  return absl::OkStatus();
}

}  // namespace sluice::ctl
