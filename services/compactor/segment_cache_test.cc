#include "services/compactor/segment_cache.h"

#include <gtest/gtest.h>

#include "common/objects/folder_store.h"
#include "tests/support/temp_folder.h"

namespace sluice::compactor {
namespace {

constexpr Incarnation kIncarnation(3);

class SegmentCacheTest : public ::testing::Test {
 protected:
  // A segment of one row.
  v1::SegmentInfo Store(const CollectionId& collection, uint64_t number) {
    const auto path = objects_->NewTemporaryPath();
    auto writer = SegmentWriter::Create(path, 0);
    EXPECT_TRUE(writer.ok()) << writer.status();
    Row row;
    row.id = std::to_string(number);
    EXPECT_TRUE((*writer)->Add(IdHash{number, number}, row).ok());
    auto info = (*writer)->Finish();
    EXPECT_TRUE(info.ok()) << info.status();
    info->set_token(1);
    info->set_number(number);
    EXPECT_TRUE(objects_->Put(SegmentObjectName(collection, kIncarnation, 1, number), path).ok());
    return *info;
  }

  sluice::testing::TempFolder folder_;
  const absl::StatusOr<FolderStore> objects_ = FolderStore::Open(folder_.path());
  const CollectionId a_{Uuid::Random()};
  const CollectionId b_{Uuid::Random()};
};

TEST_F(SegmentCacheTest, OpensOnlyWhatIsNew) {
  SegmentCache cache(*objects_, 1 << 20);
  std::vector<v1::SegmentInfo> segments = {Store(a_, 1)};
  const auto first = cache.Load(a_, kIncarnation, segments);
  ASSERT_TRUE(first.ok()) << first.status();
  segments.push_back(Store(a_, 2));
  const auto second = cache.Load(a_, kIncarnation, segments);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ((*second)->segments()[0], (*first)->segments()[0]);
  EXPECT_EQ((*second)->live_count(), 2u);
}

TEST_F(SegmentCacheTest, TheLeastRecentlyUsedCollectionGoesFirst) {
  SegmentCache cache(*objects_, 0);
  const std::vector<v1::SegmentInfo> a = {Store(a_, 1)};
  const std::vector<v1::SegmentInfo> b = {Store(b_, 1)};
  const auto before = cache.Load(a_, kIncarnation, a);
  ASSERT_TRUE(cache.Load(b_, kIncarnation, b).ok());
  const auto after = cache.Load(a_, kIncarnation, a);
  ASSERT_TRUE(after.ok());
  EXPECT_NE((*before)->segments()[0], (*after)->segments()[0]);
}

TEST_F(SegmentCacheTest, AMissingObjectIsNamed) {
  SegmentCache cache(*objects_, 1 << 20);
  v1::SegmentInfo info = Store(a_, 1);
  info.set_number(9);
  const auto view = cache.Load(a_, kIncarnation, std::vector{info});
  EXPECT_TRUE(absl::IsNotFound(view.status()));
  EXPECT_NE(view.status().message().find(SegmentObjectName(a_, kIncarnation, 1, 9)),
            absl::string_view::npos);
}

}  // namespace
}  // namespace sluice::compactor
