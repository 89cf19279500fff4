#include "tests/crash/check_history.h"

#include <algorithm>
#include <limits>
#include <map>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/check.h"

namespace sluice::testing {
namespace {

constexpr Moment kNever = std::numeric_limits<Moment>::max();
constexpr size_t kMostViolations = 20;

// An append, with what its calls were told and where the log has it.
struct Fate {
  std::vector<const PushCall*> calls;
  Moment first_called = kNever;
  Moment first_acknowledged = kNever;
  uint64_t first_seq_id = 0;  // 0: not in the log
};

// A tail that was known to somebody at some moment.
struct KnownTail {
  Moment at = 0;
  uint64_t tail = 0;
};

class Checker {
 public:
  explicit Checker(const History& history) : history_(history), fates_(history.appends.size()) {}

  std::vector<std::string> Check() {
    for (const std::string& what : history_.unexpected) Violation(what);
    GatherCalls();
    for (size_t i = 0; i < history_.logs.size(); ++i) PlaceAppends(i);
    for (size_t i = 0; i < fates_.size(); ++i) {
      CheckFate(i);
      CheckConditions(i);
    }
    CheckOrder();
    for (const Observation& seen : history_.observations) CheckShown(seen);
    CheckSubscribersReachedTheEnd();
    CheckTails();
    return std::move(violations_);
  }

 private:
  struct Place {
    size_t append = 0;
    size_t index = 0;
  };

  template <class... Args>
  void Violation(const Args&... args) {
    if (violations_.size() < kMostViolations) violations_.push_back(absl::StrCat(args...));
  }

  static std::string Text(Moment moment) { return absl::StrFormat("%.3f s", 1e-6 * moment); }

  // An append with everything that is known of it.
  std::string Story(size_t append) const {
    std::string story = absl::StrCat(history_.appends[append].name, " (collection ",
                                     history_.appends[append].collection);
    for (const PushCall* call : fates_[append].calls) {
      absl::StrAppend(&story, "; called ", Text(call->called), ", at ", Text(call->answered), " ",
                      std::string(OutcomeName(call->outcome)));
      if (call->outcome == Outcome::kIn)
        absl::StrAppend(&story, " from ", call->first_seq_id,
                        call->duplicate ? " as a duplicate" : "");
    }
    return story + ")";
  }

  void GatherCalls() {
    for (const PushCall& call : history_.pushes) {
      Fate& fate = fates_[call.append];
      fate.calls.push_back(&call);
      fate.first_called = std::min(fate.first_called, call.called);
      if (call.outcome == Outcome::kIn)
        fate.first_acknowledged = std::min(fate.first_acknowledged, call.answered);
    }
    for (size_t i = 0; i < history_.appends.size(); ++i) {
      const PushedAppend& append = history_.appends[i];
      for (size_t k = 0; k < append.records.size(); ++k)
        SLUICE_CHECK(pushed_.emplace(append.records[k], Place{i, k}).second);
    }
  }

  // Finds the appends in a collection's log, which is flattened on the way.
  void PlaceAppends(size_t collection) {
    std::vector<RecordDigest>& log = flat_.emplace_back();
    std::vector<size_t>& in_order = in_order_.emplace_back();
    for (const ShownAppend& shown : history_.logs[collection]) {
      if (shown.first_seq_id != log.size() + 1)
        Violation("log ", collection, " goes on with SeqId ", shown.first_seq_id, " after ",
                  log.size());
      log.insert(log.end(), shown.records.begin(), shown.records.end());
    }
    for (size_t at = 0; at < log.size();) {
      const auto found = pushed_.find(log[at]);
      if (found == pushed_.end()) {
        Violation("log ", collection, " holds a record at SeqId ", ++at, " that nobody pushed");
        continue;
      }
      const auto [append, index] = found->second;
      const PushedAppend& pushed = history_.appends[append];
      size_t length = 0;
      while (index + length < pushed.records.size() && at + length < log.size() &&
             log[at + length] == pushed.records[index + length])
        ++length;
      if (index != 0 || length != pushed.records.size())
        Violation("log ", collection, " holds only a part at SeqId ", at + 1, " of ",
                  Story(append));
      if (pushed.collection != collection)
        Violation("log ", collection, " holds another's append: ", Story(append));
      if (fates_[append].first_seq_id != 0) {
        Violation("in the log twice, at SeqIds ", fates_[append].first_seq_id, " and ", at + 1,
                  ": ", Story(append));
      } else {
        fates_[append].first_seq_id = at + 1;
        in_order.push_back(append);
      }
      at += length;
    }
  }

