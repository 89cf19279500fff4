#include "services/compactor/garbage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "common/objects/folder_store.h"
#include "tests/support/temp_folder.h"

namespace sluice::compactor {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr Incarnation kIncarnation(0xabc);

// Invariant 11: data goes only where an entry of the list says so.
class GarbageTest : public ::testing::Test {
 protected:
  GarbageTest() : objects_(*FolderStore::Open(folder_.path())) {}

  std::string Put(const CollectionId& collection, Incarnation incarnation, uint64_t token,
                  uint64_t number) {
    const auto path = objects_.NewTemporaryPath();
    std::ofstream(path) << "x";
    std::string name = SegmentObjectName(collection, incarnation, token, number);
    EXPECT_TRUE(objects_.Put(name, path).ok());
    return name;
  }

  v1::GarbageEntry Entry() const {
    v1::GarbageEntry entry;
    entry.set_collection_id(collection_.ToString());
    entry.set_incarnation(kIncarnation.value);
    return entry;
  }

  std::vector<std::string> Named(const v1::GarbageEntry& entry) {
    const auto names = ObjectsOf(entry, objects_);
    EXPECT_TRUE(names.ok()) << names.status();
    return names.value_or(std::vector<std::string>());
  }

  sluice::testing::TempFolder folder_;
  FolderStore objects_;
  const CollectionId collection_{Uuid::Random()};
};

TEST_F(GarbageTest, AReplacedSegmentIsThatObjectAlone) {
  Put(collection_, kIncarnation, 7, 1);
  const std::string second = Put(collection_, kIncarnation, 7, 2);
  v1::GarbageEntry entry = Entry();
  entry.mutable_segment()->set_token(7);
  entry.mutable_segment()->set_number(2);
  EXPECT_THAT(Named(entry), ElementsAre(second));
}

TEST_F(GarbageTest, AnEndedTokenKeepsWhatItCommittedAndWhatOthersWrote) {
  const std::string orphan = Put(collection_, kIncarnation, 7, 1);
  Put(collection_, kIncarnation, 7, 2);
  const std::string late = Put(collection_, kIncarnation, 7, 12);
  Put(collection_, kIncarnation, 70, 1);
  Put(collection_, Incarnation(1), 7, 1);
  Put(CollectionId(Uuid::Random()), kIncarnation, 7, 1);
  v1::GarbageEntry entry = Entry();
  entry.mutable_ended_token()->set_token(7);
  entry.mutable_ended_token()->add_committed_objects(2);
  EXPECT_THAT(Named(entry), UnorderedElementsAre(orphan, late));
}

TEST_F(GarbageTest, AnEndedTokenThatWroteNothingNamesNothing) {
  v1::GarbageEntry entry = Entry();
  entry.mutable_ended_token()->set_token(7);
  EXPECT_THAT(Named(entry), IsEmpty());
}

TEST_F(GarbageTest, ADeletedCollectionIsItsObjectsOfThatIncarnation) {
  const std::string first = Put(collection_, kIncarnation, 1, 1);
  const std::string second = Put(collection_, kIncarnation, 2, 1);
  Put(collection_, Incarnation(1), 1, 1);
  Put(CollectionId(Uuid::Random()), kIncarnation, 1, 1);
  v1::GarbageEntry entry = Entry();
  entry.set_whole_collection(true);
  EXPECT_THAT(Named(entry), UnorderedElementsAre(first, second));
}

TEST_F(GarbageTest, AnEntryThatIsNotUnderstoodNamesNothing) {
  Put(collection_, kIncarnation, 1, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(ObjectsOf(Entry(), objects_).status()));
  v1::GarbageEntry entry = Entry();
  entry.set_whole_collection(false);
  EXPECT_FALSE(ObjectsOf(entry, objects_).ok());
  entry.mutable_ended_token();
  EXPECT_FALSE(ObjectsOf(entry, objects_).ok());
  entry.set_whole_collection(true);
  entry.set_incarnation(0);
  EXPECT_FALSE(ObjectsOf(entry, objects_).ok());
  entry.set_incarnation(kIncarnation.value);
  entry.set_collection_id("..");
  EXPECT_FALSE(ObjectsOf(entry, objects_).ok());
}

}  // namespace
}  // namespace sluice::compactor
