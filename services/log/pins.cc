// The part of the log machine that keeps what backups name from being collected. A pin is begun
// before a backup's snapshot is taken, sealed after it, and ended once the backup's files are gone.
//
// A segment that became garbage in or after the epoch in which a pin was begun was in the list when
// the snapshot was taken, unless it came into the list after the pin was sealed. What a backup does
// not name is never held: objects that an ended lease did not commit, and segments that had been
// replaced before.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "services/log/log_machine.h"

namespace sluice::log {
namespace {

// Read whenever something becomes garbage.
constexpr size_t kMaxPins = 1'000;
// Rows that one EndPin looks at.
constexpr size_t kReleasedAtOnce = 10'000;

bool Holds(const pb::PinState& pin, uint64_t made_epoch, uint64_t garbage_epoch) {
  if (pin.ending() || garbage_epoch < pin.begun_epoch()) return false;
  return pin.sealed_epoch() == 0 || made_epoch < pin.sealed_epoch();
}

absl::Status Unreadable(std::string_view what) {
  return MakeError(Reason::LOG_CORRUPT,
                   absl::StrCat(absl::string_view(what.data(), what.size()), " cannot be read"));
}

}  // namespace

Result LogMachine::BeginPin() {
  SLUICE_ASSIGN_OR_RETURN(const Pins pins, ReadPins());
  if (pins.size() >= kMaxPins) {
    return MakeError(Reason::TOO_MANY_BACKUPS, absl::StrCat("there are ", pins.size()));
  }
  PinAnswer answer;
  answer.number = shard_.last_pin() + 1;
  shard_.set_last_pin(answer.number);
  shard_.set_backup_epoch(shard_.backup_epoch() + 1);
  pb::PinState pin;
  pin.set_begun_us(now());
  pin.set_begun_epoch(shard_.backup_epoch());
  rows_.Put(PinKey(answer.number), pin.SerializeAsString());
  return answer;
}

Result LogMachine::SealPin(const pb::SealPin& command) {
  SLUICE_ASSIGN_OR_RETURN(pb::PinState pin, FindPin(command.number()));
  if (pin.sealed_epoch() != 0) return Done{};
  shard_.set_backup_epoch(shard_.backup_epoch() + 1);
  pin.set_sealed_epoch(shard_.backup_epoch());
  pin.set_bytes(command.bytes());
  rows_.Put(PinKey(command.number()), pin.SerializeAsString());
  return Done{};
}

Result LogMachine::EndPin(const pb::EndPin& command) {
  SLUICE_ASSIGN_OR_RETURN(pb::PinState pin, FindPin(command.number()));
  SLUICE_ASSIGN_OR_RETURN(Pins others, ReadPins());
  std::erase_if(others, [&](const auto& other) { return other.first == command.number(); });
  pin.set_ending(true);

  std::string begin = EncodeGarbageKey({.due_us = kHeld});
  if (!pin.released_through().empty()) begin = pin.released_through() + '\0';
  std::vector<std::pair<std::string, std::string>> held;
  PinAnswer answer;
  answer.number = command.number();
  SLUICE_RETURN_IF_ERROR(rows_.Scan(begin, PrefixEnd(TypePrefix(RowType::kGarbage)),
                                    [&](std::string_view key, std::string_view row) {
                                      answer.more = held.size() == kReleasedAtOnce;
                                      if (!answer.more) held.emplace_back(key, row);
                                      return !answer.more;
                                    }));
  for (const auto& [key, row] : held) SLUICE_RETURN_IF_ERROR(Release(others, key, row));
  if (answer.more) {
    pin.set_released_through(held.back().first);
    rows_.Put(PinKey(command.number()), pin.SerializeAsString());
  } else {
    rows_.Delete(PinKey(command.number()));
  }
  return answer;
}

absl::Status LogMachine::Release(const Pins& pins, std::string_view key, std::string_view row) {
  auto parts = DecodeGarbageKey(key);
  v1::GarbageEntry entry;
  // It stays, for whoever can tell what it was.
  if (!parts || !entry.ParseFromArray(row.data(), static_cast<int>(row.size()))) {
    return absl::OkStatus();
  }
  uint64_t made_epoch = entry.segment().backup_epoch();
  if (parts->kind == GarbageKind::kCollection) {
    const absl::StatusOr<Log*> log = table_.Find(parts->collection);
    SLUICE_RETURN_IF_ERROR(rows_.failure());
    made_epoch = log.ok() && *log ? (*log)->state.opened_backup_epoch() : 0;
  }
  for (const auto& [number, pin] : pins) {
    if (Holds(pin, made_epoch, entry.backup_epoch())) return absl::OkStatus();
  }
  rows_.Delete(key);
  parts->due_us = now() + shard_.policy().grace_us();
  rows_.Put(EncodeGarbageKey(*parts), row);
  return absl::OkStatus();
}

int64_t LogMachine::GarbageDue(const Pins& pins, uint64_t made_epoch, int64_t grace_us) const {
  for (const auto& [number, pin] : pins) {
    if (Holds(pin, made_epoch, shard_.backup_epoch())) return kHeld;
  }
  return now() + grace_us;
}

absl::StatusOr<LogMachine::Pins> LogMachine::ReadPins() {
  Pins pins;
  bool readable = true;
  const std::string prefix = TypePrefix(RowType::kPin);
  SLUICE_RETURN_IF_ERROR(
      rows_.Scan(prefix, PrefixEnd(prefix), [&](std::string_view key, std::string_view row) {
        auto& [number, pin] = pins.emplace_back(DecodePinKey(key).value_or(0), pb::PinState());
        readable =
            number != 0 && pin.ParseFromArray(row.data(), static_cast<int>(row.size())) && readable;
        return true;
      }));
  // Nothing is collected for want of knowing that it is held.
  if (!readable) return Unreadable("a backup's pin");
  return pins;
}

absl::StatusOr<pb::PinState> LogMachine::FindPin(uint64_t number) {
  SLUICE_ASSIGN_OR_RETURN(const auto row, rows_.Get(PinKey(number)));
  if (!row) return MakeError(Reason::BACKUP_NOT_FOUND, absl::StrCat("there is no pin ", number));
  pb::PinState pin;
  if (!pin.ParseFromString(*row)) return Unreadable("a backup's pin");
  return pin;
}

}  // namespace sluice::log