  void CheckFate(size_t append) {
    const Fate& fate = fates_[append];
    bool may_be_in = false;
    bool acknowledged_as_new = false;
    for (const PushCall* call : fate.calls) {
      may_be_in |= call->outcome != Outcome::kNotIn;
      if (call->outcome != Outcome::kIn) continue;
      if (fate.first_seq_id == 0) {
        Violation("acknowledged, and not in the log: ", Story(append));
      } else if (fate.first_seq_id != call->first_seq_id) {
        Violation("acknowledged elsewhere than at SeqId ", fate.first_seq_id, ": ", Story(append));
      }
      if (call->duplicate && call->several_attempts) continue;
      if (call->duplicate) {
        const bool first = std::none_of(fate.calls.begin(), fate.calls.end(), [&](auto* other) {
          return other != call && other->outcome != Outcome::kNotIn &&
                 other->called < call->answered;
        });
        if (first) Violation("a duplicate of nothing: ", Story(append));
      } else if (std::exchange(acknowledged_as_new, true)) {
        Violation("acknowledged as new more than once: ", Story(append));
      }
    }
    if (fate.first_seq_id != 0 && !may_be_in)
      Violation("said to be NOT_IN, and in the log at SeqId ", fate.first_seq_id, ": ",
                Story(append));
  }

  const std::string* IdAt(size_t collection, uint64_t seq_id) const {
    const std::vector<RecordDigest>& log = flat_[collection];
    if (seq_id == 0 || seq_id > log.size()) return nullptr;
    const auto found = pushed_.find(log[seq_id - 1]);
    if (found == pushed_.end()) return nullptr;
    const std::vector<std::string>& ids = history_.appends[found->second.append].ids;
    return found->second.index < ids.size() ? &ids[found->second.index] : nullptr;
  }

  // The first record after `since` and before `end` with one of the ids; 0 if there is none.
  uint64_t FirstChange(size_t collection, const Conditions::Unchanged& unchanged,
                       uint64_t end) const {
    for (uint64_t seq_id = unchanged.since + 1; seq_id < end; ++seq_id) {
      const std::string* const id = IdAt(collection, seq_id);
      if (id && std::find(unchanged.ids.begin(), unchanged.ids.end(), *id) != unchanged.ids.end())
        return seq_id;
    }
    return 0;
  }

  void CheckConditions(size_t append) {
    const PushedAppend& pushed = history_.appends[append];
    const Conditions& conditions = pushed.conditions;
    const uint64_t first = fates_[append].first_seq_id;
    if (first != 0) {
      if (conditions.predecessor) {
        const uint64_t before = fates_[*conditions.predecessor].first_seq_id;
        if (before == 0 || before > first)
          Violation("in without its predecessor before it: ", Story(append), " after ",
                    Story(*conditions.predecessor));
      }
      if (conditions.tail && *conditions.tail + 1 != first)
        Violation("in at SeqId ", first, " though only if the tail was ", *conditions.tail, ": ",
                  Story(append));
      if (conditions.ids) {
        const uint64_t changed = FirstChange(pushed.collection, *conditions.ids, first);
        if (changed != 0)
          Violation("in at SeqId ", first, " though an id had changed at ", changed, ": ",
                    Story(append));
      }
    }
    for (const PushCall* call : fates_[append].calls) {
      if (call->refusal) CheckRefusal(append, *call);
    }
  }

