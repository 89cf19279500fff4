// Bytes that the log reads back: commands of the journal, appends, keys. Any bytes are decoded or
// refused, and views never leave them; a damaged append is not taken for another.
#include "common/base/check.h"
#include "common/base/coding.h"
#include "services/log/append.h"
#include "services/log/command.h"
#include "services/log/keys.h"
#include "services/log/test_support.h"
#include "tests/support/fuzz.h"

namespace sluice::testing {
namespace {

const CollectionId kCollection(*Uuid::Parse("00112233-4455-6677-8899-aabbccddeeff"));
const RequestId kRequestId(*Uuid::Parse("018f0000-0000-7000-8000-000000000001"));

std::string EncodedPush() {
  const log::Command command = log::PushOf(
      kCollection, kRequestId, {log::Record("a", "x"), log::Record("b", "y", 2)}, Incarnation(7));
  return std::string(command.head()) + std::string(command.records());
}

std::string EncodedMessage() {
  log::pb::Command command;
  command.mutable_trim()->set_collection_id(std::string(kCollection.view()));
  command.mutable_trim()->set_up_to_seq_id(300);
  return std::string(log::Command(command).head());
}

std::string EncodedAppend() {
  const std::string push = EncodedPush();
  const auto command = log::DecodeCommand(push, {});
  SLUICE_CHECK(command.ok());
  const auto& view = std::get<log::PushView>(command->change);
  const auto header = log::EncodeAppendHeader(view, SeqId(41), 1'700'000'000'000'000, 12'345);
  return std::string(header.data(), header.size()) + std::string(view.tables) +
         std::string(view.records);
}

void TryCommands(std::string_view group) {
  const auto within = [&](std::string_view part) {
    return part.empty() || (part.data() >= group.data() &&
                            part.data() + part.size() <= group.data() + group.size());
  };
  const absl::Status read = log::ForEachCommand(group, [&](const log::CommandView& command) {
    if (const auto* push = std::get_if<log::PushView>(&command.change)) {
      SLUICE_CHECK(push->count > 0 && within(push->tables) && within(push->records));
    }
    return absl::OkStatus();
  });
  SLUICE_CHECK(read.ok() || absl::IsDataLoss(read));
}

void TryAppend(std::string_view value) {
  const auto append = log::DecodeAppend(value);
  if (!append.ok() || !log::CheckRecords(*append).ok()) return;
  // Checksums hold: it is the one append that there is, but for three bytes without a meaning.
  SLUICE_CHECK(value.substr(4) == std::string_view(EncodedAppend()).substr(4));
}

void TryKey(std::string_view key) {
  if (key.empty()) return;
  (void)log::CollectionOfKey(key);
  if (const auto append = log::DecodeAppendKey(key))
    SLUICE_CHECK(log::AppendKey(append->collection, append->last) == key);
  if (const auto cursor = log::DecodeCursorKey(key))
    SLUICE_CHECK(log::CursorKey(cursor->collection, cursor->name) == key);
  if (const auto due = log::DecodeDueKey(key)) SLUICE_CHECK(log::EncodeDueKey(*due) == key);
  if (const auto garbage = log::DecodeGarbageKey(key))
    SLUICE_CHECK(log::EncodeGarbageKey(*garbage) == key);
  if (const auto pin = log::DecodePinKey(key)) SLUICE_CHECK(log::PinKey(*pin) == key);
}

}  // namespace

// The input: a letter for what it is, then its bytes; or a capital, and how a good one is damaged.
void FuzzOne(std::string_view input) {
  if (input.empty()) return;
  const std::string_view rest = input.substr(1);
  switch (input[0]) {
    case 'c':
      return TryCommands(rest);
    case 'C':
      return TryCommands(Damaged(EncodedPush() + EncodedMessage() + EncodedPush(), rest));
    case 'a':
      return TryAppend(rest);
    case 'A':
      return TryAppend(Damaged(EncodedAppend(), rest));
    case 'k':
      return TryKey(rest);
  }
}

std::vector<std::string> FuzzSeeds() {
  log::DueKey due{.kind = log::DueKind::kTrim, .due_us = 5, .collection = kCollection};
  log::GarbageKey garbage{.due_us = 5,
                          .collection = kCollection,
                          .kind = log::GarbageKind::kSegment,
                          .token = 1,
                          .number = 2};
  const std::string no_edit;
  const std::string cut{20, 0, 2, 0};
  const std::string large_length{0, 0, 5, 0x7f};
  const std::string large_count{72, 0, 5, 0x7f};
  // Of a command: the sign of its time, and that of the machine's clock before it.
  const std::string before_all_time{15, 0, 0, '\x80', 5, 0, 0, 1};
  std::vector<std::string> seeds = {"c" + EncodedPush() + EncodedMessage(),
                                    "a" + EncodedAppend(),
                                    "k" + log::AppendKey(kCollection, SeqId(9)),
                                    "k" + log::CursorKey(kCollection, "c"),
                                    "k" + log::EncodeDueKey(due),
                                    "k" + log::EncodeGarbageKey(garbage),
                                    "k" + log::PinKey(3),
                                    "k" + log::LogKey(kCollection),
                                    "k" + log::NameKey("t", "d", "n")};
  for (const char* kind : {"A", "C"}) {
    for (const std::string& edit : {no_edit, cut, large_length, large_count, before_all_time})
      seeds.push_back(kind + edit);
  }
  return seeds;
}

}  // namespace sluice::testing
