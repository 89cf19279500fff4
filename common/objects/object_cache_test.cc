#include "common/objects/object_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <fstream>
#include <latch>
#include <sstream>
#include <thread>

#include "common/objects/sha256.h"
#include "tests/support/temp_folder.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

class ObjectCacheTest : public ::testing::Test {
 protected:
  void Open(uint64_t max_bytes) {
    cache_.reset();
    cache_ = *ObjectCache::Open(folder_.path(), max_bytes);
  }
  // Of an object whose content is `content`.
  absl::StatusOr<ObjectFile> Get(const std::string& name,
                                 const std::string& content = "0123456789") {
    return cache_->Get(name, [&](const fs::path& to) -> absl::StatusOr<std::string> {
      ++downloads_;
      std::ofstream(to) << content;
      return Sha256Of(content);
    });
  }
  static std::string Read(const ObjectFile& file) {
    std::stringstream content;
    content << std::ifstream(*file).rdbuf();
    return content.str();
  }

  const testing::TempFolder folder_;
  std::unique_ptr<ObjectCache> cache_;
  std::atomic<int> downloads_ = 0;
};

TEST_F(ObjectCacheTest, AnObjectIsDownloadedOnce) {
  Open(100);
  EXPECT_EQ(Read(*Get("c/1")), "0123456789");
  EXPECT_EQ(Read(*Get("c/1")), "0123456789");
  EXPECT_EQ(downloads_, 1);
}

TEST_F(ObjectCacheTest, TheLeastRecentlyUsedGoesFirst) {
  Open(30);
  for (const char* name : {"c/1", "c/2", "c/3", "c/1", "c/4"}) ASSERT_TRUE(Get(name).ok());
  EXPECT_EQ(downloads_, 4);
  ASSERT_TRUE(Get("c/1").ok());
  EXPECT_EQ(downloads_, 4);
  ASSERT_TRUE(Get("c/2").ok());
  EXPECT_EQ(downloads_, 5);
}

TEST_F(ObjectCacheTest, WhatIsHeldStays) {
  Open(10);
  const ObjectFile held = *Get("c/1");
  ASSERT_TRUE(Get("c/2").ok());
  ASSERT_TRUE(Get("c/3").ok());
  EXPECT_TRUE(fs::exists(*held));
  ASSERT_TRUE(Get("c/1").ok());
  EXPECT_EQ(downloads_, 3);
}

// Each download fails, so that whoever has its outcome without one of his own has waited for it.
TEST_F(ObjectCacheTest, ManyWhoWaitHaveOneDownload) {
  Open(100);
  constexpr int kReaders = 8;
  std::atomic<int> at_once = 0, shared = 0;
  // Until all but one have waited, which they did not if they came too late.
  while (shared < kReaders - 1) {
    shared = 0;
    std::barrier start(kReaders);
    std::vector<std::jthread> readers;
    readers.reserve(kReaders);
    for (int i = 0; i < kReaders; ++i) {
      readers.emplace_back([&] {
        bool is_mine = false;
        start.arrive_and_wait();
        const auto got = cache_->Get("c/1", [&](const fs::path&) -> absl::StatusOr<std::string> {
          is_mine = true;
          EXPECT_EQ(++at_once, 1);
          for (int yields = 0; yields < 1'000; ++yields) std::this_thread::yield();
          --at_once;
          // Without words, which would be counted by Abseil, and no thread sanitizer sees that.
          return absl::AbortedError("");
        });
        EXPECT_TRUE(absl::IsAborted(got.status()));
        if (!is_mine) ++shared;
      });
    }
  }
}

TEST_F(ObjectCacheTest, ADownloadThatFailedLeavesNothingAndIsTriedAgain) {
  Open(100);
  const auto failed = cache_->Get("c/1", [](const fs::path& to) -> absl::StatusOr<std::string> {
    std::ofstream(to) << "half";
    return absl::UnavailableError("no");
  });
  EXPECT_EQ(failed.status().message(), "no");
  EXPECT_TRUE(fs::is_empty(folder_.path() / ".tmp"));
  EXPECT_EQ(Read(*Get("c/1")), "0123456789");
}

TEST_F(ObjectCacheTest, WhoWaitsIsNotHeldToThePatienceOfTheOneWhoDownloads) {
  Open(100);
  std::latch begun(1), end(1);
  std::stop_source first;
  std::jthread impatient([&] {
    const auto given_up = cache_->Get("c/1",
                                      [&](const fs::path&) -> absl::StatusOr<std::string> {
                                        begun.count_down();
                                        end.wait();
                                        return absl::CancelledError("given up");
                                      },
                                      {.given_up = first.get_token()});
    EXPECT_EQ(given_up.status().code(), absl::StatusCode::kCancelled);
  });
  begun.wait();
  // The others have less, or more.
  std::stop_source second;
  second.request_stop();
  const auto never = [](const fs::path&) -> absl::StatusOr<std::string> {
    ADD_FAILURE();
    return "";
  };
  EXPECT_EQ(cache_->Get("c/1", never, {.given_up = second.get_token()}).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(
      cache_->Get("c/1", never, {.deadline = std::chrono::steady_clock::now()}).status().code(),
      absl::StatusCode::kUnavailable);
  std::jthread patient([&] { EXPECT_EQ(Read(*Get("c/1")), "0123456789"); });
  first.request_stop();
  end.count_down();
  patient.join();
  EXPECT_EQ(downloads_, 1);
}

TEST_F(ObjectCacheTest, FindsOnlyWhatIsHereAndWhole) {
  Open(100);
  EXPECT_EQ(cache_->Find("c/1"), nullptr);
  ASSERT_TRUE(Get("c/1").ok());
  const fs::path torn = **Get("c/2");
  EXPECT_EQ(Read(cache_->Find("c/1")), "0123456789");
  std::ofstream(torn) << "012345678x";
  Open(100);
  EXPECT_EQ(Read(cache_->Find("c/1")), "0123456789");
  EXPECT_EQ(cache_->Find("c/2"), nullptr);
  EXPECT_FALSE(fs::exists(torn));
}

TEST_F(ObjectCacheTest, ARestartFindsWhatIsWholeAndNothingElse) {
  Open(100);
  const fs::path good = **Get("c/1");
  const fs::path torn = **Get("c/2");
  std::ofstream(cache_->NewTemporaryPath()) << "half";
  std::ofstream(torn) << "012345678x";
  Open(100);
  EXPECT_TRUE(fs::is_empty(folder_.path() / ".tmp"));
  EXPECT_EQ(Read(*Get("c/1")), "0123456789");
  EXPECT_EQ(downloads_, 2);
  EXPECT_EQ(Read(*Get("c/2")), "0123456789");
  EXPECT_EQ(downloads_, 3);
  Open(10);
  EXPECT_NE(fs::exists(good), fs::exists(torn));
}

TEST_F(ObjectCacheTest, WhatIsRemovedIsDownloadedAgain) {
  Open(100);
  ASSERT_TRUE(Get("c/1").ok());
  cache_->Remove("c/1");
  ASSERT_TRUE(Get("c/1").ok());
  EXPECT_EQ(downloads_, 2);
}

TEST_F(ObjectCacheTest, AFolderIsOfOneProcess) {
  Open(100);
  EXPECT_EQ(ObjectCache::Open(folder_.path(), 100).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace sluice
