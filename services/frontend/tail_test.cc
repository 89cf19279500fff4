#include "services/frontend/tail.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace sluice::frontend {
namespace {

const IdHasher kHasher("0123456789abcdef");

// Records of the ids given, with SeqIds from `first`.
std::shared_ptr<const v1::ReadViewResponse> Message(uint64_t first,
                                                    const std::vector<std::string>& ids) {
  auto message = std::make_shared<v1::ReadViewResponse>();
  v1::Append* append = message->add_appends();
  append->set_first_seq_id(first);
  for (const std::string& id : ids) append->add_records()->set_id(id);
  return message;
}

using Model = std::map<IdHash, std::vector<uint64_t>>;

std::vector<uint64_t> SeqIds(std::span<const RecordAt> records) {
  std::vector<uint64_t> seq_ids;
  for (const RecordAt& at : records) seq_ids.push_back(at.seq_id.value);
  return seq_ids;
}

Model Contents(const Tail& tail, std::optional<IdHash> after = std::nullopt) {
  Model contents;
  std::optional<IdHash> last = after;
  for (Tail::Cursor cursor(tail, after); !cursor.done(); cursor.Next()) {
    EXPECT_TRUE(!last || *last < cursor.id());
    last = cursor.id();
    contents[cursor.id()] = SeqIds(cursor.records());
    EXPECT_EQ(SeqIds(tail.Find(cursor.id())), contents[cursor.id()]);
  }
  return contents;
}

TEST(TailTest, KnowsTheRecordsOfEachIdInOrder) {
  const Tail tail =
      Tail().With(Message(5, {"a", "b", "a"}), kHasher).With(Message(8, {"c", "a"}), kHasher);
  EXPECT_EQ(tail.records(), 5u);
  EXPECT_EQ(SeqIds(tail.Find(kHasher("a"))), (std::vector<uint64_t>{5, 7, 9}));
  EXPECT_EQ(SeqIds(tail.Find(kHasher("b"))), (std::vector<uint64_t>{6}));
  EXPECT_TRUE(tail.Find(kHasher("d")).empty());
}

TEST(TailTest, IsNotChangedByTheTailsThatFollowIt) {
  const Tail before = Tail().With(Message(1, {"a", "b"}), kHasher);
  const Model contents = Contents(before);
  const Tail after = before.With(Message(3, {"a"}), kHasher).After(SeqId(1));
  EXPECT_EQ(Contents(before), contents);
  EXPECT_EQ(after.records(), 2u);
}

TEST(TailTest, ForgetsMessagesOnceNoneOfTheirRecordsIsLeft) {
  std::weak_ptr<const v1::ReadViewResponse> first;
  Tail tail;
  {
    const auto message = Message(1, {"a", "b"});
    first = message;
    tail = Tail().With(message, kHasher).With(Message(3, {"c", "d", "e"}), kHasher);
  }
  tail = tail.After(SeqId(1));
  EXPECT_FALSE(first.expired());
  const uint64_t bytes = tail.bytes();
  tail = tail.After(SeqId(2));
  EXPECT_TRUE(first.expired());
  EXPECT_LT(tail.bytes(), bytes);
  EXPECT_EQ(tail.records(), 3u);
  EXPECT_EQ(tail.After(SeqId(5)).records(), 0u);
  EXPECT_EQ(tail.After(SeqId(5)).bytes(), 0u);
}

TEST(TailTest, AgreesWithAMapWhateverIsAddedAndDropped) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Tail tail;
    Model model;
    uint64_t next = 1, applied = 0;
    for (int step = 0; step < 60; ++step) {
      std::vector<std::string> ids(random() % 40);
      for (std::string& id : ids) id = std::to_string(random() % 50);
      tail = tail.With(Message(next, ids), kHasher);
      for (const std::string& id : ids) model[kHasher(id)].push_back(next++);
      if (random() % 4 == 0) {
        applied += random() % (next - applied);
        tail = tail.After(SeqId(applied));
        for (auto& [id, seq_ids] : model) {
          std::erase_if(seq_ids, [&](uint64_t seq_id) { return seq_id <= applied; });
        }
        std::erase_if(model, [](const auto& entry) { return entry.second.empty(); });
      }
      ASSERT_EQ(Contents(tail), model);
      const IdHash after = kHasher(std::to_string(random() % 50));
      ASSERT_EQ(Contents(tail, after), Model(model.upper_bound(after), model.end()));
      ASSERT_EQ(tail.records(), next - 1 - applied);
    }
  }
}

}  // namespace
}  // namespace sluice::frontend
