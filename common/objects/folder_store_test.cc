#include "common/objects/folder_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <barrier>
#include <fstream>
#include <sstream>
#include <thread>

#include "common/base/ids.h"
#include "common/errors/errors.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FolderStoreTest : public testing::Test {
 protected:
  FolderStoreTest()
      : folder_(fs::path(testing::TempDir()) / ("objects-" + Uuid::Random().ToString())),
        store_(FolderStore::Open(folder_ / "deep" / "store").value()) {}
  ~FolderStoreTest() override { fs::remove_all(folder_); }

  fs::path Write(const std::string& content) const {
    fs::path path = store_.NewTemporaryPath();
    std::ofstream(path) << content;
    return path;
  }
  absl::Status Put(const std::string& name, const std::string& content) const {
    return store_.Put(name, Write(content));
  }
  std::string Read(const std::string& name) const {
    std::stringstream content;
    content << std::ifstream(**store_.Fetch(name)).rdbuf();
    return content.str();
  }
  fs::path Root() const { return folder_ / "deep" / "store"; }

  const fs::path folder_;
  const FolderStore store_;
};

TEST_F(FolderStoreTest, AnObjectIsReadAsItWasPut) {
  const fs::path file = Write("content");
  ASSERT_TRUE(store_.Put("c/1/2/3", file).ok());
  EXPECT_EQ(Read("c/1/2/3"), "content");
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(FolderStoreTest, PiecesOfAnObjectAreReadForAsLongAsItIsThere) {
  ASSERT_TRUE(Put("c/1", "0123456789").ok());
  EXPECT_EQ(*store_.FetchLocal("c/1"), **store_.Fetch("c/1"));
  const auto reader = store_.OpenReader("c/1", 10).value();
  EXPECT_EQ(reader->Read(2, 4).value(), "2345");
  EXPECT_EQ(reader->Read(10, 0).value(), "");
  EXPECT_EQ(ReasonOf(store_.OpenReader("c/1", 9).value()->Read(2, 4).status()),
            Reason::SEGMENT_CORRUPT);
  ASSERT_TRUE(store_.Delete("c/1").ok());
  EXPECT_EQ(reader->Read(2, 4).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_.FetchLocal("c/1"), nullptr);
}

TEST_F(FolderStoreTest, AnObjectIsNeverReplaced) {
  ASSERT_TRUE(Put("c/1", "first").ok());
  const fs::path second = Write("second");
  EXPECT_EQ(store_.Put("c/1", second).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Read("c/1"), "first");
  EXPECT_TRUE(fs::exists(second));
}

TEST_F(FolderStoreTest, OfConcurrentPutsOfOneNameExactlyOneWins) {
  for (int round = 0; round < 20; ++round) {
    constexpr int kWriters = 4;
    const std::string name = "c/" + std::to_string(round);
    std::barrier start(kWriters);
    std::atomic<int> winner = -1;
    std::atomic<int> losers = 0;
    {
      std::vector<std::jthread> writers;
      writers.reserve(kWriters);
      for (int i = 0; i < kWriters; ++i) {
        writers.emplace_back([&, i] {
          const fs::path file = Write(std::to_string(i));
          start.arrive_and_wait();
          const absl::Status status = store_.Put(name, file);
          if (status.ok()) winner = i;
          if (status.code() == absl::StatusCode::kAlreadyExists) ++losers;
        });
      }
    }
    EXPECT_EQ(losers, kWriters - 1);
    EXPECT_EQ(Read(name), std::to_string(winner));
  }
}

TEST_F(FolderStoreTest, PutsAndDeletesOfNeighboursDoNotDisturbEachOther) {
  std::vector<std::jthread> threads;
  threads.reserve(3);
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        const std::string name = "c/1/2/" + std::to_string(i);
        EXPECT_TRUE(Put(name, "x").ok());
        EXPECT_TRUE(store_.List("c").ok());
        EXPECT_TRUE(store_.Delete(name).ok());
      }
    });
  }
  threads.clear();
  EXPECT_FALSE(fs::exists(Root() / "c"));
}

