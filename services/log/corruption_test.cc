// One byte of one file of a stopped log is damaged, each time another: a verification says so, or
// all is read as it was written; and what is read is what was written, or an error that says what
// is damaged; never something else, never less without a word. Damaged logs are opened in processes
// of their own: RocksDB's asserts end some of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/crc32c.h"
#include "common/errors/errors.h"
#include "services/log/append_reader.h"
#include "services/log/reader.h"
#include "services/log/shard.h"
#include "services/log/test_support.h"
#include "tests/support/process.h"
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

constexpr char kFolderVariable[] = "SLUICE_DAMAGED_LOG";
constexpr std::string_view kBegin = "<<<";
constexpr std::string_view kEnd = ">>>";

// Opens the log that a test names, and prints of each collection how many records it has and their
// checksum, or what is damaged, and what came before that.
class DamagedLog : public ::testing::Test {
 protected:
  static std::string ReadAll(const Store& store, const CollectionId& collection) {
    const Snapshot snapshot(store);
    const auto state = ReadLog(snapshot, collection);
    uint64_t count = 0;
    uint32_t crc = 0;
    const auto damaged = [&](const absl::Status& error) {
      const auto reason = ReasonOf(error);
      return absl::StrCat(collection.ToString(), " damaged ", count, " ", crc, " ",
                          reason ? std::string(ReasonName(*reason)) : "", " ",
                          std::string(error.message()), "\n");
    };
    if (!state.ok()) return damaged(state.status());
    AppendReader reader(snapshot, collection, SeqId(0), SeqId(state->tail()));
    for (AppendSlice slice;;) {
      const auto more = reader.Next(&slice);
      if (!more.ok()) return damaged(more.status());
      if (!*more) break;
      v1::Append append;
      EXPECT_TRUE(
          append.ParseFromArray(slice.records.data(), static_cast<int>(slice.records.size())));
      for (const auto& record : append.records()) {
        crc = Crc32c(record.SerializeAsString(), crc);
        ++count;
      }
    }
    return absl::StrCat(collection.ToString(), " ", count, " ", crc, "\n");
  }
};

