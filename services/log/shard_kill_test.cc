// A shard in a child process that is killed again and again. In a program of its own: a child
// inherits none of RocksDB's threads, so the parent must not have started any before the last child
// is gone.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <random>
#include <set>
#include <sstream>

#include "common/base/clock.h"
#include "services/log/append_reader.h"
#include "services/log/reader.h"
#include "services/log/shard.h"
#include "services/log/test_support.h"

namespace sluice::log {
namespace {

ShardOptions SmallShard(const std::filesystem::path& folder) {
  ShardOptions options;
  options.folder = folder;
  options.journal_file_bytes = 1 << 20;
  options.store.memtable_bytes = 256 << 10;
  options.seal_after = std::chrono::milliseconds(1);
  return options;
}

// Pushes documents "<round>.<i>" with four in flight, and writes each acknowledged one with its
// SeqId to `out`, until killed.
[[noreturn]] void PushUntilKilled(const std::filesystem::path& folder,
                                  const CollectionId& collection, int round, int out) {
  const auto shard = Shard::Open(SmallShard(folder));
  if (!shard.ok() || !(*shard)->ProposeAndWait(OpenLogOf(collection)).ok()) ::_exit(1);
  std::vector<std::thread> writers;
  std::atomic<int> next = 0;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&] {
      for (;;) {
        const int i = next++;
        const std::string document = std::to_string(round) + "." + std::to_string(i);
        const RequestId id(Uuid::TimeOrdered(NowMicros() / 1000));
        const std::vector records{Record("small", document),
                                  Record("large", std::string(i % 3 * 4000, 'x'))};
        const Result first = (*shard)->ProposeAndWait(PushOf(collection, id, records));
        // Now and then the answer is taken for lost.
        const Result result =
            i % 5 == 0 ? (*shard)->ProposeAndWait(PushOf(collection, id, records)) : first;
        if (!result.ok()) ::_exit(2);
        const std::string line =
            document + " " + std::to_string(std::get<PushAnswer>(*result).first.value) + "\n";
        if (::write(out, line.data(), line.size()) < 0) ::_exit(3);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  ::_exit(4);
}

// Invariants 1, 2 and 3.
TEST(ShardKillTest, WhatWasAcknowledgedIsThereOnceAndInOrderAfterKills) {
  constexpr int kRounds = 10;
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const TemporaryFolder folder;
  const CollectionId collection = NewCollectionId();
  std::map<std::string, uint64_t> acknowledged;
  for (int round = 0; round < kRounds; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(pipe_ends[0]);
      PushUntilKilled(folder.path(), collection, round, pipe_ends[1]);
    }
    ::close(pipe_ends[1]);
    std::string output;
    const size_t enough = 100 + random() % 5000;
    char buffer[256];
    ssize_t n = 0;
    bool killed = false;
    while ((n = ::read(pipe_ends[0], buffer, sizeof(buffer))) > 0) {
      output.append(buffer, static_cast<size_t>(n));
      if (!killed && output.size() >= enough) killed = ::kill(child, SIGKILL) == 0;
    }
    ::close(pipe_ends[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);
    std::istringstream lines(output.substr(0, output.rfind('\n') + 1));
    std::string document;
    uint64_t seq_id = 0;
    while (lines >> document >> seq_id) acknowledged[document] = seq_id;
  }
  EXPECT_GT(acknowledged.size(), 100);

  const auto shard = Shard::Open(SmallShard(folder.path()));
  ASSERT_TRUE(shard.ok()) << shard.status();
  const Snapshot snapshot((*shard)->store());
  const auto state = ReadLog(snapshot, collection);
  ASSERT_TRUE(state.ok());
  std::vector<std::string> documents;
  AppendReader reader(snapshot, collection, SeqId(0), SeqId(state->tail()));
  for (AppendSlice slice;;) {
    const auto more = reader.Next(&slice);
    ASSERT_TRUE(more.ok()) << more.status();
    if (!*more) break;
    ASSERT_EQ(slice.count, 2);
    v1::Append append;
    ASSERT_TRUE(
        append.ParseFromArray(slice.records.data(), static_cast<int>(slice.records.size())));
    for (const auto& record : append.records()) documents.push_back(record.document());
  }
  ASSERT_EQ(documents.size(), state->tail());
  std::set<std::string> seen;
  for (size_t i = 0; i < documents.size(); i += 2) {
    EXPECT_TRUE(seen.insert(documents[i]).second) << documents[i] << " is there twice";
  }
  for (const auto& [document, seq_id] : acknowledged) {
    ASSERT_LE(seq_id, documents.size());
    EXPECT_EQ(documents[seq_id - 1], document);
  }
  // No other: at most the four in flight a round, whose answers were lost.
  EXPECT_LE(seen.size(), acknowledged.size() + 4 * kRounds);
}

}  // namespace
}  // namespace sluice::log
