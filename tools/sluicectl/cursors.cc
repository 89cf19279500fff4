#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/text.h"

namespace sluice::ctl {
namespace {

void PrintMoved(const Session& session, const v1::Cursor& cursor) {
  session.Print(CursorJson(cursor), [&] {
    return absl::StrCat("cursor ", cursor.name(), " stands at SeqId ", Grouped(cursor.seq_id()),
                        "\n");
  });
}

}  // namespace

std::string CursorTable(const google::protobuf::RepeatedPtrField<v1::Cursor>& cursors,
                        uint64_t tail_seq_id) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::Cursor& cursor : cursors) {
    rows.push_back({cursor.name(), Grouped(cursor.seq_id()),
                    Grouped(tail_seq_id - std::min(tail_seq_id, cursor.seq_id())),
                    CursorStateText(cursor),
                    cursor.moved_time_us() ? Time(cursor.moved_time_us()) : ""});
  }
  return Table({{"CURSOR"}, {"SEQID", true}, {"BEHIND", true}, {"STATE"}, {"MOVED (UTC)"}}, rows);
}

absl::Status ListCursors(Session& session, const std::string& name) {
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(name));
  SLUICE_ASSIGN_OR_RETURN(const CollectionId id, ParseCollectionId(collection.id()));
  SLUICE_ASSIGN_OR_RETURN(const v1::ListCursorsResponse listed, session.log.ListCursors(id));
  Json json{{"tail_seq_id", listed.tail_seq_id()},
            {"trim_seq_id", listed.trim_seq_id()},
            {"incarnation", IncarnationText(listed.incarnation())},
            {"cursors", Json::array()}};
  for (const v1::Cursor& cursor : listed.cursors()) json["cursors"].push_back(CursorJson(cursor));
  session.Print(json, [&] { return CursorTable(listed.cursors(), listed.tail_seq_id()); });
  return absl::OkStatus();
}

absl::Status GetCursor(Session& session, const CursorArguments& arguments) {
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(arguments.collection));
  SLUICE_ASSIGN_OR_RETURN(const CollectionId id, ParseCollectionId(collection.id()));
  SLUICE_ASSIGN_OR_RETURN(const v1::GetCursorResponse got,
                          session.log.GetCursor(id, arguments.name));
  Json json = CursorJson(got.cursor());
  json["tail_seq_id"] = got.tail_seq_id();
  json["trim_seq_id"] = got.trim_seq_id();
  session.Print(json, [&] {
    google::protobuf::RepeatedPtrField<v1::Cursor> one;
    *one.Add() = got.cursor();
    return CursorTable(one, got.tail_seq_id());
  });
  return absl::OkStatus();
}

absl::Status CommitCursor(Session& session, const CursorArguments& arguments) {
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(arguments.collection));
  v1::CommitCursorRequest request;
  request.set_collection_id(collection.id());
  request.set_name(arguments.name);
  request.set_seq_id(arguments.seq_id);
  if (arguments.expected) request.set_expected_seq_id(*arguments.expected);
  SLUICE_ASSIGN_OR_RETURN(const v1::Cursor cursor, session.log.CommitCursor(std::move(request)));
  PrintMoved(session, cursor);
  return absl::OkStatus();
}

absl::Status RollbackCursor(Session& session, const CursorArguments& arguments) {
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(arguments.collection));
  v1::RollbackCursorRequest request;
  request.set_collection_id(collection.id());
  request.set_name(arguments.name);
  request.set_seq_id(arguments.seq_id);
  SLUICE_ASSIGN_OR_RETURN(const v1::Cursor cursor, session.log.RollbackCursor(request));
  PrintMoved(session, cursor);
  return absl::OkStatus();
}

absl::Status DeleteCursor(Session& session, const CursorArguments& arguments) {
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(arguments.collection));
  SLUICE_ASSIGN_OR_RETURN(const CollectionId id, ParseCollectionId(collection.id()));
  // So that a name mistyped is told.
  const absl::StatusOr<v1::GetCursorResponse> got = session.log.GetCursor(id, arguments.name);
  if (!got.ok()) return WithOutcome(got.status(), Outcome::kNotIn);
  v1::DeleteCursorRequest request;
  request.set_collection_id(collection.id());
  request.set_name(arguments.name);
  SLUICE_RETURN_IF_ERROR(session.log.DeleteCursor(request));
  session.Print(CursorJson(got->cursor()), [&] {
    return absl::StrCat("deleted cursor ", arguments.name, ", which stood at SeqId ",
                        Grouped(got->cursor().seq_id()), "\n");
  });
  return absl::OkStatus();
}

}  // namespace sluice::ctl