TEST_F(DamagedLog, DISABLED_ReadsALogApart) {
  const fs::path folder = std::getenv(kFolderVariable);
  std::string said;
  const auto opened = Shard::Open(Options(folder));
  if (opened.ok()) {
    std::ifstream names(folder / "collections");
    for (std::string id; names >> id;) {
      said += ReadAll((*opened)->store(), CollectionId(*Uuid::Parse(id)));
    }
  } else {
    said = absl::StrCat("refused ", absl::StatusCodeToString(opened.status().code()), " ",
                        std::string(opened.status().message()));
  }
  std::cout << kBegin << said << kEnd << std::endl;
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
    std::string names;
    for (const CollectionId& collection : collections_) names += collection.ToString() + "\n";
    WriteFile(folder / "collections", names);
    return folder;
  }

  // What a reader of an undamaged log says.
  std::string Whole() const {
    std::string whole;
    for (const CollectionId& collection : collections_) {
      const std::vector<std::string>& written = written_.at(collection);
      whole += LineOf(collection, written.size(), ChecksumOf(written));
    }
    return whole;
  }

  // Judges what is said of a log with one damaged file: by `sluicectl verify`, and by a start and a
  // reader of all records. Returns whether the verification found it.
  bool Judge(const fs::path& folder, const fs::path& damaged) {
    const auto before = ChecksumsIn(folder);
    const auto verified =
        ::sluice::testing::RunToEnd({.program = ::sluice::testing::BinaryPath("sluicectl"),
                                     .arguments = {"--json", "verify", "--data", folder.string()}});
    EXPECT_TRUE(verified.ok()) << verified.status();
    if (!verified.ok()) return false;
    EXPECT_EQ(ChecksumsIn(folder), before) << "the verification changed something";
    const auto read = ::sluice::testing::RunToEnd(
        {.program = fs::read_symlink("/proc/self/exe"),
         .arguments = {"--gtest_also_run_disabled_tests", "--gtest_filter=*ReadsALogApart"},
         .environment = {{kFolderVariable, folder.string()}}});
    EXPECT_TRUE(read.ok()) << read.status();
    if (!read.ok()) return false;
    const std::string said = SaidIn(read->output);
    if (verified->exit_status == 0) {
      EXPECT_EQ(read->exit_status, 0) << read->error_output;
      EXPECT_EQ(said, Whole()) << "a verification found nothing";
      return false;
    }
    // The folder of a newer version, or of none, is not verified at all.
    const bool format = damaged == "FORMAT" && verified->exit_status == 1;
    EXPECT_TRUE(format || verified->exit_status == 6)
        << verified->exit_status << verified->error_output;
    EXPECT_TRUE(absl::StrContains(verified->output, "\"file\"") ||
                absl::StrContains(verified->output, "collection_id") || format)
        << "does not say what is damaged: " << verified->output << verified->error_output;
    // Ended by an assert: the verification has words for it.
    if (read->exit_status != 0) {
      EXPECT_EQ(read->exit_status, 128 + SIGABRT) << read->error_output;
      return true;
    }
    if (absl::StartsWith(said, "refused ")) {
      EXPECT_TRUE(format || damaged == "FORMAT" || absl::StrContains(said, "DATA_LOSS")) << said;
      EXPECT_TRUE(absl::StrContains(said, folder.string()) ||
                  absl::StrContains(said, "collection "))
          << "does not say what is damaged: " << said;
    } else {
      JudgeLogs(said);
    }
    return true;
  }

  // Each log is read as it was written, or its damage said.
  void JudgeLogs(const std::string& said) {
    const std::vector<std::string> lines = absl::StrSplit(said, '\n', absl::SkipEmpty());
    EXPECT_EQ(lines.size(), collections_.size()) << said;
    for (size_t i = 0; i < std::min(lines.size(), collections_.size()); ++i) {
      const std::string id = collections_[i].ToString();
      const std::vector<std::string>& written = written_[collections_[i]];
      std::vector<std::string> words = absl::StrSplit(lines[i], ' ');
      if (words.size() < 3 || words[1] != "damaged") {
        EXPECT_EQ(lines[i] + "\n", LineOf(collections_[i], written.size(), ChecksumOf(written)));
        continue;
      }
      // What was read before the damage is what was written.
      const size_t count = std::stoull(words[2]);
      ASSERT_LE(count, written.size());
      EXPECT_EQ(words[3], absl::StrCat(ChecksumOf(
                              {written.begin(), written.begin() + static_cast<ptrdiff_t>(count)})));
      EXPECT_THAT(lines[i], ::testing::HasSubstr("LOG_CORRUPT collection " + id));
    }
  }

  static uint32_t ChecksumOf(const std::vector<std::string>& records) {
    uint32_t crc = 0;
    for (const std::string& record : records) crc = Crc32c(record, crc);
    return crc;
  }
  static std::string LineOf(const CollectionId& collection, size_t count, uint32_t checksum) {
    return absl::StrCat(collection.ToString(), " ", count, " ", checksum, "\n");
  }
  static std::map<std::string, uint32_t> ChecksumsIn(const fs::path& folder) {
    std::map<std::string, uint32_t> checksums;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      checksums[entry.path().string()] =
          entry.is_regular_file() ? Crc32c(ReadFile(entry.path())) : 0;
    }
    return checksums;
  }
  // Between the marks that the reader puts around it.
  static std::string SaidIn(const std::string& output) {
    const size_t begin = output.find(kBegin);
    const size_t end = output.find(kEnd);
    if (begin == std::string::npos || end == std::string::npos) return "";
    return output.substr(begin + kBegin.size(), end - begin - kBegin.size());
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
