// Predecessors and conditions of pushes: what is refused, with which state of the log, and that
// nothing is written then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/record/limits.h"
#include "services/log/log_machine_fixture.h"

namespace sluice::log {
namespace {

v1::PushLogsRequest After(const RequestId& predecessor) {
  v1::PushLogsRequest request;
  request.set_predecessor_request_id(predecessor.ToString());
  return request;
}
v1::PushLogsRequest IfTail(uint64_t seq_id) {
  v1::PushLogsRequest request;
  request.set_if_tail_seq_id(seq_id);
  return request;
}
v1::PushLogsRequest IfUnchanged(uint64_t since, const std::vector<std::string>& ids = {}) {
  v1::PushLogsRequest request;
  request.mutable_if_ids_unchanged()->set_since_seq_id(since);
  for (const std::string& id : ids) request.mutable_if_ids_unchanged()->add_ids(id);
  return request;
}

class PushConditionsTest : public LogMachineTest {
 protected:
  Result PushIf(const v1::PushLogsRequest& conditions, const RequestId& request_id = {},
                const std::vector<v1::OperationRecord>& records = {Record("a")}) {
    return Push(records, request_id, Incarnation(0), conditions);
  }
  // Refused for `reason`, and no row of the store is another one than before.
  void ExpectRefused(const v1::PushLogsRequest& conditions, Reason reason,
                     const std::map<std::string, std::string>& metadata = {},
                     const std::vector<v1::OperationRecord>& records = {Record("a")}) {
    const auto before = machine_.LogicalRows();
    const Result result = PushIf(conditions, NewRequestId(), records);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(ReasonIn(result), reason) << result.status();
    for (const auto& [key, value] : metadata) {
      EXPECT_EQ(ErrorMetadata(result.status(), key), value) << key;
    }
    EXPECT_EQ(machine_.LogicalRows(), before);
  }
  // Applies everything, so that it can be trimmed.
  void ApplyAll() {
    machine_.time_us += 11 * kSecond;
    const uint64_t tail = State().tail();
    ASSERT_TRUE(Commit(CompactionOf(Claim(), 1, State().applied(), tail)).ok());
  }
};

TEST_F(PushConditionsTest, AnAppendFollowsThePredecessorThatItNames) {
  const RequestId first = NewRequestId();
  ExpectRefused(After(first), Reason::PREDECESSOR_MISSING);
  ASSERT_TRUE(Push({Record("a")}, first).ok());
  EXPECT_TRUE(PushIf(After(first)).ok());
}

TEST_F(PushConditionsTest, APredecessorMayBeInTheSameGroup) {
  const RequestId first = NewRequestId();
  const RequestId second = NewRequestId();
  const auto after = [&](const RequestId& id) {
    return PushOf(id_, NewRequestId(), {Record("b")}, Incarnation(0), After(id));
  };
  const auto results =
      machine_.ApplyGroup({after(first), PushOf(id_, first, {Record("a")}), after(first),
                           after(second), PushOf(id_, second, {Record("a")})});
  EXPECT_EQ(ReasonIn(results[0]), Reason::PREDECESSOR_MISSING);
  EXPECT_TRUE(results[2].ok());
  EXPECT_EQ(ReasonIn(results[3]), Reason::PREDECESSOR_MISSING);
  EXPECT_EQ(State().tail(), 3);
}

TEST_F(PushConditionsTest, APredecessorInAnotherCollectionIsNone) {
  const CollectionId other = NewCollectionId();
  ASSERT_TRUE(machine_.Apply(OpenLogOf(other)).ok());
  const RequestId first = NewRequestId();
  ASSERT_TRUE(machine_.Apply(PushOf(other, first, {Record("a")})).ok());
  ExpectRefused(After(first), Reason::PREDECESSOR_MISSING);
}

TEST_F(PushConditionsTest, APredecessorPastTheWindowIsNoLongerKnown) {
  const RequestId first = NewRequestId();
  ASSERT_TRUE(Push({Record("a")}, first).ok());
  machine_.time_us += machine_.policy.dedupe_window_us();
  EXPECT_TRUE(PushIf(After(first)).ok());
  machine_.time_us += 2 * kMs;
  EXPECT_EQ(ReasonIn(PushIf(After(first))), Reason::PREDECESSOR_MISSING);
}

TEST_F(PushConditionsTest, AnAppendIfTheTailIsStillThere) {
  EXPECT_TRUE(PushIf(IfTail(0)).ok()) << "the log is empty";
  ExpectRefused(IfTail(0), Reason::TAIL_MOVED, {{"tail_seq_id", "1"}});
  ExpectRefused(IfTail(2), Reason::BEYOND_TAIL, {{"tail_seq_id", "1"}});
  EXPECT_TRUE(PushIf(IfTail(1)).ok());
  EXPECT_EQ(State().tail(), 2);
}

TEST_F(PushConditionsTest, OfTwoThatSawTheSameTailInOneGroupOneIsIn) {
  const auto results =
      machine_.ApplyGroup({PushOf(id_, {}, {Record("a")}, Incarnation(0), IfTail(0)),
                           PushOf(id_, {}, {Record("b")}, Incarnation(0), IfTail(0))});
  EXPECT_TRUE(results[0].ok());
  EXPECT_EQ(ReasonIn(results[1]), Reason::TAIL_MOVED);
}

TEST_F(PushConditionsTest, ADuplicateIsFoundBeforeItsConditionIsLookedAt) {  // invariant 3
  for (const v1::PushLogsRequest& condition :
       {IfTail(0), IfUnchanged(State().tail()), After(NewRequestId())}) {
    const RequestId request_id = NewRequestId();
    ASSERT_TRUE(PushIf(State().tail() == 0 ? condition : v1::PushLogsRequest(), request_id).ok());
    ASSERT_TRUE(Push({Record("b")}).ok());
    const Result again = PushIf(condition, request_id);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(std::get<PushAnswer>(*again).duplicate);
  }
}

TEST_F(PushConditionsTest, AnAppendIfItsOwnIdsDidNotChange) {
  ASSERT_TRUE(Push({Record("a"), Record("b")}).ok());
  ASSERT_TRUE(Push({Record("c"), Record("a")}).ok());
  ExpectRefused(IfUnchanged(2), Reason::IDS_CHANGED,
                {{"id", "a"}, {"seq_id", "4"}, {"tail_seq_id", "4"}});
  EXPECT_TRUE(PushIf(IfUnchanged(4)).ok());
  EXPECT_TRUE(PushIf(IfUnchanged(2), {}, {Record("b"), Record("d")}).ok());
}

TEST_F(PushConditionsTest, AnAppendIfGivenIdsDidNotChange) {
  ASSERT_TRUE(Push({Record("a"), Record("b"), Record("c")}).ok());
  ExpectRefused(IfUnchanged(0, {"x", "c", "b"}), Reason::IDS_CHANGED,
                {{"id", "b"}, {"seq_id", "2"}});
  EXPECT_TRUE(PushIf(IfUnchanged(1, {"a", "x"})).ok())
      << "the list takes the place of the push's own ids";
}

TEST_F(PushConditionsTest, RecordsWithinAnAppendAreToldApart) {
  ASSERT_TRUE(Push({Record("a"), Record("b"), Record("c")}).ok());
  EXPECT_TRUE(PushIf(IfUnchanged(1), {}, {Record("a")}).ok());
  EXPECT_EQ(ReasonIn(PushIf(IfUnchanged(1), {}, {Record("b")})), Reason::IDS_CHANGED);
  EXPECT_TRUE(PushIf(IfUnchanged(2), {}, {Record("b")}).ok());
}

TEST_F(PushConditionsTest, ChangesOfTheSameGroupCount) {
  const auto results =
      machine_.ApplyGroup({PushOf(id_, {}, {Record("a"), Record("b")}),
                           PushOf(id_, {}, {Record("b")}, Incarnation(0), IfUnchanged(0)),
                           PushOf(id_, {}, {Record("c")}, Incarnation(0), IfUnchanged(0)),
                           PushOf(id_, {}, {Record("c")}, Incarnation(0), IfUnchanged(2))});
  EXPECT_EQ(ErrorMetadata(results[1].status(), "seq_id"), "2");
  EXPECT_TRUE(results[2].ok());
  EXPECT_EQ(ErrorMetadata(results[3].status(), "seq_id"), "3");
}

// Two ids of one hash are made by writing the hash of another id into the push's table: the store
// keeps what it is given.
TEST_F(PushConditionsTest, AHashThatIsTheSameIsNotTakenForTheId) {
  ASSERT_TRUE(Push({Record("a")}).ok());
  const Command honest = PushOf(id_, {}, {Record("b")}, Incarnation(0), IfUnchanged(0));
  std::string head(honest.head());
  const uint64_t hash_of_b = IdHash64("b");
  const uint64_t hash_of_a = IdHash64("a");
  const std::string_view in_table(reinterpret_cast<const char*>(&hash_of_b), 8);
  ASSERT_NE(head.find(in_table), std::string::npos);
  head.replace(head.find(in_table), 8, reinterpret_cast<const char*>(&hash_of_a), 8);
  const auto view = DecodeCommand(head, honest.records());
  ASSERT_TRUE(view.ok());
  EXPECT_TRUE(machine_.ApplyView(*view).ok());
}

TEST_F(PushConditionsTest, WhatIsTrimmedIsTooOld) {
  ASSERT_TRUE(Push({Record("x"), Record("y"), Record("z")}).ok());
  ApplyAll();
  ASSERT_TRUE(Trim(2).ok());
  ExpectRefused(IfUnchanged(1), Reason::OBSERVED_TOO_OLD,
                {{"tail_seq_id", "3"}, {"trim_seq_id", "2"}});
  EXPECT_TRUE(PushIf(IfUnchanged(2)).ok());
  EXPECT_EQ(ReasonIn(PushIf(IfUnchanged(5))), Reason::BEYOND_TAIL);
}

TEST_F(PushConditionsTest, MoreRecordsThanAreLookedAtIsTooOld) {  // invariant 9
  std::vector<v1::OperationRecord> records(kMaxLookBackRecords, Record("x"));
  ASSERT_TRUE(Push(records).ok());
  EXPECT_TRUE(PushIf(IfUnchanged(0)).ok());
  ExpectRefused(IfUnchanged(0), Reason::OBSERVED_TOO_OLD, {{"tail_seq_id", "10001"}});
  EXPECT_EQ(ReasonIn(PushIf(IfUnchanged(1))), Reason::IDS_CHANGED);
}

TEST_F(PushConditionsTest, MoreBytesThanAreLookedAtIsTooOld) {  // invariant 9
  ASSERT_TRUE(Push({Record("x")}).ok());
  const std::string document(1 << 20, 'x');
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(Push({Record("x", document), Record("x", document), Record("x", document),
                      Record("x", document)})
                    .ok());
  }
  ExpectRefused(IfUnchanged(1), Reason::OBSERVED_TOO_OLD);
  EXPECT_TRUE(PushIf(IfUnchanged(2)).ok());
}

TEST_F(PushConditionsTest, AllOfSeveralConditionsMustHold) {
  ASSERT_TRUE(Push({Record("a")}).ok());
  v1::PushLogsRequest both = IfTail(1);
  both.mutable_if_ids_unchanged()->set_since_seq_id(0);
  ExpectRefused(both, Reason::IDS_CHANGED);
  both.set_if_tail_seq_id(0);
  ExpectRefused(both, Reason::TAIL_MOVED);
  both.set_if_tail_seq_id(1);
  both.mutable_if_ids_unchanged()->set_since_seq_id(1);
  EXPECT_TRUE(PushIf(both).ok());
}

}  // namespace
}  // namespace sluice::log
