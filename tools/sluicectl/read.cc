#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/errors/errors.h"
#include "common/record/fold.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/text.h"

namespace sluice::ctl {
namespace {

v1::ReadLevel LevelOf(const ReadArguments& arguments) {
  v1::ReadLevel level;
  if (arguments.applied) level.set_kind(v1::ReadLevel::KIND_APPLIED);
  if (arguments.at_least) {
    level.set_kind(v1::ReadLevel::KIND_AT_LEAST);
    level.set_seq_id(*arguments.at_least);
  }
  return level;
}

v1::Include IncludeOf(const ReadArguments& arguments) {
  v1::Include include;
  include.set_vector(arguments.vectors);
  include.set_document(true);
  include.set_uri(true);
  include.set_metadata(true);
  return include;
}

template <class Response>
void AddPlace(const Response& response, Json* json) {
  (*json)["as_of_seq_id"] = response.as_of_seq_id();
  (*json)["incarnation"] = IncarnationText(response.incarnation());
}

std::string MetadataText(const v1::Row& row) {
  const Json json = RowJson(row);
  return json.contains("metadata") ? OneLine(Dump(json["metadata"]), 40) : "";
}

std::vector<std::string> Cells(const v1::Row& row) {
  return {OneLine(row.id(), 40), Grouped(row.seq_id()), MetadataText(row),
          OneLine(row.document(), 60)};
}

// "[0.1, 0.2]" or "0.1,0.2".
absl::StatusOr<std::vector<float>> ParseVector(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  absl::ConsumePrefix(&text, "[");
  absl::ConsumeSuffix(&text, "]");
  std::vector<float> components;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    float component;
    if (!absl::SimpleAtof(part, &component) || !std::isfinite(component)) {
      return absl::InvalidArgumentError(absl::StrCat("--vector: not a number: \"", part, "\""));
    }
    components.push_back(component);
  }
  return components;
}

// Every row, page by page, as JSON lines: there may be more than fit into memory.
absl::Status GetAll(Session& session, v1::GetRequest request) {
  request.set_page_size(1'000);
  do {
    SLUICE_ASSIGN_OR_RETURN(const v1::GetResponse page, session.frontend.Get(request));
    for (const v1::Row& row : page.rows()) std::cout << Dump(RowJson(row)) << '\n';
    SLUICE_RETURN_IF_ERROR(FlushOutput());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

}  // namespace

absl::Status Get(Session& session, const ReadArguments& arguments) {
  if (arguments.ids.empty() && !arguments.all) {
    return absl::InvalidArgumentError("name ids, or ask for --all");
  }
  v1::GetRequest request;
  *request.mutable_collection() = session.Ref(arguments.collection);
  for (const std::string& id : arguments.ids) request.add_ids(id);
  *request.mutable_level() = LevelOf(arguments);
  *request.mutable_include() = IncludeOf(arguments);
  if (arguments.all) return GetAll(session, std::move(request));

  SLUICE_ASSIGN_OR_RETURN(const v1::GetResponse response, session.frontend.Get(request));
  Json json{{"rows", Json::array()}};
  std::vector<std::vector<std::string>> rows;
  for (const v1::Row& row : response.rows()) {
    json["rows"].push_back(RowJson(row));
    rows.push_back(Cells(row));
  }
  AddPlace(response, &json);
  session.Print(json, [&] {
    return Table({{"ID"}, {"SEQID", true}, {"METADATA"}, {"DOCUMENT"}}, rows);
  });
  return absl::OkStatus();
}

absl::Status Query(Session& session, const ReadArguments& arguments) {
  v1::QueryRequest request;
  *request.mutable_collection() = session.Ref(arguments.collection);
  if (arguments.vector.empty()) {
    request.set_text(arguments.text);
  } else {
    SLUICE_ASSIGN_OR_RETURN(const std::vector<float> components, ParseVector(arguments.vector));
    SetVector(components, request.mutable_vector());
  }
  request.set_limit(arguments.limit);
  *request.mutable_level() = LevelOf(arguments);
  *request.mutable_include() = IncludeOf(arguments);

  SLUICE_ASSIGN_OR_RETURN(const v1::QueryResponse response, session.frontend.Query(request));
  Json json{{"hits", Json::array()}};
  std::vector<std::vector<std::string>> rows;
  for (const v1::QueryHit& hit : response.hits()) {
    Json out = RowJson(hit.row());
    out["distance"] = Shortest(hit.distance());
    json["hits"].push_back(std::move(out));
    rows.push_back(Cells(hit.row()));
    rows.back().insert(rows.back().begin(), absl::StrFormat("%.4f", hit.distance()));
  }
  AddPlace(response, &json);
  session.Print(json, [&] {
    return Table({{"DISTANCE", true}, {"ID"}, {"SEQID", true}, {"METADATA"}, {"DOCUMENT"}}, rows);
  });
  return absl::OkStatus();
}

absl::Status Count(Session& session, const ReadArguments& arguments) {
  v1::CountRequest request;
  *request.mutable_collection() = session.Ref(arguments.collection);
  *request.mutable_level() = LevelOf(arguments);
  SLUICE_ASSIGN_OR_RETURN(const v1::CountResponse response, session.frontend.Count(request));
  Json json{{"count", response.count()}};
  AddPlace(response, &json);
  session.Print(json, [&] { return Grouped(response.count()) + "\n"; });
  return absl::OkStatus();
}

}  // namespace sluice::ctl
