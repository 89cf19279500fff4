#include "services/compactor/vector_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>

#include "tests/support/small_disk.h"
#include "tests/support/temp_folder.h"

namespace sluice::compactor {
namespace {

constexpr uint32_t kDimension = 4;

TextKey Key(std::string_view text) { return KeyOfText("served", "model", kDimension, text); }
std::vector<float> Vector(int n) { return std::vector<float>(kDimension, static_cast<float>(n)); }

class VectorCacheTest : public ::testing::Test {
 protected:
  void Open(uint64_t bytes = 1 << 20) {
    cache_.reset();
    auto cache = VectorCache::Open(folder_.path() / "vectors", bytes);
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
  }
  void Put(std::string_view text, int n) {
    const std::vector<float> vector = Vector(n);
    const VectorCache::Entry entry{Key(text), vector};
    cache_->Put({&entry, 1});
  }
  std::optional<std::vector<float>> Find(const TextKey& key) const {
    return cache_->Find({&key, 1}, kDimension)[0];
  }
  std::vector<std::filesystem::path> Files() const {
    std::vector<std::filesystem::path> files;
    for (const auto& file : std::filesystem::recursive_directory_iterator(folder_.path())) {
      if (file.is_regular_file()) files.push_back(file.path());
    }
    return files;
  }

  sluice::testing::TempFolder folder_;
  std::unique_ptr<VectorCache> cache_;
};

TEST_F(VectorCacheTest, FindsWhatWasPutAlsoAfterARestart) {
  Open();
  Put("a", 1);
  Put("b", 2);
  EXPECT_EQ(Find(Key("a")), Vector(1));
  Open();
  const std::vector<TextKey> keys = {Key("b"), Key("c"), Key("a")};
  EXPECT_THAT(cache_->Find(keys, kDimension),
              ::testing::ElementsAre(Vector(2), std::nullopt, Vector(1)));
}

TEST_F(VectorCacheTest, AVectorIsOfOneTextModelEmbedderAndDimension) {
  Open();
  Put("text", 1);
  EXPECT_FALSE(Find(Key("Text")));
  EXPECT_FALSE(Find(KeyOfText("served", "model2", kDimension, "text")));
  EXPECT_FALSE(Find(KeyOfText("other", "model", kDimension, "text")));
  EXPECT_FALSE(Find(KeyOfText("served", "model", kDimension + 1, "text")));
  EXPECT_NE(KeyOfText("ab", "c", kDimension, "text"), KeyOfText("a", "bc", kDimension, "text"));
  const TextKey key = Key("text");
  EXPECT_FALSE(cache_->Find({&key, 1}, kDimension + 1)[0]);
}

TEST_F(VectorCacheTest, KeepsTheNewestWithinItsBytes) {
  constexpr uint64_t kBytes = 1 << 20;
  constexpr int kTexts = 100'000;
  Open(kBytes);
  for (int i = 0; i < kTexts; ++i) Put(std::to_string(i), i);
  Open(kBytes);
  uint64_t bytes = 0;
  for (const auto& file : Files()) bytes += std::filesystem::file_size(file);
  EXPECT_LT(bytes, 2 * kBytes);
  EXPECT_EQ(Find(Key(std::to_string(kTexts - 1))), Vector(kTexts - 1));
  EXPECT_FALSE(Find(Key("0")));
}

TEST_F(VectorCacheTest, AFolderInUseIsLeftAlone) {
  Open();
  Put("a", 1);
  EXPECT_TRUE(absl::IsUnavailable(VectorCache::Open(folder_.path() / "vectors", 1 << 20).status()));
  EXPECT_EQ(Find(Key("a")), Vector(1));
  Open();
  EXPECT_EQ(Find(Key("a")), Vector(1));
}

TEST_F(VectorCacheTest, DamageIsAMiss) {
  Open();
  for (int i = 0; i < 100; ++i) Put(std::to_string(i), i);
  cache_.reset();
  for (const auto& file : Files()) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    for (uint64_t at = 0; at < std::filesystem::file_size(file); at += 512) {
      stream.seekp(static_cast<std::streamoff>(at));
      stream.put('\x5a');
    }
  }
  Open();
  for (int i = 0; i < 100; ++i) {
    const auto found = Find(Key(std::to_string(i)));
    EXPECT_TRUE(!found || *found == Vector(i));
  }
  Put("new", 7);
  EXPECT_EQ(Find(Key("new")), Vector(7));
}

TEST_F(VectorCacheTest, ADiskThatFillsUpEndsNothing) {
  const sluice::testing::SmallDisk disk(folder_.path() / "disk", 4);
  if (disk.error() != 0) {
    GTEST_SKIP() << "no file system can be mounted here: " << std::strerror(disk.error());
  }
  auto cache = VectorCache::Open(disk.path() / "vectors", 64 << 20);
  ASSERT_TRUE(cache.ok()) << cache.status();
  std::ofstream(disk.path() / "filler") << std::string(2 << 20, 'x');
  for (int i = 0; i < 200'000; ++i) {
    const std::vector<float> vector = Vector(i);
    const VectorCache::Entry entry{Key(std::to_string(i)), vector};
    (*cache)->Put({&entry, 1});
  }
  const TextKey first = Key("0");
  const auto found = (*cache)->Find({&first, 1}, kDimension)[0];
  EXPECT_TRUE(!found || *found == Vector(0));
  cache->reset();
  EXPECT_TRUE(absl::IsUnavailable(VectorCache::Open(disk.path() / "vectors", 64 << 20).status()));
}

}  // namespace
}  // namespace sluice::compactor
