// One byte of one file of a stopped log is damaged, each time another: what is then read is what
// was written, or an error that says what is damaged; never something else, never less without a
// word.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/errors/errors.h"
#include "services/log/append_reader.h"
#include "services/log/reader.h"
#include "services/log/shard.h"
#include "services/log/test_support.h"
#include "tests/support/seed.h"

namespace sluice::log {
namespace {

namespace fs = std::filesystem;

constexpr int kCollections = 3;
// Of every file: in its first and last bytes, and anywhere.
constexpr int kEdgeFlips = 3;
constexpr int kFlips = 5;

ShardOptions Options(const fs::path& folder) {
  ShardOptions options;
  options.folder = folder;
  options.journal_file_bytes = 256 << 10;
  options.seal_after = std::chrono::hours(1);
  return options;
}

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const fs::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

class CorruptionTest : public ::testing::Test {
 protected:
  // Opens collections, calls `write`, and keeps the files as a process that is killed then leaves
  // them.
  void Keep(int collections, const std::function<void(Shard&)>& write) {
    const fs::path folder = folder_.path() / "log";
    const auto opened = Shard::Open(Options(folder));
    ASSERT_TRUE(opened.ok()) << opened.status();
    Shard& shard = **opened;
    for (int i = 0; i < collections; ++i) {
      collections_.push_back(NewCollectionId());
      ASSERT_TRUE(shard.ProposeAndWait(OpenLogOf(collections_.back())).ok());
    }
    ASSERT_NO_FATAL_FAILURE(write(shard));
    // Damage to the last group of a journal that was not sealed is taken for a torn end.
    ASSERT_TRUE(shard.ProposeAndWait(OpenLogOf(NewCollectionId())).ok());
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      // Space that is set aside holds nothing.
      if (!entry.is_regular_file() || entry.path().filename() == "RESERVE") continue;
      files_[fs::relative(entry.path(), folder)] = ReadFile(entry.path());
    }
  }

  // Some appends in tables, some in blob files, some in the journal alone.
  void WriteLog(Shard& shard) {
    ASSERT_NO_FATAL_FAILURE(PushAll(shard, 12));
    ASSERT_TRUE(shard.store().Flush().ok());
    ASSERT_NO_FATAL_FAILURE(PushAll(shard, 12));
    ASSERT_TRUE(shard.store().Flush().ok());
    ASSERT_NO_FATAL_FAILURE(PushAll(shard, 6));
  }

  void PushAll(Shard& shard, int appends) {
    for (int i = 0; i < appends * kCollections; ++i) {
      const CollectionId& collection = collections_[i % kCollections];
      std::vector<std::string>& written = written_[collection];
      // Every third is large enough for a blob file.
      const std::string document(i / kCollections % 3 == 0 ? 6000 : 40, 'x');
      std::vector<v1::OperationRecord> records;
      for (int j = 0; j <= i % 2; ++j) {
        records.push_back(Record(absl::StrCat("id", written.size()), document));
        written.push_back(records.back().SerializeAsString());
      }
      const Result result = shard.ProposeAndWait(
          PushOf(collection, RequestId(Uuid::TimeOrdered(NowMicros() / 1000)), records));
      ASSERT_TRUE(result.ok()) << result.status();
    }
  }

  // A log like the one that was written, with other bytes in `damaged`.
  fs::path Restore(const fs::path& damaged, std::string_view bytes) {
    fs::path folder = folder_.path() / absl::StrCat("damaged-", ++restored_);
    for (const auto& [path, content] : files_) {
      fs::create_directories((folder / path).parent_path());
      WriteFile(folder / path, path == damaged ? bytes : std::string_view(content));
    }
    return folder;
  }

  // Returns whether the damage was reported.
  bool Judge(const fs::path& folder, const fs::path& damaged) {
    const auto opened = Shard::Open(Options(folder));
    if (!opened.ok()) {
      const bool format = damaged == "FORMAT" && absl::IsFailedPrecondition(opened.status());
      EXPECT_TRUE(format || absl::IsDataLoss(opened.status())) << opened.status();
      EXPECT_TRUE(absl::StrContains(opened.status().message(), folder.string()) ||
                  !ErrorMetadata(opened.status(), "collection_id").empty())
          << "does not say what is damaged: " << opened.status();
      return true;
    }
    bool reported = false;
    for (const CollectionId& collection : collections_) {
      reported |= JudgeLog((*opened)->store(), collection);
    }
    return reported;
  }

