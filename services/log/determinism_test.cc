// Same commands in the same order: the same logical rows, however they were grouped, and wherever
// the store was closed, lost its memtable and replayed, also by processes killed in the middle of
// it.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <random>

#include "absl/strings/escaping.h"
#include "common/base/coding.h"
#include "common/errors/errors.h"
#include "common/segment/id_hash.h"
#include "services/log/journal.h"
#include "services/log/machine_harness.h"
#include "services/log/reader.h"
#include "services/log/test_support.h"
#include "tests/support/process.h"
#include "tests/support/seed.h"

namespace sluice::log {
namespace {

// Writes plausible commands, most of which succeed and some of which are refused. What it needs to
// know, it reads from the machine it runs against.
class RandomCommands {
 public:
  RandomCommands(uint32_t seed, MachineHarness& machine) : random_(seed), machine_(machine) {
    for (int i = 0; i < 3; ++i) ids_.push_back(CollectionId(RandomUuid()));
  }

  Command Next() {
    CollectionId& place = ids_[Below(ids_.size())];
    const CollectionId id = place;
    const std::string id_bytes(id.view());
    pb::Command command;
    switch (Below(25)) {
      case 21:
      case 22:
        command = BackupStep();
        break;
      case 0:
        return OpenLogOf(id, {}, /*log_only=*/Below(3) == 0);
      case 1:
      case 15:
        return Catalog(id);
      case 2:
        if (Below(6) > 0) return Push(id);
        command.mutable_delete_log()->set_collection_id(id_bytes);
        place = CollectionId(RandomUuid());
        break;
      case 3:
      case 4: {
        auto& claim = *command.mutable_claim();
        claim.set_collection_id(id_bytes);
        claim.set_kind(Kind());
        claim.set_worker("w");
        claim.set_lease_ms(static_cast<uint32_t>(Below(30'000)));
        break;
      }
      case 5:
      case 6:
      case 7:
        *command.mutable_commit() = Commit(id);
        break;
      case 8: {
        auto& release = *command.mutable_release();
        release.set_collection_id(id_bytes);
        *release.mutable_request()->mutable_lease() = Lease(id, Kind());
        release.mutable_request()->set_reason(static_cast<v1::ReleaseReason>(1 + Below(4)));
        release.mutable_request()->set_retry_after_ms(static_cast<uint32_t>(Below(3000)));
        break;
      }
      case 9: {
        auto& trim = *command.mutable_trim();
        trim.set_collection_id(id_bytes);
        const pb::LogState state = State(id);
        const uint64_t most = state.schema().log_only() ? state.tail() : state.applied();
        trim.set_up_to_seq_id(state.trim() + Below(most - state.trim() + 2));
        break;
      }
      case 16:
      case 17:
        return Cursor(id);
      case 18:
        command.mutable_retain()->set_collection_id(id_bytes);
        break;
      case 10: {
        const auto garbage = *ReadGarbage(Snapshot(machine_.store()), INT64_MAX, 20);
        for (const auto& entry : garbage) command.mutable_collect_garbage()->add_keys(entry.key());
        break;
      }
      case 11: {
        auto& renew = *command.mutable_renew();
        renew.set_collection_id(id_bytes);
        renew.set_kind(Kind());
        renew.set_token(Lease(id, renew.kind()).token());
        renew.set_lease_ms(static_cast<uint32_t>(Below(30'000)));
        break;
      }
      case 12: {
        auto& update = *command.mutable_update_log_settings();
        update.set_collection_id(id_bytes);
        update.set_settings_version(1 + Below(10));
        update.mutable_settings()->mutable_compaction()->set_max_bytes(1 + Below(100'000));
        if (Below(2) == 0) break;
        update.mutable_settings()->mutable_retention()->set_max_age_ms(1 + Below(60'000));
        update.mutable_settings()->mutable_retention()->set_max_bytes(1 + Below(200'000));
        update.mutable_settings()->set_erase_within_ms(Below(2) * (1 + Below(60'000)));
        break;
      }
      case 19:
        command.mutable_retry_missing()->set_collection_id(id_bytes);
        for (int i = 0; i < 5; ++i)
          command.mutable_retry_missing()->add_ids("id" + std::to_string(Below(50)));
        break;
      case 23:
        if (Below(2) == 0) {
          command.mutable_begin_erasure();
        } else {
          command.mutable_finish_erasure();
        }
        break;
      case 20:
        command.mutable_drop_missing()->set_collection_id(id_bytes);
        command.mutable_drop_missing()->add_ids("id" + std::to_string(Below(50)));
        break;
      default:
        return Push(id);
    }
    return Command(command);
  }

  uint64_t Below(uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n - 1)(random_); }

 private:
  // All from the seed, so that a run can be repeated.
  Uuid RandomUuid() {
    Uuid uuid;
    for (uint8_t& byte : uuid.bytes) byte = static_cast<uint8_t>(Below(256));
    return uuid;
  }
  RequestId NewRequestId() {
    RequestId id(RandomUuid());
    const int64_t ms = machine_.time_us / 1000;
    for (int i = 0; i < 6; ++i) id.bytes[i] = static_cast<uint8_t>(ms >> (40 - 8 * i));
    return id;
  }

  v1::LeaseKind Kind() { return Below(3) == 0 ? v1::LEASE_KIND_MERGE : v1::LEASE_KIND_COMPACTION; }

  pb::LogState State(const CollectionId& id) {
    return ReadLog(Snapshot(machine_.store()), id).value_or(pb::LogState());
  }

  Command Push(const CollectionId& id) {
    if (!pushed_.empty() && Below(4) == 0) return pushed_[Below(pushed_.size())];
    const uint32_t dimension = Below(10) == 0 ? 3 : 2;
    std::vector<v1::OperationRecord> records;
    for (uint64_t i = Below(3); i < 3; ++i) {
      records.push_back(Record("id" + std::to_string(Below(50)), std::string(Below(9000), 'd'),
                               Below(5) == 0 ? dimension : 0));
    }
    const RequestId request_id = Below(5) == 0 ? RequestId() : NewRequestId();
    pushed_.push_back(PushOf(id, request_id, records, Incarnation(0), Conditions(id)));
    if (!request_id.is_nil()) last_request_id_ = request_id;
    if (pushed_.size() > 50) pushed_.pop_front();
    return pushed_.back();
  }

  // Of the last pushes' state, so that most hold; some name another collection's.
  v1::PushLogsRequest Conditions(const CollectionId& id) {
    v1::PushLogsRequest request;
    const uint64_t tail = State(id).tail();
    if (Below(6) == 0) request.set_if_tail_seq_id(tail - std::min(tail, Below(2)));
    if (Below(6) == 0) request.set_predecessor_request_id(last_request_id_.ToString());
    if (Below(4) == 0) {
      auto& condition = *request.mutable_if_ids_unchanged();
      condition.set_since_seq_id(tail - std::min(tail, Below(20)));
      for (uint64_t i = Below(3); i > 0; --i) condition.add_ids("id" + std::to_string(Below(50)));
    }
    return request;
  }

  v1::Lease Lease(const CollectionId& id, v1::LeaseKind kind) {
    const pb::LogState state = State(id);
    v1::Lease lease;
    lease.set_kind(kind);
    lease.set_token(Below(5) == 0                  ? state.last_token()
                    : kind == v1::LEASE_KIND_MERGE ? state.merge_lease().token()
                                                   : state.compaction_lease().token());
    return lease;
  }

  pb::Commit Commit(const CollectionId& id) {
    const pb::LogState state = State(id);
    pb::Commit commit;
    commit.set_collection_id(std::string(id.view()));
    auto& request = *commit.mutable_request();
    const v1::LeaseKind kind = Kind();
    *request.mutable_lease() = Lease(id, kind);
    const uint64_t token = request.lease().token();
    pb::TokenState last;
    const auto row = *Snapshot(machine_.store()).Get(TokenKey(id, LeaseToken(token)));
    EXPECT_TRUE(last.ParseFromString(row.value_or("")));
    request.set_number(last.last_number() + (Below(6) == 0 ? 0 : 1));
    v1::SegmentInfo segment;
    segment.set_token(token);
    segment.set_number(request.number());
    segment.set_entries(1 + Below(100));
    if (kind == v1::LEASE_KIND_COMPACTION) {
      auto& work = *request.mutable_compaction();
      work.set_from_seq_id(state.applied());
      const bool only_fills = state.owed_vectors() > 0 && Below(3) == 0;
      work.set_to_seq_id(state.applied() +
                         (only_fills ? 0 : 1 + Below(state.tail() - state.applied() + 1)));
      work.set_live_delta(only_fills ? 0 : static_cast<int64_t>(Below(5)) - 1);
      work.set_embedded(Below(3'000));
      for (uint64_t i = Below(4); i > 0; --i) {
        v1::MissingVector& missing = *work.add_missing();
        missing.set_id("id" + std::to_string(Below(50)));
        missing.set_reason(static_cast<v1::MissingReason>(1 + Below(3)));
      }
      for (uint64_t i = Below(3); i > 0; --i) {
        v1::DeadRows& dead = *work.add_dead();
        dead.set_token(1 + Below(8));
        dead.set_number(1 + Below(2));
        dead.set_up_to_seq_id(1 + Below(state.applied() + 1));
        dead.set_rows(Below(3));
      }
      const IdHasher hasher(std::string(16, 'k'));
      for (uint64_t i = Below(4); i > 0; --i) {
        const IdHash hash = hasher("id" + std::to_string(Below(50)));
        PutBigEndian64(work.mutable_settled(), hash.high);
        PutBigEndian64(work.mutable_settled(), hash.low);
      }
      segment.set_after_seq_id(work.from_seq_id());
      segment.set_up_to_seq_id(work.to_seq_id());
      if (Below(4) != 0) {
        *work.mutable_segment() = segment;
      } else {
        work.clear_missing();
      }
      return commit;
    }
    const auto segments = *ReadSegments(Snapshot(machine_.store()), id);
    auto& work = *request.mutable_merge();
    if (segments.size() < 2) return commit;
    const size_t first = Below(segments.size() - 1);
    *work.add_inputs() = segments[first];
    *work.add_inputs() = segments[first + 1];
    segment.set_after_seq_id(segments[first].after_seq_id());
    segment.set_up_to_seq_id(segments[first + 1].up_to_seq_id());
    if (Below(4) != 0) *work.mutable_output() = segment;
    return commit;
  }

  Command Cursor(const CollectionId& id) {
    const pb::LogState state = State(id);
    const std::string id_bytes(id.view());
    const std::string name = "c" + std::to_string(Below(4));
    // Somewhere in what is kept; or just before or after it.
    const uint64_t seq_id = state.trim() + Below(state.tail() - state.trim() + 3) - Below(2);
    pb::Command command;
    switch (Below(6)) {
      case 0: {
        auto& rollback = *command.mutable_rollback_cursor();
        rollback.set_collection_id(id_bytes);
        rollback.set_name(name);
        rollback.set_seq_id(seq_id);
        break;
      }
      case 1:
        command.mutable_delete_cursor()->set_collection_id(id_bytes);
        command.mutable_delete_cursor()->set_name(name);
        break;
      default: {
        auto& commit = *command.mutable_commit_cursor();
        commit.set_collection_id(id_bytes);
        commit.set_name(name);
        commit.set_seq_id(seq_id);
        if (Below(3) == 0) {
          commit.set_expected(ReadCursor(Snapshot(machine_.store()), id, name)
                                  .value_or(pb::CursorState())
                                  .seq_id());
        }
        if (Below(2) == 0) commit.set_request_id(std::string(RandomUuid().view()));
      }
    }
    return Command(command);
  }

  // Pins are begun, sealed and ended in any order; some are named that are not there.
  pb::Command BackupStep() {
    pb::Command command;
    const auto pins = *ReadPins(Snapshot(machine_.store()));
    const uint64_t number = pins.empty() ? 1 : pins[Below(pins.size())].number;
    switch (Below(5)) {
      case 0:
      case 1:
        command.mutable_begin_pin();
        break;
      case 2:
        command.mutable_seal_pin()->set_number(number);
        break;
      default:
        command.mutable_end_pin()->set_number(number + (Below(8) == 0 ? 1 : 0));
    }
    return command;
  }

  Command Catalog(const CollectionId& id) {
    pb::Command command;
    const std::string id_bytes(id.view());
    switch (Below(6)) {
      case 0: {
        auto& collection = *command.mutable_create_collection()->mutable_collection();
        collection.set_id(id.ToString());
        collection.set_tenant("t");
        collection.set_database("d");
        collection.set_name("n" + std::to_string(Below(8)));
        command.mutable_create_collection()->set_get_or_create(Below(2) == 0);
        break;
      }
      case 1:
        return Activate(id);
      case 2: {
        auto& update = *command.mutable_update_settings();
        update.set_collection_id(id_bytes);
        update.mutable_settings()->set_max_backlog_bytes(Below(1000));
        update.set_expected_version(Below(3));
        break;
      }
      case 3:
        if (Below(4) > 0) return Activate(id);
        command.mutable_begin_delete()->set_collection_id(id_bytes);
        break;
      default:
        command.mutable_finish_delete()->set_collection_id(id_bytes);
    }
    return Command(command);
  }

  // As CatalogService does it: a collection is active once it has a log.
  Command Activate(const CollectionId& id) {
    if (!ReadLog(Snapshot(machine_.store()), id).ok()) return OpenLogOf(id);
    pb::Command command;
    command.mutable_activate_collection()->set_collection_id(std::string(id.view()));
    return Command(command);
  }

  std::mt19937 random_;
  MachineHarness& machine_;
  std::vector<CollectionId> ids_;
  std::deque<Command> pushed_;
  RequestId last_request_id_;
};

// Applies `commands` in groups of random size; now and then flushes, or reopens without flushing
// and replays from the applied position that it finds.
void ApplyOtherwise(const std::vector<Command>& commands, uint32_t seed, MachineHarness& machine) {
  std::mt19937 random(seed);
  std::vector<size_t> group_ends{0};  // by position
  size_t next = 0;
  while (next < commands.size()) {
    const size_t size = std::min<size_t>(1 + random() % 40, commands.size() - next);
    machine.ApplyStamped(std::span(commands).subspan(next, size));
    next += size;
    group_ends.resize(machine.position());
    group_ends.push_back(next);
    if (random() % 8 == 0) {
      ASSERT_TRUE(machine.store().Flush().ok());
    }
    if (random() % 10 == 0) {
      machine.Reopen();
      next = group_ends[machine.position()];
    }
  }
}

// The commands in groups of random size, as a journal.
void WriteJournal(const std::vector<Command>& commands, uint32_t seed,
                  const std::filesystem::path& folder) {
  std::mt19937 random(seed);
  const auto journal =
      Journal::Open({.folder = folder, .file_bytes = 4 << 20}, JournalPosition(0),
                    [](JournalPosition, std::string_view) { return absl::OkStatus(); });
  ASSERT_TRUE(journal.ok()) << journal.status();
  for (size_t next = 0; next < commands.size();) {
    std::vector<std::string_view> parts;
    for (size_t left = 1 + random() % 40; left > 0 && next < commands.size(); --left, ++next) {
      parts.push_back(commands[next].head());
      parts.push_back(commands[next].records());
    }
    const absl::Status written = (*journal)->Append(parts);
    ASSERT_TRUE(written.ok()) << written;
  }
}

// Replays a journal into the store beside it, from what a process before it left there; kills
// itself after so many groups (0: never). Exits with 0 at the end of the journal.
int ReplayUntilKilled(const std::filesystem::path& folder, uint64_t groups) {
  MachineHarness machine(folder / "store");
  const auto journal = Journal::Open({.folder = folder / "journal", .file_bytes = 4 << 20},
                                     JournalPosition(machine.position()),
                                     [&](JournalPosition at, std::string_view group) {
                                       if (groups > 0 && --groups == 0) ::raise(SIGKILL);
                                       return machine.Replay(at, group);
                                     });
  SLUICE_CHECK(journal.ok());
  SLUICE_CHECK(machine.store().Flush().ok());
  return 0;
}

constexpr const char* kFolderVariable = "SLUICE_DETERMINISM_FOLDER";
constexpr const char* kGroupsVariable = "SLUICE_DETERMINISM_GROUPS";

// Runs ReplayUntilKilled in processes of their own until one reaches the end; the others die by
// SIGKILL.
void ReplayWithKills(const std::filesystem::path& folder, uint32_t seed, int kills) {
  std::mt19937 random(seed);
  for (int i = 0; i <= kills; ++i) {
    const uint64_t groups = i < kills ? 1 + random() % 60 : 0;
    const auto ended = ::sluice::testing::RunToEnd(
        {.program = std::filesystem::read_symlink("/proc/self/exe"),
         .arguments = {"--gtest_also_run_disabled_tests",
                       "--gtest_filter=DeterminismTest.DISABLED_OneProcess"},
         .environment = {{kFolderVariable, folder}, {kGroupsVariable, std::to_string(groups)}}});
    ASSERT_TRUE(ended.ok()) << ended.status();
    ASSERT_TRUE(ended->exit_status == 0 || (groups > 0 && ended->exit_status == 128 + SIGKILL))
        << ended->exit_status << "\n"
        << ended->output << ended->error_output;
  }
}

TEST(DeterminismTest, DISABLED_OneProcess) {
  const char* const folder = std::getenv(kFolderVariable);
  const char* const groups = std::getenv(kGroupsVariable);
  ASSERT_TRUE(folder && groups) << "part of another test";
  EXPECT_EQ(ReplayUntilKilled(folder, std::stoull(groups)), 0);
}

void ExpectSameRows(const std::map<std::string, std::string>& rows,
                    const std::map<std::string, std::string>& other_rows) {
  for (const auto& [key, value] : rows) {
    const auto other = other_rows.find(key);
    EXPECT_TRUE(other != other_rows.end() && other->second == value)
        << "row " << key[0] << " " << absl::BytesToHexString(key) << "\n"
        << absl::BytesToHexString(value.substr(0, 200)) << "\n"
        << (other == other_rows.end() ? "missing"
                                      : absl::BytesToHexString(other->second.substr(0, 200)));
  }
  EXPECT_EQ(rows.size(), other_rows.size());
}

// How often each kind of command was accepted, by its name; "push": pushes. How often one was
// refused, by reason.
using Accepted = std::map<std::string, int>;

// Random commands, applied one by one; the same commands in other groups, with flushes and reopened
// stores in between; and replayed from a journal by processes that are killed.
void TrySeed(uint32_t seed, int kills, Accepted* accepted) {
  SCOPED_TRACE("repeat with SLUICE_TEST_SEED=" + std::to_string(seed));
  MachineHarness first;
  // Little enough that some cursors are lost.
  first.policy.set_max_pinned_us(100'000'000);
  first.policy.set_max_pinned_bytes(100'000);
  RandomCommands random(seed, first);
  std::vector<Command> commands;
  pb::Command configure;
  configure.mutable_configure_shard()->set_incarnation(7);
  *configure.mutable_configure_shard()->mutable_policy() = first.policy;
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    first.time_us += static_cast<int64_t>(random.Below(4)) * 700'000;
    Command command = i == 0 ? Command(configure) : random.Next();
    command.Stamp(first.time_us, static_cast<int64_t>(random.Below(3)) * 40'000'000);
    commands.push_back(std::move(command));
    const Result result = first.ApplyStamped(std::span(commands).last(1)).front();
    const bool ok = result.ok();
    if (const auto reason = ReasonOf(result.status())) {
      ++(*accepted)[std::string(ReasonName(*reason))];
    }
    const auto view = DecodeCommand(commands.back().head(), commands.back().records());
    const auto* change = std::get_if<pb::Command>(&view->change);
    if (ok) {
      ++(*accepted)
          [change ? pb::Command::descriptor()->FindFieldByNumber(change->change_case())->name()
                  : "push"];
    }
    refused += ok ? 0 : 1;
  }
  EXPECT_GT(refused, 100);
  const auto rows = first.LogicalRows();
  // What a verification takes for damage never comes about by commands.
  for (const v1::VerifyFinding& finding : first.Verify()) ADD_FAILURE() << finding.DebugString();

  MachineHarness second;
  ApplyOtherwise(commands, seed + 1, second);
  ExpectSameRows(rows, second.LogicalRows());
  EXPECT_EQ(first.shard().time_us(), second.shard().time_us());

  const TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(WriteJournal(commands, seed + 2, folder.path() / "journal"));
  std::filesystem::create_directory(folder.path() / "store");
  ASSERT_NO_FATAL_FAILURE(ReplayWithKills(folder.path(), seed + 3, kills));
  MachineHarness third(folder.path() / "store");
  ExpectSameRows(rows, third.LogicalRows());
}

// So many seeds, each with 3,000 commands; log_determinism_slow_test tries more.
TEST(DeterminismTest, SameCommandsGiveTheSameRowsHoweverTheyAreGroupedKilledAndReplayed) {
  const uint64_t seed = ::sluice::testing::TestSeed();
  Accepted accepted;
  for (uint32_t i = 0; i < SLUICE_DETERMINISM_SEEDS && !::testing::Test::HasFailure(); ++i)
    TrySeed(static_cast<uint32_t>(seed + i), /*kills=*/3, &accepted);
  // A new command is to be added to RandomCommands.
  const auto* changes = pb::Command::descriptor()->FindOneofByName("change");
  for (int i = 0; i < changes->field_count(); ++i) {
    const std::string& name = changes->field(i)->name();
    EXPECT_GT(accepted[name], 0) << name << " was never accepted";
  }
  EXPECT_GT(accepted["push"], 100);
  for (const Reason reason : {Reason::TAIL_MOVED, Reason::IDS_CHANGED, Reason::OBSERVED_TOO_OLD,
                              Reason::PREDECESSOR_MISSING, Reason::CURSOR_MOVED,
                              Reason::CURSOR_BEHIND, Reason::CURSOR_LOST}) {
    EXPECT_GT(accepted[std::string(ReasonName(reason))], 0) << ReasonName(reason);
  }
  EXPECT_GT(accepted["commit"], 10);
}

}  // namespace
}  // namespace sluice::log
