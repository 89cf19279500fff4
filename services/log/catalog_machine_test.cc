#include <gtest/gtest.h>

#include "common/errors/errors.h"
#include "services/log/machine_harness.h"
#include "services/log/reader.h"
#include "services/log/test_support.h"

namespace sluice::log {
namespace {

class CatalogMachineTest : public testing::Test {
 protected:
  CatalogMachineTest() { machine_.Configure(); }

  Result Create(const CollectionId& id, const std::string& name, bool get_or_create = false,
                uint32_t dimension = 0) {
    pb::Command command;
    auto& create = *command.mutable_create_collection();
    create.mutable_collection()->set_id(id.ToString());
    create.mutable_collection()->set_tenant("tenant");
    create.mutable_collection()->set_database("database");
    create.mutable_collection()->set_name(name);
    create.mutable_collection()->mutable_schema()->set_dimension(dimension);
    create.set_get_or_create(get_or_create);
    return machine_.Apply(Command(command));
  }
  Result Activate(const CollectionId& id) {
    pb::Command command;
    command.mutable_activate_collection()->set_collection_id(std::string(id.view()));
    return machine_.Apply(Command(command));
  }
  Result Update(const CollectionId& id, uint64_t backlog, uint64_t expected_version = 0) {
    pb::Command command;
    auto& update = *command.mutable_update_settings();
    update.set_collection_id(std::string(id.view()));
    update.mutable_settings()->set_max_backlog_bytes(backlog);
    update.set_expected_version(expected_version);
    return machine_.Apply(Command(command));
  }
  Result BeginDelete(const CollectionId& id) {
    pb::Command command;
    command.mutable_begin_delete()->set_collection_id(std::string(id.view()));
    return machine_.Apply(Command(command));
  }
  Result FinishDelete(const CollectionId& id) {
    pb::Command command;
    command.mutable_finish_delete()->set_collection_id(std::string(id.view()));
    return machine_.Apply(Command(command));
  }
  v1::CollectionState StateOf(const CollectionId& id) {
    return ReadCollection(Snapshot(machine_.store()), id)->state();
  }
  static CollectionAnswer Answer(const Result& result) {
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? std::get<CollectionAnswer>(*result) : CollectionAnswer();
  }
  static std::optional<Reason> ReasonIn(const Result& result) { return ReasonOf(result.status()); }

