// What the server answers, as JSON: names as in the contract (proto/sluice/v1), operations and
// metrics as the command line spells them, incarnations as 16 hexadecimal digits (JSON readers lose
// bits of such numbers), vectors as arrays. Pure functions.
#pragma once

#include <nlohmann/json.hpp>

#include "common/base/ids.h"
#include "sluice/v1/catalog.pb.h"
#include "sluice/v1/frontend.pb.h"
#include "sluice/v1/log.pb.h"

namespace sluice::ctl {

using Json = nlohmann::ordered_json;

Json RecordJson(SeqId seq_id, int64_t commit_time_us, const v1::OperationRecord& record);
Json RowJson(const v1::Row& row);
Json CollectionJson(const v1::Collection& collection);
Json CursorJson(const v1::Cursor& cursor);
// "ACTIVE" -> "active"; of a lost one, with the reason.
std::string CursorStateText(const v1::Cursor& cursor);
Json LogJson(const v1::DescribeLogResponse& log);
// The double that is written with as few digits as the float needs: 0.1, not 0.10000000149011612.
double Shortest(float value);
std::string IncarnationText(uint64_t incarnation);
std::string MetricName(v1::Metric metric);
// Bytes that are not UTF-8 (a server of ours sends none) become U+FFFD.
std::string Dump(const Json& json);

}  // namespace sluice::ctl
