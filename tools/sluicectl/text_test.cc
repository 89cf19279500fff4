#include "tools/sluicectl/text.h"

#include <gtest/gtest.h>

#include "common/errors/errors.h"
#include "tools/sluicectl/json_out.h"
#include "tools/sluicectl/json_record.h"
#include "tools/sluicectl/progress.h"
#include "tools/sluicectl/session.h"

namespace sluice::ctl {
namespace {

TEST(TextTest, NumbersAndSizesAreReadable) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(1234567), "1,234,567");
  EXPECT_EQ(Bytes(1023), "1023 B");
  EXPECT_EQ(Bytes(1536), "1.5 KiB");
  EXPECT_EQ(Time(0), "1970-01-01 00:00:00");
}

TEST(TextTest, OneLineIsSafeForATerminalAndCutsBetweenCharacters) {
  EXPECT_EQ(OneLine("a\nb\x1b[2J", 10), "a b [2J");
  EXPECT_EQ(OneLine("äöü", 3), "äöü");
  EXPECT_EQ(OneLine("äöüß", 3), "äö…");
}

TEST(TextTest, TablesAlignTheirColumns) {
  EXPECT_EQ(Table({{"NAME"}, {"N", true}, {"REST"}}, {{"ä", "10", "x"}, {"longer", "9", "y"}}),
            "NAME     N  REST\n"
            "ä       10  x\n"
            "longer   9  y\n");
}

TEST(TextTest, ProgressFitsItsLine) {
  const ProgressState state{.done = 0.5, .records = 31'000, .last_seq_id = 31'000};
  EXPECT_EQ(ProgressLine(state, 2.0, 12'000, 200),
            "[#######.......]  50 %  31,000 records  15,500/s  SeqId 31,000  lag 12,000");
  EXPECT_EQ(ProgressLine({.records = 5}, 0, std::nullopt, 9), "5 records");
  EXPECT_EQ(BytesLine("copying", 3 << 20, 6 << 20, 2.0, 200),
            "[#######.......]  50 %  copying  3.0 MiB  1.5 MiB/s");
  EXPECT_EQ(BytesLine("copying", 3 << 20, 1 << 20, 2.0, 22), "[##############] 100 %");
  EXPECT_EQ(BytesLine("restoring", 3 << 20, 0, 0, 200), "restoring  3.0 MiB  0 B/s");
}

TEST(JsonOutTest, ARecordIsPrintedAsItIsRead) {
  std::string line =
      R"({"id":"a","document":"d","uri":"u","metadata":{"f":1.0,"i":1,"n":null},"vector":[0.1,-3.0]})";
  const size_t size = line.size();
  line.append(kLinePadding, ' ');
  v1::OperationRecord record;
  ASSERT_TRUE(RecordParser().Parse({line.data(), size}, &record).ok());
  record.set_operation(v1::OPERATION_UPSERT);
  Json json = RecordJson(SeqId(7), 8, record);
  EXPECT_EQ(json["seq_id"], 7);
  EXPECT_EQ(json["commit_time_us"], 8);
  EXPECT_EQ(json["operation"], "upsert");
  for (const char* key : {"seq_id", "commit_time_us", "operation"}) json.erase(key);
  EXPECT_EQ(Dump(json), line.substr(0, size));
}

// Invariant 10.
TEST(ExitStatusTest, OfAWriteOnlyWhatIsKnownNotToBeInIsCalledFailed) {
  const absl::Status silent = absl::UnavailableError("");
  EXPECT_EQ(ExitStatus(absl::OkStatus(), true), 0);
  EXPECT_EQ(ExitStatus(silent, true), 3);
  EXPECT_EQ(ExitStatus(WithOutcome(silent, Outcome::kNotIn), true), 5);
  EXPECT_EQ(ExitStatus(WithOutcome(MakeError(Reason::INVALID_RECORD, ""), Outcome::kNotIn), true),
            2);
  EXPECT_EQ(
      ExitStatus(WithOutcome(MakeError(Reason::COLLECTION_EXISTS, ""), Outcome::kNotIn), true), 1);
}

TEST(ExitStatusTest, OfAReadTheCodeAloneDecides) {
  EXPECT_EQ(ExitStatus(absl::UnavailableError(""), false), 5);
  EXPECT_EQ(ExitStatus(absl::DataLossError(""), false), 6);
  EXPECT_EQ(ExitStatus(MakeError(Reason::OVERLOADED, ""), false), 5);
  EXPECT_EQ(ExitStatus(absl::DeadlineExceededError(""), false), 5);
  EXPECT_EQ(ExitStatus(MakeError(Reason::COLLECTION_NOT_FOUND, ""), false), 4);
  EXPECT_EQ(ExitStatus(MakeError(Reason::NO_EMBEDDER, ""), false), 1);
  EXPECT_EQ(ExitStatus(absl::InvalidArgumentError(""), false), 2);
}

}  // namespace
}  // namespace sluice::ctl
