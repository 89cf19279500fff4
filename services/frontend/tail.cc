#include "services/frontend/tail.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sluice::frontend {
namespace {

// What a record costs beyond its encoded bytes and the codes of its vector: the message's objects
// and the entry.
constexpr uint64_t kBytesBesides = 340;

bool Before(const IdHash& a_id, SeqId a_seq, const IdHash& b_id, SeqId b_seq) {
  return a_id != b_id ? a_id < b_id : a_seq < b_seq;
}

}  // namespace

Tail::Codes::Codes(const v1::ReadViewResponse& message) {
  size_t count = 0;
  size_t bytes = 0;
  const auto for_each_vector = [&](const auto& visit) {
    for (const v1::Append& append : message.appends()) {
      for (const v1::OperationRecord& record : append.records()) {
        if (record.has_vector()) visit(record.vector());
      }
    }
  };
  for_each_vector([&](const v1::Vector& vector) {
    ++count;
    bytes += vector.data().size() / sizeof(float);
  });
  vectors.reserve(count);
  components.resize(bytes);
  int8_t* out = components.data();
  for_each_vector([&](const v1::Vector& vector) {
    vectors.push_back(Encode(VectorOf(vector), out));
    out += vectors.back().dimension;
  });
}

Tail Tail::With(std::shared_ptr<const v1::ReadViewResponse> message, const IdHasher& hasher) const {
  auto run = std::make_shared<Run>();
  auto codes = std::make_shared<const Codes>(*message);
  const CodedVector* next = codes->vectors.data();
  for (const v1::Append& append : message->appends()) {
    SeqId seq_id(append.first_seq_id());
    for (const v1::OperationRecord& record : append.records()) {
      if (run->entries.empty()) run->first = seq_id;
      run->last = seq_id;
      run->entries.push_back({.id = hasher(record.id()),
                              .at = {seq_id, &record},
                              .coded = record.has_vector() ? next++ : nullptr});
      ++seq_id.value;
    }
  }
  if (run->entries.empty()) return *this;
  std::sort(run->entries.begin(), run->entries.end(), [](const Entry& a, const Entry& b) {
    return Before(a.id, a.at.seq_id, b.id, b.at.seq_id);
  });
  const uint64_t bytes = BytesOf(*message);
  run->owners.push_back({.message = std::move(message),
                         .codes = std::move(codes),
                         .last = run->last,
                         .bytes = bytes});

  Tail tail = *this;
  tail.records_ += run->entries.size();
  std::shared_ptr<const Run> last = std::move(run);
  while (!tail.runs_.empty() && tail.runs_.back()->entries.size() <= 2 * last->entries.size()) {
    last = Merge(*tail.runs_.back(), *last);
    tail.runs_.pop_back();
  }
  tail.runs_.push_back(std::move(last));
  return tail;
}

std::shared_ptr<const Tail::Run> Tail::Merge(const Run& older, const Run& newer) {
  auto run = std::make_shared<Run>();
  run->entries.reserve(older.entries.size() + newer.entries.size());
  std::merge(older.entries.begin(), older.entries.end(), newer.entries.begin(), newer.entries.end(),
             std::back_inserter(run->entries), [](const Entry& a, const Entry& b) {
               return Before(a.id, a.at.seq_id, b.id, b.at.seq_id);
             });
  run->owners = older.owners;
  run->owners.insert(run->owners.end(), newer.owners.begin(), newer.owners.end());
  run->first = older.first;
  run->last = newer.last;
  return run;
}

Tail Tail::After(SeqId applied) const {
  Tail tail;
  for (std::shared_ptr<const Run> run : runs_) {
    if (run->last <= applied) continue;
    if (run->first <= applied) run = Cut(*run, applied);
    tail.records_ += run->entries.size();
    tail.runs_.push_back(std::move(run));
  }
  return tail;
}

std::shared_ptr<const Tail::Run> Tail::Cut(const Run& run, SeqId applied) {
  auto kept = std::make_shared<Run>();
  std::copy_if(run.entries.begin(), run.entries.end(), std::back_inserter(kept->entries),
               [&](const Entry& entry) { return entry.at.seq_id > applied; });
  std::copy_if(run.owners.begin(), run.owners.end(), std::back_inserter(kept->owners),
               [&](const Owner& owner) { return owner.last > applied; });
  kept->first = SeqId(applied.value + 1);
  kept->last = run.last;
  return kept;
}

std::vector<RecordAt> Tail::Find(const IdHash& id) const {
  std::vector<RecordAt> records;
  for (const std::shared_ptr<const Run>& run : runs_) {
    auto entry =
        std::lower_bound(run->entries.begin(), run->entries.end(), id,
                         [](const Entry& a, const IdHash& wanted) { return a.id < wanted; });
    for (; entry != run->entries.end() && entry->id == id; ++entry) records.push_back(entry->at);
  }
  return records;
}

uint64_t Tail::BytesOf(const v1::ReadViewResponse& message) {
  uint64_t bytes = message.ByteSizeLong();
  for (const v1::Append& append : message.appends()) {
    bytes += kBytesBesides * append.records_size();
    // A code, and the copy that queries read.
    for (const v1::OperationRecord& record : append.records()) {
      bytes += 2 * uint64_t{record.vector().dimension()};
    }
  }
  return bytes;
}

uint64_t Tail::bytes() const {
  uint64_t bytes = 0;
  for (const std::shared_ptr<const Run>& run : runs_) {
    for (const Owner& owner : run->owners) bytes += owner.bytes;
  }
  return bytes;
}

Tail::Cursor::Cursor(const Tail& tail, std::optional<IdHash> after) {
  rest_.reserve(tail.runs_.size());
  for (const std::shared_ptr<const Run>& run : tail.runs_) {
    std::span<const Entry> rest = run->entries;
    if (after) {
      const auto first =
          std::upper_bound(rest.begin(), rest.end(), *after,
                           [](const IdHash& id, const Entry& entry) { return id < entry.id; });
      rest = rest.subspan(first - rest.begin());
    }
    rest_.push_back(rest);
  }
  Next();
}

void Tail::Cursor::Next() {
  records_.clear();
  coded_.clear();
  const IdHash* least = nullptr;
  for (const std::span<const Entry> rest : rest_) {
    if (!rest.empty() && (!least || rest.front().id < *least)) least = &rest.front().id;
  }
  if (!least) return;
  id_ = *least;
  // Oldest run first, so that the records come in order of SeqId.
  for (std::span<const Entry>& rest : rest_) {
    while (!rest.empty() && rest.front().id == id_) {
      records_.push_back(rest.front().at);
      coded_.push_back(rest.front().coded);
      rest = rest.subspan(1);
    }
  }
}

}  // namespace sluice::frontend
