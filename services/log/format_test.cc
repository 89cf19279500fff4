// The stored formats are fixed: these bytes were written by version 1, and must be written and read
// like this for ever. A new version gets new golden bytes beside them, and keeps reading these.
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "services/log/append.h"
#include "services/log/command.h"
#include "services/log/journal.h"
#include "services/log/test_support.h"

namespace sluice::log {
namespace {

const CollectionId kCollection(*Uuid::Parse("00112233-4455-6677-8899-aabbccddeeff"));
const RequestId kRequestId(*Uuid::Parse("018f0000-0000-7000-8000-000000000001"));

std::string Hex(std::string_view bytes) {
  return absl::BytesToHexString({bytes.data(), bytes.size()});
}
std::string Bytes(std::string_view hex) { return absl::HexStringToBytes({hex.data(), hex.size()}); }

Command GoldenPush() {
  Command command =
      PushOf(kCollection, kRequestId, {Record("a", "x"), Record("b", "y", 2)}, Incarnation(7));
  command.Stamp(1'700'000'000'000'000);
  return command;
}

constexpr std::string_view kPush =
    "960000000100000000401e18240a060000112233445566778899aabbccddeeff018f0000000070008000"
    "00000000000107000000000000001cbaee59c67d19e09d83cb87c684e128020000000200000001000000"
    "a3dfcbc42200000000000000000000000a0000001f4e961eb632c6e63f84d8441c0b5a5712080a016110"
    "0322017812160a016210031a0c080212080000003f0000003f220179";
constexpr std::string_view kMessage =
    "240000000200000000401e18240a0600ba01150a1000112233445566778899aabbccddeeff10ac02";
constexpr std::string_view kAppend =
    "01000000745efee7290000000000000002000000a3dfcbc401401e18240a060039300000000000002200"
    "000000000000018f00000000700080000000000000011cbaee59c67d19e09d83cb87c684e12800000000"
    "0a0000001f4e961eb632c6e63f84d8441c0b5a5712080a0161100322017812160a016210031a0c080212"
    "080000003f0000003f220179";
constexpr std::string_view kJournalFile =
    "534c554943454a31010000000000000016fe058de4c66ede01000000000000005e01cf70000000000000"
    "000000000000000000000000000000000000000000009b941bb00500000016fe058de4c66ede01000000"
    "00000000000000000000000066697273740000004c733cf90c00000016fe058de4c66ede020000000000"
    "000001000000000000007365636f6e642067726f757000000000348c36550000000016fe058de4c66ede"
    "03000000000000000200000000000000";

TEST(FormatTest, APushOfVersion1HasTheseBytes) {
  const Command command = GoldenPush();
  EXPECT_EQ(Hex(command.head()) + Hex(command.records()), kPush);
}

TEST(FormatTest, APushOfVersion1IsRead) {
  const auto command = DecodeCommand(Bytes(kPush), {});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->time_us, 1'700'000'000'000'000);
  EXPECT_EQ(command->clock_us, command->time_us);
}

TEST(FormatTest, APushIsReadTheSameWhetherItsRecordsLieApartOrNot) {
  const Command pushed = GoldenPush();
  const std::string together = std::string(pushed.head()) + std::string(pushed.records());
  const auto apart = DecodeCommand(pushed.head(), pushed.records());
  const auto whole = DecodeCommand(together, {});
  ASSERT_TRUE(apart.ok() && whole.ok());
  for (const auto* view : {&*apart, &*whole}) {
    const auto& push = std::get<PushView>(view->change);
    EXPECT_EQ(push.collection, kCollection);
    EXPECT_EQ(push.request_id, kRequestId);
    EXPECT_EQ(push.incarnation, Incarnation(7));
    EXPECT_EQ(push.count, 2);
    EXPECT_EQ(push.dimension, 2);
    EXPECT_EQ(push.first_vector_record, 1);
    EXPECT_EQ(push.fingerprint, FingerprintOf(kCollection.view(), pushed.records()));
    EXPECT_EQ(push.tables.size(), 24);
    EXPECT_EQ(push.records, pushed.records());
  }
}

TEST(FormatTest, ConditionsOfVersion1StandBetweenTablesAndRecords) {
  v1::PushLogsRequest request;
  request.set_predecessor_request_id(kRequestId.ToString());
  request.set_if_tail_seq_id(0);
  request.mutable_if_ids_unchanged()->set_since_seq_id(300);
  request.mutable_if_ids_unchanged()->add_ids("id");
  const Command plain = PushOf(kCollection, {}, {Record("a", "x")});
  const Command command =
      PushOf(kCollection, {}, {Record("a", "x")}, Incarnation(0), std::move(request));
  ASSERT_GT(command.head().size(), plain.head().size());
  EXPECT_EQ(Hex(command.head().substr(plain.head().size())),
            "0a10" + Hex(kRequestId.view()) + "1000" + "1a07" + "08ac02" + "12026964");
  const std::string whole = std::string(command.head()) + std::string(command.records());
  const auto view = DecodeCommand(whole, {});
  ASSERT_TRUE(view.ok()) << view.status();
  const auto& push = std::get<PushView>(view->change);
  ASSERT_TRUE(push.conditions);
  EXPECT_EQ(push.conditions->predecessor(), kRequestId.view());
  EXPECT_TRUE(push.conditions->has_tail());
  EXPECT_EQ(push.conditions->ids_unchanged().since(), 300);
  EXPECT_EQ(push.records, command.records());
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(DecodeCommand(std::string_view(whole).substr(0, n), {}).ok()) << n;
  }
}

TEST(FormatTest, AMessageOfVersion1HasTheseBytesAndIsRead) {
  pb::Command message;
  message.mutable_trim()->set_collection_id(std::string(kCollection.view()));
  message.mutable_trim()->set_up_to_seq_id(300);
  Command command(message);
  command.Stamp(1'700'000'000'000'000);
  EXPECT_EQ(Hex(command.head()), kMessage);
  const auto view = DecodeCommand(Bytes(kMessage), {});
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(std::get<pb::Command>(view->change).trim().up_to_seq_id(), 300);
}

TEST(FormatTest, ACommandThatIsCutShortOrTooLongIsNotRead) {
  const std::string whole = Bytes(kPush);
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(DecodeCommand(std::string_view(whole).substr(0, n), {}).ok()) << n;
  }
  EXPECT_FALSE(DecodeCommand(whole + "x", {}).ok());
}

TEST(FormatTest, ACommandOfBeforeAnyTimeIsNotRead) {
  for (const int64_t time_us : {INT64_MIN, int64_t{-1}}) {
    Command command = GoldenPush();
    command.Stamp(time_us, /*ahead_us=*/1'000'000);
    EXPECT_TRUE(absl::IsDataLoss(DecodeCommand(command.head(), command.records()).status()));
  }
}

TEST(FormatTest, AGroupsCommandsAreVisitedInOrderAndAllOrAnErrorIsSaid) {
  const std::string group = Bytes(kMessage) + Bytes(kPush) + Bytes(kMessage);
  std::string kinds;
  const auto visit = [&](const CommandView& view) {
    kinds += std::holds_alternative<PushView>(view.change) ? 'p' : 'm';
    return absl::OkStatus();
  };
  ASSERT_TRUE(ForEachCommand(group, visit).ok());
  EXPECT_EQ(kinds, "mpm");
  EXPECT_FALSE(ForEachCommand(group.substr(0, group.size() - 1), visit).ok());
}

TEST(FormatTest, AnAppendOfVersion1HasTheseBytesAndIsRead) {
  const Command command = GoldenPush();
  const auto view = DecodeCommand(command.head(), command.records());
  const auto& push = std::get<PushView>(view->change);
  const auto header = EncodeAppendHeader(push, SeqId(41), 1'700'000'000'000'001, 12'345);
  const std::string value = std::string(header.data(), header.size()) + std::string(push.tables) +
                            std::string(push.records);
  EXPECT_EQ(Hex(value), kAppend);

  const std::string golden = Bytes(kAppend);
  const auto append = DecodeAppend(golden);
  ASSERT_TRUE(append.ok()) << append.status();
  EXPECT_EQ(append->first, SeqId(41));
  EXPECT_EQ(append->last(), SeqId(42));
  EXPECT_EQ(append->commit_time_us, 1'700'000'000'000'001);
  EXPECT_EQ(append->bytes_before, 12'345);
  EXPECT_EQ(append->request_id, kRequestId);
  EXPECT_EQ(append->offset(0), 0);
  EXPECT_EQ(append->offset(2), append->records.size());
  EXPECT_EQ(append->id_hash(1), IdHash64("b"));
  EXPECT_TRUE(CheckRecords(*append).ok());
}

TEST(FormatTest, AJournalFileOfVersion1IsRead) {
  const TemporaryFolder folder;
  FileSystem& files = *FileSystem::Machine();
  {
    auto file = files.Open(folder.path() / "0000000000000001.journal", 0);
    const std::string bytes = Bytes(kJournalFile);
    const std::string_view parts[] = {bytes};
    ASSERT_TRUE((*file)->Write(0, parts).ok());
  }
  std::vector<std::string> groups;
  const auto journal = Journal::Open({.folder = folder.path()}, JournalPosition(0),
                                     [&](JournalPosition, std::string_view group) {
                                       groups.emplace_back(group);
                                       return absl::OkStatus();
                                     });
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(groups, (std::vector<std::string>{"first", "second group"}));
  EXPECT_EQ((*journal)->last(), JournalPosition(3));
}

}  // namespace
}  // namespace sluice::log