TEST_F(FolderStoreTest, AMissingObjectIsNotFound) {
  ASSERT_TRUE(Put("c/1/2", "x").ok());
  EXPECT_EQ(store_.Fetch("c/2").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_.Fetch("c/1").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(FolderStoreTest, DeleteRemovesTheFoldersItLeavesEmptyAndMayBeRepeated) {
  ASSERT_TRUE(Put("c/1/2/3", "x").ok());
  ASSERT_TRUE(Put("c/2/1/1", "x").ok());
  EXPECT_TRUE(store_.Delete("c/1/2/3").ok());
  EXPECT_FALSE(fs::exists(Root() / "c/1"));
  EXPECT_TRUE(fs::exists(Root() / "c/2"));
  EXPECT_TRUE(store_.Delete("c/1/2/3").ok());
  EXPECT_TRUE(store_.Delete("c/2/1/1").ok());
  EXPECT_TRUE(fs::exists(Root()));
}

TEST_F(FolderStoreTest, ADeleteThatACrashCutShortIsFinishedByTheNext) {
  fs::create_directories(Root() / "c/1/2");
  EXPECT_TRUE(store_.Delete("c/1/2/3").ok());
  EXPECT_FALSE(fs::exists(Root() / "c"));
}

TEST_F(FolderStoreTest, AnOpenObjectOutlivesItsDeletion) {
  ASSERT_TRUE(Put("c/1", "content").ok());
  std::ifstream file(**store_.Fetch("c/1"));
  ASSERT_TRUE(store_.Delete("c/1").ok());
  std::stringstream content;
  content << file.rdbuf();
  EXPECT_EQ(content.str(), "content");
}

TEST_F(FolderStoreTest, ListIsSortedAndKeepsToItsPrefix) {
  for (const char* name : {"c/2/1", "c/1/10", "c/1/9", "cc/1/1", "d"}) {
    ASSERT_TRUE(Put(name, "x").ok());
  }
  EXPECT_THAT(store_.List("c").value(), ElementsAre("c/1/10", "c/1/9", "c/2/1"));
  EXPECT_THAT(store_.List("c/1").value(), ElementsAre("c/1/10", "c/1/9"));
  EXPECT_THAT(store_.List("").value(), ElementsAre("c/1/10", "c/1/9", "c/2/1", "cc/1/1", "d"));
  EXPECT_THAT(store_.List("e").value(), IsEmpty());
}

TEST_F(FolderStoreTest, WhatIsNotPutYetIsNotListed) {
  Write("half");
  EXPECT_THAT(store_.List("").value(), IsEmpty());
}

TEST_F(FolderStoreTest, NamesThatAreNoNamesAreRefused) {
  const fs::path file = Write("x");
  for (const char* name :
       {"", "/", "/c", "c/", "c//1", ".", "..", "c/../d", "C", "c_1", "c.1", "c 1", "c\n"}) {
    EXPECT_EQ(store_.Put(name, file).code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(store_.Fetch(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(store_.Delete(name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(store_.Put(std::string(201, 'a'), file).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store_.List("../x").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(FolderStoreTest, OpenRemovesWhatACrashLeftADayAgoAndNothingElse) {
  ASSERT_TRUE(Put("c/1", "x").ok());
  const fs::path fresh = Write("still being written");
  const fs::path old = Write("left behind");
  const fs::path old_folder = store_.NewTemporaryPath();
  fs::create_directory(old_folder);
  std::ofstream(old_folder / "part") << "x";
  const auto long_ago = fs::file_time_type::clock::now() - std::chrono::hours(25);
  for (const fs::path& path : {old, old_folder, **store_.Fetch("c/1")}) {
    fs::last_write_time(path, long_ago);
  }
  ASSERT_TRUE(FolderStore::Open(Root()).ok());
  EXPECT_TRUE(fs::exists(fresh));
  EXPECT_FALSE(fs::exists(old));
  EXPECT_FALSE(fs::exists(old_folder));
  EXPECT_EQ(Read("c/1"), "x");
}

TEST_F(FolderStoreTest, AMissingFileCannotBePut) {
  const absl::Status error = store_.Put("c/1", store_.NewTemporaryPath());
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(error.message()), HasSubstr("No such file"));
  EXPECT_EQ(store_.Fetch("c/1").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(FolderStoreTest, AFolderThatCannotBeCreatedIsNamed) {
  std::ofstream(folder_ / "file") << "x";
  const absl::Status error = FolderStore::Open(folder_ / "file" / "store").status();
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(error.message()), HasSubstr("file/store"));
}

}  // namespace
}  // namespace sluice