  void CheckRefusal(size_t append, const PushCall& call) {
    const PushedAppend& pushed = history_.appends[append];
    const Conditions& conditions = pushed.conditions;
    const Refusal& refusal = *call.refusal;
    if (refusal.no_predecessor &&
        (!conditions.predecessor ||
         fates_[*conditions.predecessor].first_acknowledged < call.called))
      Violation("refused for a predecessor that is in: ", Story(append));
    // Tails and changes stay: what was refused for one can never come in.
    if ((refusal.tail || refusal.changed) && fates_[append].first_seq_id != 0)
      Violation("refused on its condition, and in: ", Story(append));
    if (refusal.tail && (!conditions.tail || *refusal.tail <= *conditions.tail))
      Violation("refused for tail ", *refusal.tail, " as it should not be: ", Story(append));
    if (refusal.changed) {
      const auto& [id, seq_id] = *refusal.changed;
      const std::string* const held = IdAt(pushed.collection, seq_id);
      if (!conditions.ids || !held || *held != id ||
          FirstChange(pushed.collection, *conditions.ids, seq_id + 1) != seq_id)
        Violation("refused for a change of ", id, " at SeqId ", seq_id,
                  ", which is not the first: ", Story(append));
    }
  }

  // Real time: what was acknowledged before another was first tried stands before it.
  void CheckOrder() {
    for (const std::vector<size_t>& in_order : in_order_) {
      size_t latest = 0;  // of those that stand before, the one that was tried last
      for (size_t i = 1; i < in_order.size(); ++i) {
        const Fate& fate = fates_[in_order[i]];
        const Fate& before = fates_[in_order[latest]];
        if (fate.first_acknowledged < before.first_called)
          Violation("stands after what was tried later: ", Story(in_order[i]), " after ",
                    Story(in_order[latest]));
        if (fate.first_called > before.first_called) latest = i;
      }
    }
  }

  static std::string Who(const Observation& seen) {
    return absl::StrCat(seen.subscriber ? absl::StrCat("subscriber ", *seen.subscriber) : "a read",
                        " of log ", seen.collection, ", called ", Text(seen.called), ", at ",
                        Text(seen.answered), ", ");
  }

  void CheckShown(const Observation& seen) {
    const std::vector<RecordDigest>& log = flat_[seen.collection];
    std::optional<uint64_t> last = seen.after_seq_id;
    if (seen.subscriber) {
      const auto [at, first] = subscribers_.emplace(
          *seen.subscriber,
          Subscriber{.collection = seen.collection, .last = seen.after_seq_id.value_or(0)});
      Subscriber& subscriber = at->second;
      last = subscriber.last;
      if (seen.tail) {
        if (*seen.tail < subscriber.tail)
          Violation(Who(seen), "was told tail ", *seen.tail, " after ", subscriber.tail);
        subscriber.tail = *seen.tail;
      }
    }
    for (const ShownAppend& shown : seen.appends) {
      if (last && shown.first_seq_id != *last + 1)
        Violation(Who(seen), "saw SeqId ", shown.first_seq_id, " after ", *last);
      for (size_t i = 0; i < shown.records.size(); ++i) {
        const uint64_t seq_id = shown.first_seq_id + i;
        if (seq_id == 0 || seq_id > log.size()) {
          Violation(Who(seen), "saw SeqId ", seq_id, " of a log that ends with ", log.size());
          break;
        }
        if (shown.records[i] != log[seq_id - 1])
          Violation(Who(seen), "saw another record than the log holds at SeqId ", seq_id);
      }
      last = shown.first_seq_id + shown.records.size() - 1;
    }
    if (seen.subscriber) {
      subscribers_[*seen.subscriber].last = *last;
    } else if (seen.after_seq_id && seen.tail && seen.appends.empty() &&
               *seen.after_seq_id < *seen.tail) {
      Violation(Who(seen), "was shown nothing after ", *seen.after_seq_id, " at tail ", *seen.tail);
    }
  }

