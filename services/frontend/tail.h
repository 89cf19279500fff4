// The records of a collection that its segments do not reflect yet, found by id.
//
// A Tail is an immutable value, cheap to copy: a few sorted runs, shared between the tails that
// follow each other. Adding records makes a run of them and merges it with runs that are not much
// longer, so that there are O(log n) runs and each record moves O(log n) times. Thread-safe as an
// int is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/record/fold.h"
#include "common/segment/coded.h"
#include "common/segment/id_hash.h"
#include "sluice/v1/log.pb.h"

namespace sluice::frontend {

class Tail {
 public:
  // Iterates over ids; defined below.
  class Cursor;

  // This tail and, after it, the records of `message`, whose SeqIds all lie above. Keeps the
  // message for as long as one of its records is needed.
  Tail With(std::shared_ptr<const v1::ReadViewResponse> message, const IdHasher& hasher) const;
  // This tail without the records up to and including `applied`.
  Tail After(SeqId applied) const;

  // The records of one id, in order of SeqId.
  std::vector<RecordAt> Find(const IdHash& id) const;

  uint64_t records() const { return records_; }
  // An estimate of the memory held.
  uint64_t bytes() const;
  // What holding the records of `message` costs, as bytes() counts it.
  static uint64_t BytesOf(const v1::ReadViewResponse& message);

 private:
  struct Entry {
    IdHash id;
    RecordAt at;
    // Of the record's vector; nullptr: it has none.
    const CodedVector* coded = nullptr;
  };
  // The vectors of a message's records, in order.
  struct Codes {
    explicit Codes(const v1::ReadViewResponse& message);
    std::vector<int8_t> components;
    std::vector<CodedVector> vectors;
  };
  // What entries point into.
  struct Owner {
    std::shared_ptr<const v1::ReadViewResponse> message;
    std::shared_ptr<const Codes> codes;
    SeqId last;
    uint64_t bytes;
  };
  struct Run {
    // In order of (id, SeqId).
    std::vector<Entry> entries;
    std::vector<Owner> owners;
    SeqId first;
    SeqId last;
  };

  static std::shared_ptr<const Run> Merge(const Run& older, const Run& newer);
  static std::shared_ptr<const Run> Cut(const Run& run, SeqId applied);

  // In order of SeqId; each shorter than half the one before.
  std::vector<std::shared_ptr<const Run>> runs_;
  uint64_t records_ = 0;
};

// The ids of a tail in order of hash, each with its records in order of SeqId. The tail must
// outlive it. Not thread-safe.
class Tail::Cursor {
 public:
  // Begins after `after`, or at the first id.
  explicit Cursor(const Tail& tail, std::optional<IdHash> after = std::nullopt);

  bool done() const { return records_.empty(); }
  // Until done.
  const IdHash& id() const { return id_; }
  std::span<const RecordAt> records() const { return records_; }
  // Of their vectors, one for each; nullptr: it has none.
  std::span<const CodedVector* const> coded() const { return coded_; }
  void Next();

 private:
  // What is left of each run.
  std::vector<std::span<const Entry>> rest_;
  IdHash id_;
  std::vector<RecordAt> records_;
  std::vector<const CodedVector*> coded_;
};

}  // namespace sluice::frontend