  bool JudgeLog(const Store& store, const CollectionId& collection) {
    const std::vector<std::string>& written = written_[collection];
    const Snapshot snapshot(store);
    const auto state = ReadLog(snapshot, collection);
    if (!state.ok()) {
      ExpectNamed(state.status(), collection);
      return true;
    }
    EXPECT_EQ(state->tail(), written.size());
    AppendReader reader(snapshot, collection, SeqId(0), SeqId(written.size()));
    size_t read = 0;
    for (AppendSlice slice;;) {
      const auto more = reader.Next(&slice);
      if (!more.ok()) {
        ExpectNamed(more.status(), collection);
        EXPECT_EQ(ErrorMetadata(more.status(), "seq_id"), absl::StrCat(read + 1));
        return true;
      }
      if (!*more) break;
      v1::Append append;
      EXPECT_TRUE(
          append.ParseFromArray(slice.records.data(), static_cast<int>(slice.records.size())));
      for (const auto& record : append.records()) {
        EXPECT_TRUE(read < written.size() && record.SerializeAsString() == written[read])
            << "SeqId " << read + 1 << " is not what was written";
        ++read;
      }
    }
    EXPECT_EQ(read, written.size());
    return false;
  }

  static void ExpectNamed(const absl::Status& error, const CollectionId& collection) {
    EXPECT_EQ(ReasonOf(error), Reason::LOG_CORRUPT) << error;
    EXPECT_EQ(ErrorMetadata(error, "collection_id"), collection.ToString()) << error;
    EXPECT_TRUE(absl::StrContains(error.message(), collection.ToString())) << error;
  }

  TemporaryFolder folder_;
  std::vector<CollectionId> collections_;
  // The records of each, in order.
  std::map<CollectionId, std::vector<std::string>> written_;
  std::map<fs::path, std::string> files_;
  int restored_ = 0;
};

TEST_F(CorruptionTest, AFlippedByteIsHarmlessOrSaid) {  // invariant 4
  std::mt19937_64 random(::sluice::testing::TestSeed());
  ASSERT_NO_FATAL_FAILURE(Keep(kCollections, [this](Shard& shard) { WriteLog(shard); }));
  std::map<std::string, int> reported;
  for (const auto& [path, content] : files_) {
    if (content.empty()) continue;
    // What is allocated and not written yet is no part of the file.
    const size_t size = content.find_last_not_of('\0') + 1;
    std::set<size_t> places;
    for (size_t i = 0; i < kEdgeFlips; ++i) {
      places.insert({std::min(i, size - 1), size - 1 - std::min(i, size - 1)});
    }
    for (int i = 0; i < kFlips; ++i) places.insert(random() % size);
    for (const size_t place : places) {
      const auto mask = static_cast<char>(1 << (random() % 8));
      SCOPED_TRACE(absl::StrCat(path.string(), ", byte ", place, " of ", size, " ^ ", int{mask}));
      std::string bytes = content;
      bytes[place] = static_cast<char>(bytes[place] ^ mask);
      const fs::path folder = Restore(path, bytes);
      if (Judge(folder, path)) ++reported[path.extension().string()];
      fs::remove_all(folder);
      if (HasFailure()) return;
    }
  }
  // So that the judge is known to see.
  EXPECT_GT(reported[".journal"], 0);
  EXPECT_GT(reported[".sst"], 0);
  EXPECT_GT(reported[".blob"], 0);
}

// A push that was acknowledged, and that now meets a damaged append when it is applied again.
TEST_F(CorruptionTest, APushInTheJournalIsNotLeftOutForWhatIsDamagedBeside) {  // invariants 1 and 2
  const auto push = [this](Shard& shard, const char* id, v1::PushLogsRequest conditions = {}) {
    const Result result = shard.ProposeAndWait(
        PushOf(collections_[0], RequestId(), {Record(id)}, Incarnation(0), std::move(conditions)));
    ASSERT_TRUE(result.ok()) << result.status();
  };
  ASSERT_NO_FATAL_FAILURE(Keep(1, [&](Shard& shard) {
    push(shard, "damaged");
    ASSERT_TRUE(shard.store().Flush().ok());
    // The rows that a start reads are in another table.
    push(shard, "second");
    ASSERT_TRUE(shard.store().Flush().ok());
    v1::PushLogsRequest conditions;
    conditions.mutable_if_ids_unchanged()->set_since_seq_id(0);
    conditions.mutable_if_ids_unchanged()->add_ids("third");
    push(shard, "third", conditions);
    push(shard, "fourth");
  }));
  const auto table = std::find_if(files_.begin(), files_.end(), [](const auto& file) {
    return file.first.extension() == ".sst";
  });
  ASSERT_NE(table, files_.end());
  std::string bytes = table->second;
  bytes[0] = static_cast<char>(bytes[0] ^ 1);
  const auto opened = Shard::Open(Options(Restore(table->first, bytes)));
  ASSERT_FALSE(opened.ok());
  EXPECT_TRUE(absl::IsDataLoss(opened.status())) << opened.status();
  EXPECT_THAT(std::string(opened.status().message()), ::testing::HasSubstr("journal group"));
}

}  // namespace
}  // namespace sluice::log