  void CheckSubscribersReachedTheEnd() {
    for (const auto& [number, subscriber] : subscribers_) {
      const size_t end = flat_[subscriber.collection].size();
      if (subscriber.last < end)
        Violation("subscriber ", number, " saw nothing after SeqId ", subscriber.last, " of ", end);
    }
  }

  void CheckTails() {
    std::vector<std::vector<KnownTail>> known(flat_.size());
    for (const PushCall& call : history_.pushes) {
      std::vector<KnownTail>& tails = known[history_.appends[call.append].collection];
      if (call.outcome == Outcome::kIn) tails.push_back({call.answered, LastOf(call)});
      if (call.refusal && call.refusal->tail) tails.push_back({call.answered, *call.refusal->tail});
    }
    for (const Observation& seen : history_.observations)
      known[seen.collection].push_back({seen.answered, MostShown(seen)});
    for (std::vector<KnownTail>& tails : known) {
      std::stable_sort(tails.begin(), tails.end(),
                       [](const KnownTail& a, const KnownTail& b) { return a.at < b.at; });
      for (size_t i = 1; i < tails.size(); ++i)
        tails[i].tail = std::max(tails[i].tail, tails[i - 1].tail);
    }

    for (const PushCall& call : history_.pushes) {
      const std::optional<uint64_t> tail = call.outcome == Outcome::kIn ? call.tail_seq_id
                                           : call.refusal               ? call.refusal->tail
                                                                        : std::nullopt;
      if (!tail) continue;
      const size_t collection = history_.appends[call.append].collection;
      CheckTail(known[collection], collection, call.called, call.answered, *tail,
                [&] { return "a push, " + Story(call.append) + ", "; });
    }
    for (const Observation& seen : history_.observations) {
      if (!seen.tail) continue;
      CheckTail(known[seen.collection], seen.collection, seen.called, seen.answered, *seen.tail,
                [&] { return Who(seen); });
    }
  }

  uint64_t LastOf(const PushCall& call) const {
    return std::max(call.tail_seq_id,
                    call.first_seq_id + history_.appends[call.append].records.size() - 1);
  }
  static uint64_t MostShown(const Observation& seen) {
    uint64_t most = seen.tail.value_or(0);
    for (const ShownAppend& shown : seen.appends)
      most = std::max(most, shown.first_seq_id + shown.records.size() - 1);
    return most;
  }

  template <class F>
  void CheckTail(const std::vector<KnownTail>& known, size_t collection, Moment called,
                 Moment answered, uint64_t tail, F who) {
    const auto later = std::lower_bound(known.begin(), known.end(), called,
                                        [](const KnownTail& k, Moment m) { return k.at < m; });
    if (later != known.begin() && std::prev(later)->tail > tail)
      Violation(who(), "was told tail ", tail, " when ", std::prev(later)->tail, " was known at ",
                Text(std::prev(later)->at));
    if (tail > flat_[collection].size()) {
      Violation(who(), "was told tail ", tail, " of a log that ends with ",
                flat_[collection].size());
    } else if (tail > 0) {
      const auto last = pushed_.find(flat_[collection][tail - 1]);
      if (last != pushed_.end() && fates_[last->second.append].first_called > answered)
        Violation(who(), "was told tail ", tail,
                  " before it was pushed: ", Story(last->second.append));
    }
  }

  struct Subscriber {
    size_t collection = 0;
    uint64_t last = 0;
    uint64_t tail = 0;
  };

  const History& history_;
  std::vector<Fate> fates_;  // by append
  std::unordered_map<RecordDigest, Place> pushed_;
  std::vector<std::vector<RecordDigest>> flat_;  // by collection
  std::vector<std::vector<size_t>> in_order_;    // by collection: the appends that are in
  std::map<size_t, Subscriber> subscribers_;
  std::vector<std::string> violations_;
};

}  // namespace

std::vector<std::string> CheckHistory(const History& history) { return Checker(history).Check(); }

}  // namespace sluice::testing