  const CollectionId id_ = NewCollectionId();
  const CollectionId other_ = NewCollectionId();
  MachineHarness machine_;
};

TEST_F(CatalogMachineTest, ACollectionIsCreatedThenActivatedAndFoundByName) {
  const CollectionAnswer created = Answer(Create(id_, "name"));
  EXPECT_TRUE(created.created);
  EXPECT_EQ(created.collection.state(), v1::COLLECTION_STATE_CREATING);
  EXPECT_EQ(created.collection.version(), 1);
  EXPECT_EQ(created.collection.created_time_us(), machine_.time_us);
  EXPECT_EQ(Answer(Activate(id_)).collection.state(), v1::COLLECTION_STATE_ACTIVE);
  EXPECT_TRUE(Activate(id_).ok());
  const auto found = FindCollection(Snapshot(machine_.store()), "tenant", "database", "name");
  EXPECT_EQ(found->id(), id_.ToString());
  EXPECT_EQ(FindCollection(Snapshot(machine_.store()), "tenant", "database", "nam").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(CatalogMachineTest, ARepeatedCreateIsRecognisedByItsId) {
  const CollectionAnswer first = Answer(Create(id_, "name"));
  const CollectionAnswer again = Answer(Create(id_, "name"));
  EXPECT_TRUE(again.created);
  EXPECT_EQ(again.collection.SerializeAsString(), first.collection.SerializeAsString());
}

TEST_F(CatalogMachineTest, ANameOrAnIdThatIsTakenIsRefused) {
  ASSERT_TRUE(Create(id_, "name").ok());
  const Result taken = Create(other_, "name");
  EXPECT_EQ(ReasonIn(taken), Reason::COLLECTION_EXISTS);
  EXPECT_EQ(ErrorMetadata(taken.status(), "collection_id"), id_.ToString());
  EXPECT_EQ(ReasonIn(Create(id_, "other name")), Reason::COLLECTION_EXISTS);
}

TEST_F(CatalogMachineTest, GetOrCreateGivesTheCollectionUnlessItsSchemaIsAnother) {
  ASSERT_TRUE(Create(id_, "name", false, 3).ok());
  const CollectionAnswer got = Answer(Create(other_, "name", true, 3));
  EXPECT_FALSE(got.created);
  EXPECT_EQ(got.collection.id(), id_.ToString());
  EXPECT_EQ(ReasonIn(Create(other_, "name", true, 4)), Reason::SCHEMA_MISMATCH);
}

TEST_F(CatalogMachineTest, SettingsAreVersioned) {
  ASSERT_TRUE(Create(id_, "name").ok());
  EXPECT_EQ(Answer(Update(id_, 10, 1)).collection.version(), 2);
  EXPECT_EQ(Answer(Update(id_, 10, 1)).collection.version(), 2) << "a repeated call";
  const Result stale = Update(id_, 20, 1);
  EXPECT_EQ(ReasonIn(stale), Reason::VERSION_MISMATCH);
  EXPECT_EQ(ErrorMetadata(stale.status(), "version"), "2");
  EXPECT_EQ(Answer(Update(id_, 20)).collection.version(), 3);
}

TEST_F(CatalogMachineTest, ADeletedCollectionsNameIsFreeOnceItIsDeleted) {
  ASSERT_TRUE(Create(id_, "name").ok());
  ASSERT_TRUE(Activate(id_).ok());
  EXPECT_EQ(Answer(BeginDelete(id_)).collection.state(), v1::COLLECTION_STATE_ACTIVE);
  EXPECT_EQ(StateOf(id_), v1::COLLECTION_STATE_DELETING);
  EXPECT_EQ(ReasonIn(Create(other_, "name")), Reason::COLLECTION_EXISTS);
  EXPECT_EQ(ReasonIn(Create(id_, "name")), Reason::COLLECTION_DELETED);
  EXPECT_EQ(ReasonIn(Activate(id_)), Reason::COLLECTION_DELETED);
  EXPECT_EQ(ReasonIn(Update(id_, 1)), Reason::COLLECTION_DELETED);
  ASSERT_TRUE(FinishDelete(id_).ok());
  EXPECT_EQ(StateOf(id_), v1::COLLECTION_STATE_DELETED);
  EXPECT_TRUE(Create(other_, "name").ok());
  ASSERT_TRUE(FinishDelete(id_).ok());
  EXPECT_TRUE(BeginDelete(id_).ok());
  EXPECT_TRUE(FindCollection(Snapshot(machine_.store()), "tenant", "database", "name").ok());
  EXPECT_EQ(ReasonIn(Create(id_, "name2")), Reason::COLLECTION_DELETED);
}

TEST_F(CatalogMachineTest, UnknownCollectionsAreNotFound) {
  EXPECT_EQ(ReasonIn(Activate(id_)), Reason::COLLECTION_NOT_FOUND);
  EXPECT_EQ(ReasonIn(Update(id_, 1)), Reason::COLLECTION_NOT_FOUND);
  EXPECT_EQ(ReasonIn(BeginDelete(id_)), Reason::COLLECTION_NOT_FOUND);
  EXPECT_EQ(ReasonIn(FinishDelete(id_)), Reason::COLLECTION_NOT_FOUND);
}

TEST_F(CatalogMachineTest, ListsAreInOrderOfNamesAndPaged) {
  for (const char* name : {"c", "a", "d", "b"}) {
    const CollectionId id = NewCollectionId();
    ASSERT_TRUE(Create(id, name).ok());
    if (std::string(name) == "d") continue;
    ASSERT_TRUE(Activate(id).ok());
  }
  const Snapshot snapshot(machine_.store());
  const auto one = ListCollections(snapshot, "tenant", "database", "", 2);
  ASSERT_EQ(one->collections.size(), 2);
  EXPECT_EQ(one->collections[0].name(), "a");
  EXPECT_EQ(one->collections[1].name(), "b");
  const auto two = ListCollections(snapshot, "tenant", "database", one->next, 2);
  ASSERT_EQ(two->collections.size(), 1);
  EXPECT_EQ(two->collections[0].name(), "c");
  EXPECT_EQ(two->next, "");
  EXPECT_TRUE(ListCollections(snapshot, "tenan", "", "", 10)->collections.empty());
  EXPECT_EQ(ListCollections(snapshot, "", "", "", 10)->collections.size(), 3);
  const auto unsettled = ListUnsettledCollections(snapshot);
  ASSERT_EQ(unsettled->size(), 1);
  EXPECT_EQ(unsettled->front().name(), "d");
}

}  // namespace
}  // namespace sluice::log
